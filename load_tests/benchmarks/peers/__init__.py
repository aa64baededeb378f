"""Other ways to serve the same variant: a bare loop, FastAPI, LitServe, BentoML."""
