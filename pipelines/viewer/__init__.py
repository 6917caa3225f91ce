"""The page that shows results: a local server over a folder of predictions, a prepared dataset or an evaluation."""

from __future__ import annotations

from pipelines.viewer.cases import read_folder
from pipelines.viewer.server import make_app

__all__ = ["make_app", "read_folder"]
