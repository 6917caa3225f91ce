"""What is known of a generator beside its weights: ``model.pt`` has ``model.generator.json`` beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableFileError, WeightsError
from pipelines.fetched import local
from pipelines.files import text, write_file
from pipelines.weights import weights_digest

_DUE = ("class", "data", "weights", "collapsed")


def record_path(checkpoint: str | Path) -> Path:
    """Where the record of a checkpoint lies."""
    return local(checkpoint).with_suffix(".generator.json")


def write_record(checkpoint: Path, about: Mapping[str, Any]) -> None:
    """Write the record of weights that are on disk, with their digest.

    Raises:
        UnreadableFileError, WeightsError: the weights cannot be read. OutputError: the record cannot be written.
    """
    content = {**about, "weights": weights_digest(checkpoint)}
    write_file(record_path(checkpoint), text(json.dumps(content, indent=2) + "\n"))


def read_record(checkpoint: str | Path) -> dict[str, Any]:
    """The record of a generator's weights: ``class``, ``data`` (name, fingerprint, ``held_out``), ``epochs``,
    ``diversity``, ``collapsed``, ``weights`` (their digest).

    Raises:
        UnreadableFileError: it is missing or damaged. WeightsError: it belongs to other weights.
    """
    path, how = record_path(checkpoint), "train again, or fetch both files again"
    digest = weights_digest(checkpoint)  # first: weights that are not there are the fault that matters
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnreadableFileError("the weights have no record beside them", where=path, how=how) from None
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"the record cannot be read ({error})", where=path, how=how) from None
    if not isinstance(content, dict) or any(key not in content for key in _DUE):
        raise UnreadableFileError("the record is none of a generator", where=path, how=how)
    if content["weights"] != digest:
        raise WeightsError("the record belongs to other weights", where=path, how=how)
    return content
