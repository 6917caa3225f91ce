"""Sections of a model card that measurements of a bundle fill, and how its tables and files are read and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import UnreadableFileError

RATES, CONFIDENCES = "looks.json", "confidence.json"  # in a bundle's docs


def images_known(bundle: Path) -> list[str]:
    """How often images are refused as not of its kind, where that was measured (``python -m pipelines looks``).

    Raises:
        UnreadableFileError: what was measured is damaged.
    """
    path = bundle / "docs" / RATES
    if not path.is_file():
        return []
    found = read_part(path)
    how = "[how](../../../docs/how-to/refuse-other-images.md)"
    said = f"Inference refuses an image that is unlike those of the training ({how}); shares with 95 % intervals:"
    return ["## Is this an image for it?", "", said, "", *card_table(found["head"], found["rows"])]


def masks_trusted(bundle: Path) -> list[str]:
    """How far its masks can be trusted, where that was measured (``python -m pipelines confidence``).

    Raises:
        UnreadableFileError: what was measured is damaged.
    """
    path = bundle / "docs" / CONFIDENCES
    if not path.is_file():
        return []
    how = "[how](../../../docs/how-to/trust-a-mask.md)"
    lines = [
        "## How far can a mask be trusted?",
        "",
        f"Each report says how probable it is that a mask is good ({how}).",
    ]
    lines += ["Figures are of patients that the probabilities were not fitted on.", ""]
    for network, found in read_part(path).items():
        lines += [" ".join(filter(None, [f"`{network}`:", found["note"], found["extent"]])), ""]
        lines += card_table(found["head"], found["rows"])
    return lines


def card_table(head: Sequence[str], rows: Sequence[Sequence[str]] | Iterator[Sequence[str]]) -> list[str]:
    """A table in Markdown, and an empty line."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows), ""]


def read_part(path: Path) -> Any:
    """A YAML or JSON file that holds a mapping.

    Raises:
        UnreadableFileError: it is missing, damaged, or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, yaml.YAMLError) as error:
        raise UnreadableFileError("a part of the model card cannot be read", where=path, how=str(error)) from error
    if not isinstance(content, dict):
        raise UnreadableFileError("a part of the model card is no mapping", where=path)
    return content


def _cell(content: str) -> str:
    return " ".join(content.split()).replace("|", "\\|")
