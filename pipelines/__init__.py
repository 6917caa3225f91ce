"""What MONAI does not have for this project: networks, transforms, datasets, evaluation and tracking for MONAI Bundles."""
