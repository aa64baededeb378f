"""Administration: keys, limits and their audit log, over Redis or over HTTP."""
