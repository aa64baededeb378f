"""Bundles of a running application: pushed, signed, held beside each other, switched, tried, taken back."""
