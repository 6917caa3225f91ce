"""Where a bundle is, and how it is run from Python."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.errors import ConfigError

MARK = Path("configs") / "metadata.json"


def locate(bundle_root: str | Path = ".") -> str:
    """The bundle's folder as an absolute path, so that a config serves from any working directory.

    ``bundle_root`` is ``.`` in every config, as MONAI asks. Where that is not the bundle (its config was named by a
    path from elsewhere), the bundle is the one whose config is running: MONAI puts its folder on ``sys.path``.

    Raises:
        ConfigError: neither holds ``configs/metadata.json``.
    """
    for folder in (Path(bundle_root), *map(Path, sys.path[:3])):
        if (folder / MARK).is_file():
            return str(folder.resolve())
    raise ConfigError(
        "there is no bundle here", where=Path(bundle_root).resolve(), how="give --bundle_root the bundle's folder"
    )


def project_root(bundle_root: str | Path) -> str:
    """The project a bundle belongs to (the folder above ``bundles/``), or the bundle itself when it stands alone."""
    root = Path(bundle_root).resolve()
    return str(root.parent.parent if root.parent.name == "bundles" else root)
