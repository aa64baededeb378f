"""Simulated cameras, benchmarks, and the demo."""
