"""Simulated cameras: what `penance-camera` does, with segments compressed beforehand, thousands in a
process."""
