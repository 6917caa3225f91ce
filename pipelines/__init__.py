"""What MONAI lacks for this project's bundles: networks, transforms, datasets, evaluation, tracking."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.loading import load_bundle as load_bundle


def __getattr__(name: str) -> Any:
    """Imports a room when it is first asked for: a bundle's config names rooms, and its imports cannot load them.

    ``load_bundle`` is `pipelines.loading.load_bundle`: what a program wants first.
    """
    if name == "load_bundle":
        return importlib.import_module("pipelines.loading").load_bundle
    if not name.startswith("_"):
        try:
            return importlib.import_module(f"pipelines.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"pipelines.{name}":
                raise
    raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
