"""The bitrate estimator: data, network, training, baseline, calibration and measurement (paper, 3.2, 4.2.3)."""
