"""The tables of an evaluation: their names, marks of the cases and truths in them, and numbers as they are shown."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable
from pathlib import Path

CASES = "cases.csv"  # of every evaluation: a row a case, and its column `case`
UNITS = ("picture", "slice", "volume")  # of a classification
ITEMS = tuple(f"{unit}s.csv" for unit in UNITS)  # a row an item

_OF_CLASSES = ("p_", "true_", "predicted_")  # columns that end in the name of a class, whatever that ends in


def cases_digest(path: Path) -> str:
    """A mark of the cases of a ``cases.csv``, whatever their order: 12 hexadecimal digits; empty if it names none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            names = [row["case"] for row in csv.DictReader(file) if row.get("case")]
    except (OSError, UnicodeDecodeError, csv.Error):
        return ""
    return names_digest(names)


def names_digest(names: Iterable[str]) -> str:
    """A mark of names, whatever their order: 12 hexadecimal digits; empty for none."""
    ordered = sorted(names)
    return hashlib.sha256("\n".join(ordered).encode()).hexdigest()[:12] if ordered else ""


def truth_digest(paths: Iterable[Path]) -> str:
    """A mark of the truth that cases were measured against, by an evaluation's tables, whatever their order: 12
    hexadecimal digits; empty if no table has one. It is the class of each slice or picture (``label``), and of each
    mask what was measured of the label alone (``NAME_label``)."""
    found = set()
    for path in paths:
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    truth = [f"{name}={value}" for name, value in row.items() if value and _is_truth(name)]
                    if truth:
                        number = row.get("slice") or (
                            "0" if row.get("label") else ""
                        )  # a picture is a slice, the first
                        found.add("\t".join([row.get("case") or "", number, *truth]))
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:12] if found else ""


def _is_truth(column: str | None) -> bool:
    if column is None or column.startswith(_OF_CLASSES):
        return False
    return column == "label" or column.endswith("_label")


def shown(value: float) -> str:
    """A number to read, a dash where there is none."""
    return f"{value:.4f}" if math.isfinite(value) else "–"


def finite(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return value if math.isfinite(value) else None
