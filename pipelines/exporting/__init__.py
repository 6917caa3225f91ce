"""A bundle's network as one file for other programs, held against PyTorch, with a JSON of what goes in and out."""

from __future__ import annotations

from pipelines.exporting.bundle_export import BundleExport, Exported
from pipelines.exporting.exporting import export_bundle

__all__ = ["BundleExport", "Exported", "export_bundle"]
