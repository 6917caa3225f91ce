"""A comparison as tables: the same cells for Markdown, HTML and CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.comparison.contests import BOOTSTRAP, FEWEST_PATIENTS, Contest
from pipelines.comparison.costs import Cost
from pipelines.comparison.ranking import Ranking, Row, choices, named_like
from pipelines.evaluation.metric_names import has_order, higher_is_better

NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """A caption, the heads of the columns, and rows whose first cell is their head."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float, digits: int | None = None) -> str:
    """A number to read, a dash where there is none; three decimals, from 10 on one, where it is not said how many."""
    if not math.isfinite(value):
        return NOTHING
    return f"{value:.{(1 if abs(value) >= 10 else 3) if digits is None else digits}f}"


def with_interval(row: Row, metric: str) -> str:
    """``0.942 (0.921 to 0.953), n 20``, n being the cases that it is over; of several seeds ``0.942 ± 0.003 (…)``."""
    mean, spread = row.mean(metric), row.spread(metric)
    if not math.isfinite(mean):
        return NOTHING
    low, high = row.interval(metric)
    shown = number(mean) + (f" ± {number(spread)}" if math.isfinite(spread) else "")
    shown += f" ({number(low)} to {number(high)})" if math.isfinite(low) and math.isfinite(high) else ""
    counts = row.numbers_of_cases(metric)
    return shown + (f", n {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}" if counts else "")


def quality_table(
    ranking: Ranking, metrics: Sequence[str], rows: Sequence[Row], upsets: Mapping[int, Sequence[int]]
) -> Table:
    """Rank, network, the metrics, sensitivity and specificity.

    Args:
        upsets: places of rows that lose to rows further down, on the cases that both have, and the places of these.
    """
    said = [*metrics, *(n for word in ("sensitivity", "specificity") for n in named_like(ranking, word))]
    columns = list(dict.fromkeys(said))
    cells = []
    for place, row in enumerate(rows):
        rank = str(place + 1) if row.values(ranking.metric) else NOTHING
        if place in upsets:
            rank += f", but loses to {', '.join(ranking.rows[other].label for other in upsets[place])}"
        cells.append((row.label, rank, *(with_interval(row, metric) for metric in columns)))
    heads = [_with_order(name) for name in columns]
    caption = f"Quality on the test cases, in the order of {ranking.metric}: mean over runs, ± standard deviation over "
    caption += "seeds where there are several, 95 % interval over patients, and n, the number of cases (slices, "
    caption += "pictures) in which it is defined. Means over different cases do not compare: see who beats whom."
    return Table(caption, ("network", "rank", *heads), tuple(cells))


def _with_order(metric: str) -> str:
    if not has_order(metric):
        return f"{metric} (neither more nor less is better)"
    return metric if higher_is_better(metric) else f"{metric} (less is better)"


def cost_table(rows: Sequence[Row], costs: Sequence[Cost], machine: str) -> Table:
    """Parameters, multiplications, memory and time."""
    cells: list[tuple[str, ...]] = []
    for row, cost in zip(rows, costs, strict=True):
        cells.append(
            (
                row.label,
                f"{cost.parameters:,.0f}" if math.isfinite(cost.parameters) else NOTHING,
                f"{cost.macs / 1e6:,.1f}" if math.isfinite(cost.macs) else NOTHING,
                number(cost.activation_mb, 1),
                number(cost.parameter_mb, 2),
                duration(row.seconds),
                number(cost.time_ratio, 2),
                number(cost.peak_mb, 0),
                "x".join(map(str, cost.input_shape)) or NOTHING,
                cost.why_not,
            )
        )
    head: tuple[str, ...] = ("network", "parameters", "MACs, million", "activations, MB", "parameters, MB")
    head += ("training time", "inference time, ratio", "peak memory, MB", "input", "remark")
    if not any(cost.why_not for cost in costs):
        head, cells = head[:-1], [each[:-1] for each in cells]
    caption = "Cost. Training time is from a run's start to its end on whichever machine it was, validation included. "
    caption += "The rest is of one forward pass of one input in float32 with random weights"
    return Table(f"{caption}{machine} MB are MiB.", head, tuple(cells))


def origin_table(rows: Sequence[Row]) -> Table:
    """Where each row comes from, and what was chosen for it and not for all."""
    cells = []
    knobs = [choices(row.first.params) for row in rows]
    differing = sorted({name for each in knobs for name in each if len({other.get(name) for other in knobs}) > 1})
    for row, chosen in zip(rows, knobs, strict=True):
        first = row.first
        weights = first.tags.get("best_checkpoint", "")
        statuses = sorted({run.status for run in row.runs})
        commits = sorted({run.tags.get("git_commit", "?")[:8] for run in row.runs})
        notes = [*row.notes]
        if len(commits) > 1:
            notes.append("its runs are of different commits")
        if any(run.tags.get("git_dirty") == "true" for run in row.runs):
            notes.append("the code had changes that no commit has")
        if any("resumed_from" in run.tags for run in row.runs):
            notes.append("resumed: its training time is of the last part")
        cells.append(
            (
                row.label,
                first.experiment,
                ", ".join(run.name for run in row.runs[:5]) + (" …" if len(row.runs) > 5 else ""),
                ", ".join(row.seeds),
                ", ".join(statuses),
                "/".join(weights.rsplit("/", 2)[-2:]) or NOTHING,
                first.params.get("data_fingerprint", "?").rpartition(":")[2][:12],
                ", ".join(commits),
                _listed([f"{name}={chosen[name]}" for name in differing if name in chosen]),
                "; ".join(notes) or NOTHING,
            )
        )
    head = (
        "network",
        "experiment",
        "runs",
        "seeds",
        "status",
        "weights",
        "trained on data",
        "commit",
        "not the same for all",
        "remark",
    )
    return Table("Where each row comes from, and the knobs that were not the same for all rows.", head, tuple(cells))


def _listed(words: Sequence[str], most: int = 8) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "") or NOTHING


def matrix(contest: Contest, ranking: Ranking) -> Table:
    """Who beats whom: each cell reads from its row's network."""
    labels = [ranking.rows[place].label for place in contest.rows]
    cells = []
    for row in contest.rows:
        line = [ranking.rows[row].label]
        for column in contest.rows:
            found = contest.result(row, column)
            if found is None:
                line.append(NOTHING)
                continue
            pair, sign = found
            winner = contest.winner(pair)
            word = "no difference shown" if winner is None else "better" if winner == row else "worse"
            if pair.too_few:
                line.append(f"too few patients ({pair.n_patients}): {sign * pair.difference:+.4f}")
                continue
            shown = "<0.0001" if pair.corrected < 1e-4 else f"={pair.corrected:.4f}"
            line.append(
                f"{word}: {sign * pair.difference:+.4f}, p{shown}" if not math.isnan(pair.corrected) else NOTHING
            )
        cells.append(tuple(line))
    caption = (
        f"Who beats whom in {contest.metric}: {_tests(contest)}, corrected by Holm over {len(contest.pairs)} pairs, on "
    )
    caption += f"{contest.n} {contest.unit} of {contest.n_patients} patients. A cell reads from its row: row minus "
    caption += "column. Better or worse is said only where the corrected p is below 0.05 and the 95 % bootstrap "
    caption += f"interval over patients leaves out 0, and of no fewer than {FEWEST_PATIENTS} patients."
    return Table(caption, ("network", *labels), tuple(cells))


def _tests(contest: Contest) -> str:
    """What the p values are of."""
    if contest.test == BOOTSTRAP:
        return f"p of the {BOOTSTRAP} over patients"
    return f"{contest.test} and the {BOOTSTRAP} over patients, the larger p of the two"


def pair_table(contest: Contest, ranking: Ranking) -> Table:
    """Every pair with its interval and all p values."""
    by_bootstrap = contest.test == BOOTSTRAP  # whose p is then the test's
    cells = tuple(
        (
            f"{ranking.rows[pair.first].label} – {ranking.rows[pair.second].label}",
            str(pair.n),
            f"{pair.difference:+.4f}",
            f"{pair.low:+.4f} to {pair.high:+.4f}" if math.isfinite(pair.low) else NOTHING,
            *(() if by_bootstrap else (number(pair.bootstrap_p, 4),)),
            number(pair.p_value, 4),
            number(pair.corrected, 4),
        )
        for pair in contest.pairs
    )
    tests = (contest.test,) if by_bootstrap else (BOOTSTRAP, contest.test)
    head = ("pair", contest.unit, "difference", "95 % interval", *(f"p, {test}" for test in tests), "p, Holm")
    return Table(f"All pairs in {contest.metric}.", head, cells)


def duration(seconds: float) -> str:
    """``1 h 02 min``, ``3 min 20 s`` or ``12 s``."""
    if not math.isfinite(seconds):
        return NOTHING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
