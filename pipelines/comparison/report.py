"""From a store to the three files: what ``python -m pipelines compare`` does."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.comparison import plots
from pipelines.comparison.costs import recorded_cost
from pipelines.comparison.page import Comparison, write_comparison
from pipelines.comparison.ranking import PREFIX, Ranking, rank, tested, why_left_out
from pipelines.comparison.runs import Run, Store
from pipelines.comparison.sections import Options, Section, work_out
from pipelines.errors import TrackingError, UsageError
from pipelines.files import held

logger = logging.getLogger(__name__)

DETAILED = 10  # rankings with tests and plots; there may be one for each fold of many


@dataclass(frozen=True)
class Written:
    """The files, and how much is in them."""

    paths: list[Path]
    n_runs: int
    n_rows: int
    n_rankings: int
    n_left_out: int


def compare(
    uri: str,
    out: Path,
    *,
    experiments: Sequence[str] = (),
    metrics: Sequence[str] = (),
    options: Options | None = None,
) -> Written:
    """Write ``comparison.md``, ``comparison.csv`` and ``comparison.html`` of the runs of a store.

    Args:
        uri: the store.
        out: the folder; made if it is not there.
        experiments: only these; all where there are none.
        metrics: columns of the tables, with or without ``test_``; the first that runs have ranks them.
        options: what is measured and drawn.

    Raises:
        TrackingError: the store cannot be read, or has no runs.
        UsageError: an experiment or a metric does not exist.
        OutputError: the files cannot be written, or another call writes here.
    """
    options = options or Options()
    asked = [name.removeprefix(PREFIX) for name in metrics]
    with ExitStack() as stack, _runs_left_alone() as loaded, Store(uri) as store:
        runs = store.runs(experiments)
        if not runs:
            raise TrackingError(
                "there are no runs" + (f" in {', '.join(experiments)}" if experiments else ""),
                where=store.shown_uri,
                how="train something first, or name another store with --tracking_uri",
            )
        _check_metrics(runs, asked, store)
        stack.enter_context(held(out, ".comparing.lock"))
        reasons = {run.run_id: why_left_out(run) for run in runs}
        rankings = rank(store, [run for run in runs if not reasons[run.run_id]], asked)
        loaded()
        comparison = Comparison(
            store.shown_uri,
            len(runs),
            _sections(store, rankings, options),
            [(run, reasons[run.run_id]) for run in runs if reasons[run.run_id]],
            asked,
            _machine(options.timing),
            datetime.now().astimezone(),
        )
        paths = write_comparison(comparison, out)
    rows = sum(len(each.rows) for each in rankings)
    return Written(paths, len(runs), rows, len(rankings), len(comparison.left_out))


def _sections(store: Store, rankings: Sequence[Ranking], options: Options) -> list[Section]:
    """Every ranking; the first ones with tests and plots."""
    labels = dict.fromkeys(row.label for each in rankings for row in each.rows[: options.best])
    styles = {label: plots.style(place) for place, label in enumerate(labels)}
    sections = [work_out(store, ranking, styles, options) for ranking in rankings[:DETAILED]]
    for ranking in rankings[DETAILED:]:
        note = f"Tests and plots are made for the first {DETAILED} rankings: name --experiment for this one."
        costs = [recorded_cost(row) for row in ranking.rows]
        sections.append(Section(ranking, costs, min(len(costs), options.best), notes=[note]))
    return sections


@contextmanager
def _runs_left_alone() -> Iterator[Callable[[], None]]:
    """Python's collector does not look through all runs again and again, which with a thousand takes many seconds.

    It rests until the function that this gives is called, and then looks at what came later.
    """

    def loaded() -> None:
        gc.freeze()
        gc.enable()

    gc.disable()
    try:
        yield loaded
    finally:
        gc.enable()
        gc.unfreeze()


def _check_metrics(runs: Sequence[Run], asked: Sequence[str], store: Store) -> None:
    there = sorted({name for run in runs for name in tested(run)})
    missing = [name for name in asked if name not in there]
    if missing:
        raise UsageError(
            f"no run has the metric {PREFIX}{missing[0]}",
            where=store.shown_uri,
            how=f"the store has: {', '.join(there) or 'no test metrics'}",
        )


def _machine(timing: bool) -> str:
    if not timing:
        return ", and was not measured (--no_timing)."
    return (
        f", a batch of 1 on one thread of this machine's CPU ({os.cpu_count()} cores); times are ratios to the first "
        "row measured, the two taken in turn."
    )
