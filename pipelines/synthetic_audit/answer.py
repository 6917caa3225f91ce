"""Whether it helped, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.comparison.contests import FEWEST_PATIENTS
from pipelines.evaluation import Interval
from pipelines.synthetic_audit.plan import Arm
from pipelines.synthetic_audit.results import CLASSICAL, NONE, Effect, Fault, Results

HELPED, HARMED, BOTH, OPEN, UNTESTED = "helped", "harmed", "helped and harmed", "not shown to help", "too few patients"
_VERBS = {
    HELPED: "helped {}",
    HARMED: "harmed {}",
    BOTH: "helped or harmed {}, by their share",
    OPEN: "were not shown to help {}",
    UNTESTED: f"could not be judged for {{}}, since fewer than {FEWEST_PATIENTS} patients decide",
}


def verdicts(results: Results) -> dict[str, str]:
    """For each network: one of ``HELPED``, ``HARMED``, ``BOTH``, ``OPEN``, ``UNTESTED``.

    Helped means that some share of generated pictures is better than no augmentation, and none is worse.
    """
    found = {}
    for network in networks_of(results):
        words = {each.outcome(results.metric) for each in _against_none(results, network)}
        better, worse = "better" in words, "worse" in words
        word = BOTH if better and worse else HELPED if better else HARMED if worse else OPEN
        found[network] = UNTESTED if words == {"untested"} else word
    return found


def answer(results: Results) -> str:
    """The first sentence of the page: whether generated pictures helped, for each network, with the interval.

    Where a share of them stands out beyond chance, the figures are of that with the largest difference, else of the
    largest share, as was decided beforehand.
    """
    parts: dict[str, list[str]] = {}
    for network, word in verdicts(results).items():
        effects = _against_none(results, network)
        outstanding = [each for each in effects if each.outcome(results.metric) in ("better", "worse")]
        shown = max(outstanding, key=lambda each: abs(each.pairs[results.metric].difference), default=effects[-1])
        pair = shown.pairs[results.metric]
        figures = f"{_percent(shown.arm)}: {pair.difference:+.3f}"
        figures += "" if pair.too_few else f", 95 % interval {pair.low:+.3f} to {pair.high:+.3f}"
        parts.setdefault(word, []).append(f"{network} ({figures})")
    said = "; ".join(_VERBS[word].format(_listed(networks)) for word, networks in parts.items())
    metric = results.metric.replace("_", " ")
    return f"In {metric} on real test pictures, against no augmentation, generated pictures {said}."


def further(results: Results) -> list[str]:
    """What else must be said at once: classical augmentation, and what the fault would have reported."""
    said = []
    largest = max(row.training.arm.share for row in results.rows)
    for network in networks_of(results):
        classical = results.effect(network, CLASSICAL, NONE)
        between = results.effect(network, Arm(largest, False), CLASSICAL)
        said.append(
            f"{network}: classical augmentation {_difference(classical, results.metric, 'none')}; generated pictures "
            f"at {100 * largest:g} % {_difference(between, results.metric, 'classical augmentation', plural=True)}."
        )
    for fault in largest_faults(results):
        said.append(fault_sentence(fault))
    return said


def fault_sentence(fault: Fault) -> str:
    """What generated pictures among the test cases would have reported, and what is true."""
    return (
        f"{fault.network}, fault: with {fault.generated} generated pictures among the test cases the accuracy of the "
        f"same networks would read {fault.mixed.estimate:.3f} in the place of {fault.real.estimate:.3f} (inflated by "
        f"{interval(fault.inflation, signed=True)}), and the gain over no augmentation {fault.gain.estimate:+.3f} in "
        f"the place of {fault.honest.estimate:+.3f}."
    )


def largest_faults(results: Results) -> list[Fault]:
    """Of each network, the fault of the largest share without classical augmentation."""
    largest = max(row.training.arm.share for row in results.rows)
    return [fault for fault in results.faults if fault.arm == Arm(largest, False)]


def networks_of(results: Results) -> list[str]:
    """Their names, in the order in which they were asked for."""
    return list(dict.fromkeys(row.training.network for row in results.rows))


def interval(found: Interval, *, signed: bool = False) -> str:
    """``0.912 (0.890 to 0.931)``."""
    sign = "+" if signed else ""
    bounds = "" if found.low != found.low else f" ({found.low:{sign}.3f} to {found.high:{sign}.3f})"
    return f"{found.estimate:{sign}.3f}{bounds}"


def _against_none(results: Results, network: str) -> Sequence[Effect]:
    """The shares of generated pictures without classical augmentation, the smallest first."""
    own = [e for e in results.effects if e.network == network and e.against == NONE and e.arm.share]
    return sorted((e for e in own if not e.arm.augmented), key=lambda e: e.arm.share)


def _difference(effect: Effect, metric: str, other: str, *, plural: bool = False) -> str:
    pair = effect.pairs[metric]
    words = {
        "better": f"are better than {other}",
        "worse": f"are worse than {other}",
        "open": f"are not shown to differ from {other}",
        "untested": f"cannot be judged against {other}",
    }
    said = words[effect.outcome(metric)] if plural else words[effect.outcome(metric)].replace("are ", "is ", 1)
    bounds = "" if pair.too_few else f", 95 % interval {pair.low:+.3f} to {pair.high:+.3f}"
    return f"{said} ({pair.difference:+.3f}{bounds})"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _percent(arm: Arm) -> str:
    return f"at {100 * arm.share:g} %"
