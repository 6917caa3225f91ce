"""Pneumonia on chest X-rays of children."""
