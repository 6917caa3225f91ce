"""What a machine decided once: files of decisions, by machine, versions and weights."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import OutputError
from pipelines.files import text, write_file
from pipelines.runtimes.sessions import installed

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where decisions are kept: below ``XDG_CACHE_HOME``, or the home's ``.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imaging-bundles" / "runtimes"


def machine() -> dict[str, Any]:
    """What a decision depends on beside the network: the processor, how many threads, and versions."""
    try:
        own = version("imaging-bundles")
    except PackageNotFoundError:
        own = ""
    return {
        "cpu": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "imaging-bundles": own, **installed()},
    }


def _processor() -> str:
    """Model and flags of the processor; what Python knows of it where there is no /proc."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    found = {line.split(":", 1)[0].strip(): line.split(":", 1)[1].strip() for line in lines if ":" in line}
    return f"{found.get('model name', platform.machine())} {found.get('flags', found.get('Features', ''))}"


def decision_file(folder: Path, **about: Any) -> Path:
    """The file of a decision about a network on this machine."""
    whole = json.dumps({**machine(), **about}, sort_keys=True)
    return folder / f"{hashlib.sha256(whole.encode()).hexdigest()[:24]}.json"


def kept(path: Path) -> dict[str, Any] | None:
    """A decision that was kept; None where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and {"runtime", "precision"} <= found.keys() else None
    except (OSError, ValueError):
        return None


def keep(path: Path, decision: dict[str, Any]) -> None:
    """Keep a decision; where that is not possible, it is taken again another time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text(json.dumps(decision, indent=2) + "\n"))
    except (OSError, OutputError) as error:
        logger.debug("%s: %s", path, error)
