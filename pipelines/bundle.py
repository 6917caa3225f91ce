"""Where a bundle is, and how it is run from Python."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from torch import distributed

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


def leave_process_group(settle: float = 1.0) -> None:
    """Ends distributed training so that the process can exit: all processes wait for one another, then for the workers.

    gloo's worker threads may hold a collective's tensors for a moment after it returned. A worker that lets go of them
    while Python is being finalised aborts the process ("terminate called without an active exception"), and torchrun
    then kills the others and calls a finished training failed
    (https://github.com/pytorch/pytorch/pull/179291). gloo has no call to wait for its workers.

    Args:
        settle: seconds the workers are given before the process may exit.
    """
    distributed.barrier()
    distributed.destroy_process_group()
    time.sleep(settle)
