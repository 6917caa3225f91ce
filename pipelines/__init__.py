"""What MONAI lacks for this project's bundles: networks, transforms, datasets, evaluation, tracking."""

from __future__ import annotations

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    """Imports a room when it is first asked for: a bundle's config names rooms, and its imports cannot load them."""
    if not name.startswith("_"):
        try:
            return importlib.import_module(f"pipelines.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"pipelines.{name}":
                raise
    raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
