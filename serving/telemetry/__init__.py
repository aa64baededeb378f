"""What operators see of the application: metrics, a line of log for each segment, traces."""
