"""Figures measured on a real application; nothing here is a test."""
