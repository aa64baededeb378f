"""The adapter: environment, policies, learning and evaluation (paper, 3.4 and 4)."""
