"""A simulation of the platform at sizes that no test machine has, calibrated on a running application."""
