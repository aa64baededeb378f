"""What every configuration gives on segments of video: the ground that all learning stands on."""
