"""The bitrate estimator: network, training, baseline, calibration, measurement (paper, 3.2)."""
