"""What follows from a ranking, as sentences: what to use, how sure that is, and what else may be the reason."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines.comparison.contests import BOOTSTRAP, FEWEST_PATIENTS, Contest
from pipelines.comparison.costs import Cost
from pipelines.comparison.ranking import Ranking, Row
from pipelines.comparison.tables import with_interval
from pipelines.evaluation.metric_names import has_order

_MANY = 10  # rows from which choosing the best of them on the test cases is worth a warning


def verdict(ranking: Ranking, rows: Sequence[Row], contest: Contest | None, costs: Sequence[Cost]) -> list[str]:
    """What a reader wants to know first, from nothing but what was tested.

    Args:
        rows: the best of the ranking, which were tested. contest: their tests; None where there are none.
        costs: of each of the rows.
    """
    best = rows[0]
    if not best.values(ranking.metric):
        return ["No row has a value of the metric: there is no ranking."]
    if not has_order(ranking.metric):
        return [f"There is no ranking: {ranking.metric} has no better and worse."]
    said, leader = [], 0
    loses_to = [] if contest is None or 0 not in contest.rows else contest.outcomes(0)["better"]
    if contest is not None and loses_to:
        said.append(
            f"{best.label} has the best mean {ranking.metric}, {with_interval(best, ranking.metric)}, and is not the "
            f"best: it loses to {_names(rows, loses_to)} on the cases that both have ({contest.test}, the bootstrap, "
            "and its interval). Means over different cases do not compare."
        )
        unbeaten = [place for place in contest.rows if not contest.outcomes(place)["better"]]
        if not unbeaten:
            return [*said, "Each of the rows loses to another one: none is the best."]
        leader = unbeaten[0]
        lead = f"Of the rows that lose to none, {rows[leader].label} has the best mean: "
        said.append(f"{lead}{with_interval(rows[leader], ranking.metric)}.")
    else:
        said.append(f"{best.label} ranks first in {ranking.metric}: {with_interval(best, ranking.metric)}.")
    if len(ranking.rows) == 1:
        return [*said, "It is the only row on these data: there is nothing to compare it with."]
    if contest is None or leader not in contest.rows:
        said.append("It could not be tested against the others on the same cases, so the order may be chance.")
    else:
        said += _standing(rows, contest, leader, costs)
    if len(ranking.rows) >= _MANY:
        said.append(f"The best of {len(ranking.rows)} is partly the luckiest: its score here is likely too high.")
    if all(len(row.runs) == 1 for row in rows):
        said.append("Each row is a single training: how much of a difference is the seed's is not known.")
    return said


def _standing(rows: Sequence[Row], contest: Contest, leader: int, costs: Sequence[Cost]) -> list[str]:
    """How all others stand to the row that leads, each of them named once."""
    said = []
    outcomes = contest.outcomes(leader)
    beaten, open_to, untested = (outcomes[name] for name in ("beats", "open", "untested"))
    if beaten:
        tests = "the bootstrap" if contest.test == BOOTSTRAP else f"{contest.test} and the bootstrap"
        said.append(f"It beats {_names(rows, beaten)} ({tests}, corrected by Holm, and its interval).")
    if open_to:
        said.append(f"No difference is shown to {_names(rows, open_to)}: that is not proof that there is none.")
    few = [place for place in untested if (pair := contest.result(leader, place)) and pair[0].too_few]
    if few:
        said.append(
            f"Too few patients to tell it from {_names(rows, few)}: a winner needs at least {FEWEST_PATIENTS}, and the "
            "order may be chance."
        )
    missing = [place for place in range(len(rows)) if place not in contest.rows]
    rest = sorted({*untested, *missing} - set(few))
    if rest:
        said.append(f"It could not be tested against {_names(rows, rest)}.")
    return [*said, *_cheapest(rows, [leader, *open_to, *few], costs)]


def _cheapest(rows: Sequence[Row], places: Sequence[int], costs: Sequence[Cost]) -> list[str]:
    """Among the first of these places and those that cannot be told from it, the one with the fewest parameters."""
    known = [place for place in places if math.isfinite(costs[place].parameters)]
    if len(places) < 2 or not known:
        return []
    least = min(known, key=lambda place: costs[place].parameters)
    if least == places[0]:
        return ["None of these has fewer parameters."]
    cost = costs[least]
    time = f", {cost.time_ratio:.2f} times the first's time" if math.isfinite(cost.time_ratio) else ""
    return [f"Of those not told apart, {rows[least].label} has the fewest parameters ({cost.parameters:,.0f}{time})."]


def _names(rows: Sequence[Row], places: Sequence[int]) -> str:
    return ", ".join(rows[place].label for place in places)
