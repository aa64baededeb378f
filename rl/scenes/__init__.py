"""Generated street scenes with exact labels, made to look and compress like footage of real cameras."""
