"""Skin lesions under a dermatoscope."""
