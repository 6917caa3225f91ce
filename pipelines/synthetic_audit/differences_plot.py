"""The picture of an audit: what each arm has more than no augmentation, and what the fault would have reported."""

from __future__ import annotations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipelines.comparison.plots import style
from pipelines.synthetic_audit.answer import networks_of
from pipelines.synthetic_audit.results import NONE, Results

ALT = (
    "Accuracy of each arm minus that without augmentation, on the same real test pictures: mean over seeds (mark), 95 "
    "% interval over patients (line), each seed (dots). Grey crosses are the fault: what generated pictures among the "
    "test cases would have reported as the gain."
)


def draw_differences(results: Results) -> Figure:
    """A panel a network; in accuracy, in which the fault is reported."""
    networks = networks_of(results)
    arms = list(dict.fromkeys(e.arm for e in results.effects if e.against == NONE))
    figure = Figure(figsize=(9.0, 0.9 + (0.34 * len(arms) + 0.4) * len(networks)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(networks), 1, sharex=True, squeeze=False)[:, 0]
    for axes, network in zip(panels, networks, strict=True):
        for place, arm in enumerate(arms):
            own = results.effect(network, arm, NONE)
            pair, drawn = own.pairs["accuracy"], style(place)
            if not pair.too_few:
                axes.plot([pair.low, pair.high], [place, place], color=drawn.colour, linewidth=2)
            axes.plot(pair.difference, place, marker=drawn.marker, color=drawn.colour, markersize=8, linestyle="none")
            seeds = own.by_seed["accuracy"]
            axes.plot(seeds, [place + 0.28] * len(seeds), ".", color=drawn.colour, markersize=4, alpha=0.7)
            for fault in results.faults:
                if (fault.network, fault.arm) == (network, arm):
                    ends = [fault.gain.low, fault.gain.high]
                    axes.plot(ends, [place - 0.25] * 2, color="0.55", linewidth=1, linestyle=":")
                    axes.plot(
                        fault.gain.estimate, place - 0.25, marker="x", color="0.45", markersize=7, linestyle="none"
                    )
        axes.axvline(0, color="0.3", linewidth=1)
        axes.set_yticks(range(len(arms)), [arm.name for arm in arms], fontsize=8)
        axes.set_ylim(len(arms) - 0.4, -0.6)
        axes.set_title(network, fontsize=9, loc="left")
        axes.grid(axis="x", alpha=0.3)
    panels[-1].set_xlabel("accuracy minus that of no augmentation (grey x: FAULT)")
    return figure
