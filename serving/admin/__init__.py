"""Administration: keys and their audit log, over Redis or over HTTP."""
