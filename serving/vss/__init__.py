"""Video semantic segmentation: the PSPNet family, its inference, and what its classes mean."""
