"""``run.json`` beside the checkpoints of a training: which run they belong to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.files import make_folder, text, write_file

_NAME = "run.json"


@dataclass(frozen=True)
class RunRecord:
    """The run that wrote the checkpoints of a folder; ``tracking_uri`` is without user name and password."""

    run_id: str
    experiment: str
    tracking_uri: str
    network: str
    started: str  # ISO 8601, with the time zone


def write_run_file(folder: Path, record: RunRecord | None) -> None:
    """Write ``run.json`` in one step. None takes away the one of an earlier run, which made other checkpoints."""
    path = folder / _NAME
    if record is None:
        path.unlink(missing_ok=True)
        return
    make_folder(folder)
    write_file(path, text(json.dumps(asdict(record), indent=2) + "\n"))


def read_run_file(checkpoint: Path) -> RunRecord | None:
    """The run of a checkpoint, or of a folder of checkpoints; None if no readable ``run.json`` lies there."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    try:
        found = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        return RunRecord(**{field: str(found[field]) for field in RunRecord.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None
