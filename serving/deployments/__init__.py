"""The Serve deployments behind the ingress: one per variant, the performance encoder, the database."""
