"""What is remembered: tenants, keys and each camera's state, in Redis."""
