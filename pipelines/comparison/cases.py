"""What an evaluation said of each case: the tables that it left with its run, read back."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.comparison.runs import Run, Store
from pipelines.evaluation.case_tables import CASES, ITEMS, cases_digest
from pipelines.files import cell_content

_FOLDER = "evaluation"
_WORDS = ("case", "patient", "group")


@dataclass(frozen=True)
class CaseTable:
    """A segmentation, case by case.

    Attributes:
        cases, patients: (N,) names.
        values: for each metric (N,) values, NaN where undefined.
    """

    cases: tuple[str, ...]
    patients: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class ItemTable:
    """A classification, item by item: a slice of a case, or a picture.

    Attributes:
        items: (N,) names, ``case`` or ``case#slice``. cases, patients: (N,).
        labels: (N,) 0..K-1. predicted: (N,) the class that was said. probabilities: (N, K).
        names: of the K classes.
    """

    items: tuple[str, ...]
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    names: tuple[str, ...]

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.labels == self.predicted


def evaluated_cases(store: Store, run: Run) -> str:
    """The digest of the cases that a run was measured on, by its ``cases.csv``; empty where that is gone."""
    path = store.file(run, f"{_FOLDER}/{CASES}")
    return "" if path is None else cases_digest(path)


def read_cases(store: Store, run: Run) -> CaseTable | None:
    """The table of a segmentation's cases; None where it is gone, or is not one."""
    rows = _rows(store, run, CASES)
    if not rows or not {"case", "patient"} <= rows[0].keys():
        return None
    try:
        values = {
            name: np.array([float(row[name]) if row[name] else math.nan for row in rows])
            for name in rows[0]
            if name not in _WORDS
        }
    except (TypeError, ValueError):
        return None
    return CaseTable(tuple(row["case"] for row in rows), tuple(row["patient"] for row in rows), values)


def read_items(store: Store, run: Run) -> ItemTable | None:
    """The table of a classification's slices or pictures; None where it is gone, or is not one."""
    return item_table(next((rows for rows in (_rows(store, run, name) for name in ITEMS) if rows), []))


def item_table(rows: Sequence[Mapping[str, str]]) -> ItemTable | None:
    """The items in the rows of such a table; None where it has none, or they are no classification's."""
    if not rows or not {"case", "patient", "label", "predicted"} <= rows[0].keys():
        return None
    names = tuple(name.removeprefix("p_") for name in rows[0] if name.startswith("p_"))
    several = len({row["case"] for row in rows}) < len(rows)
    try:
        return ItemTable(
            items=tuple(f"{row['case']}#{row['slice']}" if several else row["case"] for row in rows),
            cases=tuple(row["case"] for row in rows),
            patients=tuple(row["patient"] for row in rows),
            labels=np.array([names.index(cell_content(row["label"])) for row in rows]),
            predicted=np.array([names.index(cell_content(row["predicted"])) for row in rows]),
            probabilities=np.array([[float(row[f"p_{name}"]) for name in names] for row in rows]),
            names=names,
        )
    except (KeyError, TypeError, ValueError):
        return None


def in_order_of(table: ItemTable, other: ItemTable) -> ItemTable | None:
    """A table with its items in the order of another's; None unless items, true classes and names are the same."""
    places = {item: place for place, item in enumerate(table.items)}
    if len(places) < len(table.items) or set(table.items) != set(other.items) or table.names != other.names:
        return None
    order = np.array([places[item] for item in other.items], dtype=np.intp)
    if (table.labels[order] != other.labels).any():
        return None
    return replace(
        table,
        items=other.items,
        cases=other.cases,
        patients=other.patients,
        labels=other.labels,
        predicted=table.predicted[order],
        probabilities=table.probabilities[order],
    )


def _rows(store: Store, run: Run, name: str) -> list[dict[str, str]]:
    path: Path | None = store.file(run, f"{_FOLDER}/{name}")
    if path is None:
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
