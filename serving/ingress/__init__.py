"""The ingress: the protocol's HTTP side and the way of a segment through the application."""
