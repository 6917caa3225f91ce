"""What rows of a ranking have in common: the cases, slices or pictures that all were measured on, in one order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.comparison.cases import CaseTable, ItemTable, in_order_of
from pipelines.comparison.ranking import PREFIX, Ranking, Row


def same_cases(
    ranking: Ranking, tables: Mapping[int, Sequence[CaseTable | None]], best: int
) -> tuple[tuple[str, ...], tuple[str, ...], dict[int, NDArray[np.float64]], list[tuple[str, str]]]:
    """Mean over seeds a case of each row, in one order of cases; and who has none, and why."""
    cases: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    values: dict[int, NDArray[np.float64]] = {}
    excluded = []
    for place, row in enumerate(ranking.rows[:best]):
        found = [t for t in tables.get(place, ()) if t is not None and ranking.metric in t.values]
        reason = _missing(row, ranking, len(found))
        if not reason:
            cases = cases or tuple(sorted(found[0].cases))
            each = [_in_order(table, ranking.metric, cases) for table in found]
            if any(one is None for one in each):
                reason = "its table has other cases"
        if reason:
            excluded.append((row.label, reason))
            continue
        if not patients:
            by_case = dict(zip(found[0].cases, found[0].patients, strict=True))
            patients = tuple(by_case[case] for case in cases)
        with np.errstate(invalid="ignore"):
            values[place] = np.mean([one for one in each if one is not None], axis=0)
    return cases, patients, values, excluded


def _in_order(table: CaseTable, metric: str, cases: Sequence[str]) -> NDArray[np.float64] | None:
    if len(set(table.cases)) != len(table.cases) or set(table.cases) != set(cases):
        return None
    by_case = dict(zip(table.cases, table.values[metric], strict=True))
    return np.array([by_case[case] for case in cases])


def same_items(
    ranking: Ranking, tables: Mapping[int, Sequence[ItemTable | None]], best: int
) -> tuple[dict[int, ItemTable], list[tuple[str, str]]]:
    """The table of each row's first run, where it has the items of the first row's."""
    chosen: dict[int, ItemTable] = {}
    excluded = []
    for place, row in enumerate(ranking.rows[:best]):
        table = next(iter(tables.get(place, ())), None)
        reason = "" if table is not None else "its table of slices or pictures is not kept with the run, or is gone"
        if table is not None:
            table = in_order_of(table, next(iter(chosen.values()), table))
            reason = "" if table is not None else "it was measured on other slices or pictures, or with other classes"
        if reason or table is None:
            excluded.append((row.label, reason))
        else:
            chosen[place] = table
    return chosen, excluded


def _missing(row: Row, ranking: Ranking, found: int) -> str:
    if not row.values(ranking.metric):
        return f"it has no {PREFIX}{ranking.metric}"
    if found < len(row.runs):
        return "its table of cases is not kept with the run, or is gone, or lacks the metric"
    return ""
