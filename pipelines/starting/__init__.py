"""Writes a bundle for a person's own data: pictures or volumes with masks, or folders of classes."""

from __future__ import annotations

from pipelines.starting.start import Started, start_bundle

__all__ = ["Started", "start_bundle"]
