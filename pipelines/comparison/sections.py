"""One ranking, worked out: its rows' costs, its tests, its plots, and what follows from them."""

from __future__ import annotations

import base64
import io
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from pipelines.comparison import disagreement, outlines, plots
from pipelines.comparison.cases import ItemTable, read_cases, read_items
from pipelines.comparison.contests import Contest, classification_contests, segmentation_contest
from pipelines.comparison.costs import Cost, measure_costs, recorded_cost
from pipelines.comparison.differences import differences
from pipelines.comparison.ranking import Ranking, Row
from pipelines.comparison.runs import Store
from pipelines.comparison.verdict import verdict
from pipelines.evaluation.metric_names import higher_is_better

logger = logging.getLogger(__name__)

_DISAGREEMENT = "Where they disagree most"
_RUNS_DRAWN = 3  # of a row, in learning curves,
_ROWS_WITH_SEEDS = 6  # of at most so many rows; of more only one run each


@dataclass(frozen=True)
class Plot:
    """A picture for the page.

    Attributes:
        title: the heading; empty where the picture belongs under the one before.
        caption: what is seen. alt: the same for who cannot see it.
        uri: the picture as a data URI.
        command: that shows more of it; empty for none.
    """

    title: str
    caption: str
    alt: str
    uri: str
    command: str = ""


@dataclass
class Section:
    """A ranking with all that the page says of it.

    Attributes:
        costs: of each row of the ranking.
        worked_out: how many rows, the best, were measured, tested and drawn.
        verdict: sentences: what to use, and how sure that is.
        differing: what else differs between the rows that were worked out, an entry each.
        notes: what is missing or limited, and why.
    """

    ranking: Ranking
    costs: list[Cost]
    worked_out: int
    contests: list[Contest] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    verdict: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def contest(self) -> Contest | None:
        """The paired tests of the metric that ranks; None where there are none."""
        return next((each for each in self.contests if each.metric == self.ranking.metric), None)

    @property
    def upsets(self) -> dict[int, list[int]]:
        """Places of rows that lose to rows further down, on the cases that both have, and the places of these."""
        if self.contest is None:
            return {}
        better = {place: self.contest.outcomes(place)["better"] for place in self.contest.rows}
        found = {place: [other for other in others if other > place] for place, others in better.items()}
        return {place: others for place, others in found.items() if others}


@dataclass(frozen=True)
class Options:
    """What a comparison shall do.

    Attributes:
        bundles: the folder that holds bundles, from which networks are rebuilt to be measured; None for none.
        timing: measure what networks cost.
        pictures: show cases on which networks disagree.
        best: how many rows of a ranking are tested, measured and drawn.
    """

    bundles: Path | None = None
    timing: bool = True
    pictures: bool = True
    best: int = 12


def work_out(store: Store, ranking: Ranking, styles: Mapping[str, plots.Style], options: Options) -> Section:
    """Test, measure and draw the best rows of a ranking.

    Args:
        styles: of each label.
    """
    rows = ranking.rows[: options.best]
    measured = measure_costs(rows, options.bundles) if options.timing else [recorded_cost(row) for row in rows]
    costs = [*measured, *(recorded_cost(row) for row in ranking.rows[options.best :])]
    section = Section(ranking, costs, len(rows))
    if len(ranking.rows) > options.best:
        section.notes.append(
            f"Of {len(ranking.rows)} rows the best {options.best} are tested, measured and drawn (see --best). "
            "comparison.csv has all."
        )
    if len(rows) > 1:
        _Details(store, section, rows, styles, options).add()
    section.verdict = verdict(ranking, rows, section.contest, costs)
    section.differing = differences(rows)
    return section


class _Details:
    """Adds tests and plots to a section with at least two rows."""

    def __init__(
        self, store: Store, section: Section, rows: Sequence[Row], styles: Mapping[str, plots.Style], options: Options
    ) -> None:
        self.store, self.section, self.rows, self.options = store, section, rows, options
        self.metric = section.ranking.metric
        self.drawn = [plots.Drawn(row.label, styles[row.label]) for row in rows]

    def add(self) -> None:
        task = self.section.ranking.scope.task
        if task == "segmentation":
            self._segmentation()
        elif task == "classification":
            self._classification()
        else:
            self.section.notes.append("There are no paired tests for a task of this kind.")
        self._quality_and_cost()
        self._learning_curves()

    def _segmentation(self) -> None:
        tables = {place: [read_cases(self.store, run) for run in row.runs] for place, row in enumerate(self.rows)}
        for place, of_row in tables.items():
            for table in of_row:
                for name, each in ({} if table is None else table.values).items():
                    self.rows[place].counted.setdefault(name, []).append(int(np.isfinite(each).sum()))
        contest, values = segmentation_contest(self.section.ranking, tables, self.options.best)
        if contest is None:
            self.section.notes.append(_no_test(values, self.metric))
        else:
            self.section.contests = [contest]
        if not values:
            return
        drawn = [self.drawn[place] for place in values]
        self._plot(
            plots.strips(drawn, list(values.values()), self.metric),
            "Case by case",
            f"{self.metric} of every test case, a point each; a case is at the same height in every strip. Black line: "
            "mean; dotted line and grey box: median and quartiles. With several seeds a point is their mean.",
            _listed(drawn, [f"lowest {min(v[v == v], default=math.nan):.3f}" for v in values.values()]),
        )
        if self.options.pictures and contest is not None:
            some = next(t for t in tables[next(iter(values))] if t is not None)
            by_label = {self.rows[place].label: each for place, each in values.items()}
            chosen = disagreement.divided_cases(by_label, sorted(some.cases))
            self._outlined({self.rows[place].label: self.rows[place] for place in values}, chosen)

    def _outlined(self, rows: Mapping[str, Row], chosen: Sequence[disagreement.Divided]) -> None:
        """A picture a case, with what each network outlined where its run kept that."""
        pictures = outlines.CasePictures(self.store, rows, self.metric)
        found, reason = pictures.read(chosen)
        if not self._can_be_drawn(found, reason, bool(chosen)):
            return
        for place, each in enumerate(found):
            title, more = ("", "") if place else (_DISAGREEMENT, f" {pictures.explained}")
            figure = outlines.figure_of(each)
            self._plot(figure, title, each.caption + more, each.alt, as_svg=False, command=each.command)

    def _classification(self) -> None:
        tables = {place: [read_items(self.store, run) for run in row.runs] for place, row in enumerate(self.rows)}
        for place, of_row in tables.items():
            counts = [len(table.items) for table in of_row if table is not None]
            self.rows[place].counted = dict.fromkeys(self.section.ranking.metrics, counts)
        contests, chosen = classification_contests(self.section.ranking, tables, self.options.best)
        self.section.contests = contests
        if not contests:
            self.section.notes.append(_no_test(chosen, self.metric))
        if not chosen:
            return
        drawn, items = [self.drawn[place] for place in chosen], list(chosen.values())
        several = any(len(self.rows[place].runs) > 1 for place in chosen)
        which = " Of several seeds the lowest is drawn." if several else ""
        self._plot(
            plots.curves(drawn, items),
            "ROC and precision-recall curves",
            f"Left: sensitivity against 1 - specificity; right: precision against sensitivity. Dotted: chance.{which}",
            _listed(drawn, ["" for _ in drawn]),
        )
        self._plot(
            plots.reliabilities(drawn, items),
            "Reliability",
            "Left: how often an answer is right against how sure it was; on the dotted line a probability can be taken "
            f"at its word. Right: how many answers were that sure.{which}",
            _listed(drawn, ["" for _ in drawn]),
        )
        self._plot(
            plots.confusions(drawn, items),
            "Confusion matrices",
            f"Counts, and the part of the true class, which is also the shade.{which}",
            _listed(drawn, [f"{int(t.right.sum())} of {len(t.right)} right" for t in items]),
        )
        if self.options.pictures and len(items) > 1:
            by_label: dict[str, ItemTable] = {self.rows[place].label: table for place, table in chosen.items()}
            divided = disagreement.divided_items(by_label)
            found, reason = disagreement.draw_items(self.rows[0].first, items[0], divided)
            if self._can_be_drawn(found, reason, bool(divided)):
                names = "; ".join(f"{each.case}: {', '.join(each.lines)}" for each in found)
                caption = "Below each name: the true class, and who says what."
                self._plot(disagreement.figure_of(found), _DISAGREEMENT, caption, names, as_svg=False)

    def _can_be_drawn(self, found: Sequence[object], reason: str, any_chosen: bool) -> bool:
        """Whether there are pictures of cases; a note where there are none."""
        if not any_chosen:
            self.section.notes.append("There is no case on which these networks disagree.")
        elif not found:
            self.section.notes.append(f"No pictures of cases on which networks disagree: {reason or 'none was found'}.")
        return any_chosen and bool(found)

    def _quality_and_cost(self) -> None:
        costs = {
            "parameters": [cost.parameters for cost in self.section.costs[: len(self.rows)]],
            "inference time, ratio": [cost.time_ratio for cost in self.section.costs[: len(self.rows)]],
        }
        quality = [row.mean(self.metric) for row in self.rows]
        known = {name: each for name, each in costs.items() if _points(each, quality) > 1}
        if not known:
            self.section.notes.append("Quality against cost is not drawn: fewer than two rows have both.")
            return
        higher = higher_is_better(self.metric)
        parts = []
        for name, each in known.items():
            front = plots.pareto_front(each, [value if higher else -value for value in quality])
            parts.append(f"{name}: {', '.join(self.rows[k].label for k in front)}")
        figure = plots.quality_and_cost(
            self.drawn, quality, [row.interval(self.metric) for row in self.rows], known, self.metric, higher
        )
        caption = "Upright lines are 95 % intervals. On the Pareto front, where nothing cheaper is as good: "
        self._plot(figure, "Quality against cost", f"{caption}{'; '.join(parts)}.", "; ".join(parts))

    def _learning_curves(self) -> None:
        names = ["train_loss", *_watched(self.rows, self.metric)]
        histories = {}
        most = _RUNS_DRAWN if len(self.rows) <= _ROWS_WITH_SEEDS else 1
        for name in names:
            of_rows = [
                [self.store.history(run, name) if name in run.metrics else [] for run in row.runs[:most]]
                for row in self.rows
            ]
            if any(points for of_runs in of_rows for points in of_runs):
                histories[name] = of_rows
        if not histories:
            self.section.notes.append(
                "Learning curves are not drawn: the runs have neither loss nor validation metric."
            )
            return
        ends = [f"{row.first.params.get('epochs', '?')} epochs" for row in self.rows]
        which = "the lowest seed" if most == 1 else f"the {most} lowest seeds"
        caption = f"{' and '.join(histories)} against epochs, a line a run (of a row {which})."
        self._plot(plots.learning_curves(self.drawn, histories), "Learning curves", caption, _listed(self.drawn, ends))

    def _plot(
        self, figure: Figure, title: str, caption: str, alt: str, *, as_svg: bool = True, command: str = ""
    ) -> None:
        words = f"{title}. {alt}" if title else alt
        self.section.plots.append(Plot(title, caption, words, data_uri(figure, as_svg), command))


def _watched(rows: Sequence[Row], metric: str) -> list[str]:
    """The validation metric that most resembles the ranking's: its own, or the one that chose the checkpoint."""
    names = [f"val_{metric}"]
    names += [n.removeprefix("best_") for row in rows for n in row.first.metrics if n.startswith("best_val_")]
    return [name for name in names if any(name in row.first.metrics for row in rows)][:1]


def _points(costs: Sequence[float], quality: Sequence[float]) -> int:
    return sum(math.isfinite(x) and math.isfinite(y) for x, y in zip(costs, quality, strict=True))


def _no_test(found: Mapping[int, object], metric: str) -> str:
    return (
        f"No paired test: {len(found)} of the rows have {metric} case by case in the tables that evaluations keep with "
        "their runs, and two are needed."
    )


def _listed(drawn: Sequence[plots.Drawn], words: Sequence[str]) -> str:
    return "; ".join(f"{row.label}: {word}" if word else row.label for row, word in zip(drawn, words, strict=True))


def data_uri(figure: Figure, as_svg: bool) -> str:
    """A figure as the source of a page's image."""
    buffer = io.BytesIO()
    kind = "svg" if as_svg else "png"
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")  # else saving lays out twice more, which is most of its time
    with rc_context({"svg.hashsalt": "comparison"}):
        figure.savefig(buffer, format=kind, metadata={"Date": None} if as_svg else None)
    mime = "image/svg+xml" if as_svg else "image/png"
    return f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
