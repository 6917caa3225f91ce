"""Data of any organ, in two general layouts: images with masks, and folders of classes."""
