"""Alerts: what is wrong with a tenant's cameras, found by sweeps and told by webhooks."""
