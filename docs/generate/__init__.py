"""What the site says that follows from the code: made at each build, never written by hand."""
