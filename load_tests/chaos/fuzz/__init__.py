"""Mutated segments and requests by the hundred thousand; the service must answer afterwards as before."""
