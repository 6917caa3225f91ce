"""Lungs and lesions on chest CT."""
