"""Whether the splits are of one kind: classes by chi-square, shares of what is outlined by Kolmogorov and Smirnov."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import chi2_contingency, ks_2samp

from pipelines.preparation.audit.items import AuditedList, Item
from pipelines.preparation.audit.looks import Look

UNLIKELY = 0.01
_FEWEST = 5  # patients of a split below which no test can say anything


def prior_shift(audited: AuditedList, looks: Mapping[Item, Look]) -> list[str]:
    """Sentences on held-out splits whose labels are distributed otherwise than those of training, each patient counted
    once (a class by its majority, a share by its mean), with p below 0.01."""
    sections = audited.sections
    if "training" not in sections:
        return []
    found = []
    for name in (each for each in sections if each != "training"):
        if audited.classes:
            said = _of_classes(sections["training"], sections[name], name, audited.names)
        else:
            said = _of_shares(sections["training"], sections[name], name, looks)
        found += [said] if said else []
    return found


def _of_classes(training: Sequence[Item], held: Sequence[Item], name: str, names: Mapping[int, str]) -> str:
    one, other = (
        Counter(Counter(numbers).most_common(1)[0][0] for numbers in _by_patient(items).values())
        for items in (training, held)
    )
    if min(one.total(), other.total()) < _FEWEST or len(one | other) < 2:
        return ""
    values = sorted(one | other)
    p = float(chi2_contingency(np.array([[count[v] for v in values] for count in (one, other)]), correction=True)[1])
    if p >= UNLIKELY:
        return ""
    parts = ", ".join(
        f"{names.get(v, v)} {100 * one[v] / one.total():.0f} % in training and {100 * other[v] / other.total():.0f} %"
        for v in values
    )
    return f"the classes of {name} are distributed otherwise than those of training: {parts} (chi-square, p = {p:.2g})"


def _of_shares(training: Sequence[Item], held: Sequence[Item], name: str, looks: Mapping[Item, Look]) -> str:
    one, other = ([np.mean(v) for v in _shares_by_patient(items, looks).values()] for items in (training, held))
    if min(len(one), len(other)) < _FEWEST:
        return ""
    p = float(ks_2samp(one, other).pvalue)
    if p >= UNLIKELY:
        return ""
    return (
        f"what is outlined is of another size in {name} than in training: median share {100 * np.median(other):.1f} % "
        f"and {100 * np.median(one):.1f} % (Kolmogorov-Smirnov, p = {p:.2g})"
    )


def _by_patient(items: Sequence[Item]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for item in items:
        if isinstance(item.label, int):
            found.setdefault(item.patient or f"\0{item.case}", []).append(item.label)
    return found


def _shares_by_patient(items: Sequence[Item], looks: Mapping[Item, Look]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for item in items:
        shape = looks[item].shape
        if shape is not None:
            found.setdefault(item.patient or f"\0{item.case}", []).append(shape.share)
    return found
