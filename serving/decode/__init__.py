"""Decoding of bytes from outside, in child processes with limits."""
