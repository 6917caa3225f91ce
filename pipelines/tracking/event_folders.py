"""Where a training's events for TensorBoard lie, and how a resumed one finds the folder that it goes on in."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.files import make_folder, safe_name, text, write_file

INSTALL = "pip install 'imaging-bundles[tensorboard]'"
EVENTS = "tensorboard"  # the folder beside the checkpoints
_POINTER = "tensorboard.json"  # beside the checkpoints: which folder their training wrote to
_SWITCHES = {"true": True, "false": False, "none": False, "": False}


def events_root(tensorboard: bool | str | os.PathLike[str] | None, ckpt_dir: Path | None) -> Path | None:
    """The folder that trainings write their event folders into; None: there are to be none.

    Args:
        tensorboard: the knob: False or None, True (``tensorboard`` beside the checkpoints), or a folder.
        ckpt_dir: the folder of the checkpoints.

    Raises:
        ConfigError: True, and there is no folder of checkpoints; or a file lies there.
        OutputError: the folder cannot be made.
    """
    if tensorboard is None or isinstance(tensorboard, bool):
        wanted: bool | str = bool(tensorboard)
    else:
        wanted = os.fspath(tensorboard)
        wanted = _SWITCHES.get(wanted.strip().lower(), wanted)
    if wanted is False:
        return None
    if wanted is True:
        if ckpt_dir is None:
            raise ConfigError(
                "events for TensorBoard are to lie beside the checkpoints, and there is no folder of those",
                where="tensorboard",
                how="name a folder instead of true",
            )
        return ckpt_dir / EVENTS
    root = Path(wanted).expanduser()
    if root.exists() and not root.is_dir():
        raise ConfigError("events for TensorBoard need a folder, and this is a file", where=root, how="name another")
    make_folder(root)
    return root


def fresh_folder(root: Path, name: str) -> Path:
    """A folder in ``root`` that is not there yet, called after a run; it is not made."""
    first = root / safe_name(name)
    folder, number = first, 2
    while folder.exists():
        folder, number = first.with_name(f"{first.name}-{number}"), number + 1
    return folder


def point_to(folder: Path, ckpt_dir: Path | None) -> None:
    """Note beside the checkpoints where the events of their training are: seen from there, if they lie within."""
    if ckpt_dir is None:
        return
    place, home = folder.resolve(), ckpt_dir.resolve()
    written = place.relative_to(home) if place.is_relative_to(home) else place
    make_folder(ckpt_dir)
    write_file(ckpt_dir / _POINTER, text(json.dumps({"folder": str(written)}) + "\n"))


def forget_events(ckpt_dir: Path) -> None:
    """The checkpoints that are written from now on are of a training without events.

    Raises:
        OSError: the folder cannot be written.
    """
    (ckpt_dir / _POINTER).unlink(missing_ok=True)


def events_of(ckpt_dir: Path | None) -> Path | None:
    """The events of the training that wrote a folder of checkpoints; None where there are none."""
    if ckpt_dir is None:
        return None
    try:
        said = json.loads((ckpt_dir / _POINTER).read_text(encoding="utf-8"))["folder"]
        folder = ckpt_dir / str(said)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if folder.is_dir() else None


def event_folders(root: Path) -> list[Path]:
    """The trainings' event folders below a folder, by name: those that hold event files and lie in no other such."""
    found: list[Path] = []
    for path in sorted({file.parent for file in root.rglob("events.out.tfevents.*")}):
        if not any(path.is_relative_to(outer) for outer in found):
            found.append(path)
    return found
