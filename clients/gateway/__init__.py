"""`penance-gateway`: one process that serves all cameras of a site, each in a child process of its own."""
