"""Video semantic segmentation: our PSPNet family, models of others, their inference, what classes mean."""
