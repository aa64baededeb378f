"""The performance encoder: from the last frame's softmax to an embedding (paper, 3.3)."""
