"""Labels that may be wrong: copies that are labelled otherwise, masks unlike all others, classes that the nearest
images of other patients deny. Suspects for a person to look at: none of them is proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from pipelines.preparation.audit.items import Item
from pipelines.preparation.audit.looks import Look
from pipelines.preparation.audit.neighbours import Pair, turned

_COPY = 0.97  # likeness from which two images should be labelled alike: slices of 1 mm apart, or the same picture
_LEAST_DICE = 0.6
_LEAST_LABELLED = 30  # pixels of 64 x 64 that one of two copies has labelled; of less the Dice is chance
_SPECKS = 10  # of one mask
_RARE = 0.05  # part of the masks beyond which nothing is unusual
_OUTLIER = 3.5  # modified z-score (Iglewicz and Hoaglin, 1993)
_FEWEST = 20  # masks, or images with a class, below which nothing is unusual
_NEIGHBOURS, _ASKED = 15, 60
_DENIED = 0.8  # part of the neighbours that are of another class
_TRUSTED = 0.75  # balanced accuracy of the vote itself, below which it is not asked
_COMPONENTS = 40


@dataclass(frozen=True)
class Suspect:
    """An image (its number) whose label may be wrong, why, and how far it stands out (larger is worse)."""

    number: int
    why: str
    weight: float
    other: int | None = None


def unlike_copies(items: Sequence[Item], looks: Sequence[Look], pairs: Sequence[Pair]) -> list[Suspect]:
    """Of two images that show the same, in the place of each other's labels: another class, or masks with little in
    common."""
    found = []
    for pair in pairs:
        if pair.likeness < _COPY or pair.frame != "whole":
            continue
        one, other = items[pair.first].label, items[pair.second].label
        if isinstance(one, int) and isinstance(other, int) and one != other:
            found.append(Suspect(pair.first, "a copy of it is of another class", pair.likeness, pair.second))
        first, second = looks[pair.first].masks, looks[pair.second].masks
        if first is None or second is None:
            continue
        here = first[pair.planes[0]]
        there = turned(second[pair.planes[1]][None], pair.turn)[0]
        if not (here.any() or there.any()):
            continue
        top = max(int(here.max()), int(there.max()))
        a, b = here == top, there == top
        if max(np.count_nonzero(a), np.count_nonzero(b)) < _LEAST_LABELLED:
            continue
        dice = 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
        if dice < _LEAST_DICE:
            why = f"a copy or next slice of it is outlined otherwise (Dice {dice:.2f})"
            found.append(Suspect(pair.first, why, 1 - dice, pair.second))
    return sorted(found, key=lambda suspect: -suspect.weight)


def unusual_masks(looks: Sequence[Look]) -> list[Suspect]:
    """Masks that are empty where hardly any is, are strewn with specks, or stand out by area or roundness."""
    numbers = [k for k, look in enumerate(looks) if look.shape is not None]
    shapes = [look.shape for look in looks if look.shape is not None]
    if len(shapes) < _FEWEST:
        return []
    found = []
    empty = [k for k, shape in zip(numbers, shapes, strict=True) if not shape.values]
    if len(empty) <= _RARE * len(shapes):
        found += [Suspect(k, "its mask is empty", 10.0) for k in empty]
    full = [(k, shape) for k, shape in zip(numbers, shapes, strict=True) if shape.values]
    if len(full) < _FEWEST:
        return found
    where = [k for k, _ in full]
    shares = np.array([shape.share for _, shape in full])
    log_odds = np.log(shares + 1e-6) - np.log1p(1e-6 - np.minimum(shares, 1 - 1e-6))
    measures = [("area", log_odds, [f"{100 * share:.1f} %" for share in shares])]
    round_ones = [shape.roundness for _, shape in full]
    if all(value is not None for value in round_ones):
        values = np.array(round_ones, float)
        measures.append(("roundness", np.log(values), [f"{value:.2f}" for value in values]))
    strewn = [
        Suspect(k, f"its mask has {shape.specks} specks", shape.specks) for k, shape in full if shape.specks >= _SPECKS
    ]
    found += strewn if len(strewn) <= _RARE * len(shapes) else []  # else that is how the set was outlined
    for name, of, shown in measures:
        score = modified_z(of)
        out = [
            Suspect(where[k], f"the {name} of its mask stands out: {shown[k]}, median {_median(of, shown)}", abs(z))
            for k, z in enumerate(score.tolist())
            if abs(z) > _OUTLIER
        ]
        found += out if len(out) <= _RARE * len(shapes) else []
    return sorted(found, key=lambda suspect: -suspect.weight)


def modified_z(values: NDArray) -> NDArray:
    """0.6745 (x - median) / MAD; where more than half are equal, the mean absolute deviation takes the MAD's place."""
    away = values - np.median(values)
    spread = float(np.median(np.abs(away)))
    if spread > 0:
        return 0.6745 * away / spread
    mean = float(np.mean(np.abs(away)))
    return away / (1.253314 * mean) if mean > 0 else np.zeros_like(away)


def denied_classes(items: Sequence[Item], looks: Sequence[Look]) -> tuple[list[Suspect], str]:
    """Images whose class at least 12 of the 15 nearest images of other patients deny, and a sentence on the vote.

    Nearness is that of grey pictures of 32 x 32, each of mean 0 and standard deviation 1, in their first 40 principal
    components. Where that tells the classes with a balanced accuracy below 0.75, nobody is suspected by it. (With 3 %
    of the labels of 2,608 chest X-rays exchanged it named 110, 69 % of them rightly, and 86 % of the exchanged ones. Of
    benign and malignant naevi it tells too little, and is not asked.)
    """
    numbers = [k for k, item in enumerate(items) if isinstance(item.label, int)]
    classes = np.array([items[k].label for k in numbers])
    if len(numbers) < 2 * _FEWEST or len(set(classes.tolist())) < 2:
        return [], ""
    features = np.stack([_coarse(looks[k].coarse) for k in numbers])
    parts = min(_COMPONENTS, len(numbers) - 1)
    features = PCA(parts, svd_solver="randomized", random_state=0).fit_transform(features)
    asked = min(_ASKED, len(numbers))
    rows = NearestNeighbors(n_neighbors=asked).fit(features).kneighbors(features, return_distance=False)
    whose = [items[k].patient or f"\0{k}" for k in numbers]
    denied, right = np.zeros(len(numbers)), np.zeros(len(numbers), bool)
    for k, row in enumerate(rows):
        others = [j for j in row if whose[j] != whose[k]][:_NEIGHBOURS]
        votes = classes[others]
        denied[k] = np.mean(votes != classes[k]) if len(votes) == _NEIGHBOURS else 0.0
        right[k] = denied[k] < 0.5
    accuracy = float(np.mean([right[classes == value].mean() for value in sorted(set(classes.tolist()))]))
    said = f"a vote of the {_NEIGHBOURS} nearest images of other patients has a balanced accuracy of {accuracy:.2f}"
    if accuracy < _TRUSTED:
        return [], f"{said}: too low to suspect anybody's class"
    found = [
        Suspect(numbers[k], f"{round(100 * part)} % of its nearest neighbours are of another class", part)
        for k, part in enumerate(denied.tolist())
        if part >= _DENIED
    ]
    return sorted(found, key=lambda suspect: -suspect.weight), said


def _coarse(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = plane.ravel()
    return (flat - flat.mean()) / (flat.std() + 1 / 255)


def _median(values: NDArray, shown: Sequence[str]) -> str:
    return shown[int(np.argmin(np.abs(values - np.median(values))))]
