"""Which images are copies or neighbours of each other: each is held against each, in every turn and mirror image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.preparation.audit.looks import SIDE, Look

# Chosen on 1,640 slices of 12 patients of COVID-19-CT-Seg: of 1.2 million pairs of two patients none reaches 0.48, by
# the whole picture or by the box; of slices of a scan at most 3 apart, in one form, 19 of 20 reach 0.64. What the audit
# finds and misses is measured by benchmarks/audit_reach.py and told in docs/how-to/audit-your-data.md.
ALIKE = 0.58
# Adults' frontal chest X-rays are all alike: of 704 no two are known to be of one patient, and ten pairs reach 0.58,
# one 0.65. So the limit of an image rises with its likeness to others of its list: their median, and so many times what
# the upper quartile lies above it. Slices of three patients are like a third of their list: hence the highest limit.
_BACKGROUND, _HIGHEST = 7.5, 0.70
_SAMPLE, _FEWEST = 300, 20  # planes of a list that the others are held against, and below which they say nothing
# Of a few pictures fainter likenesses are worth a look: in the 50 slices of COVID-SemiSeg's training part, 1,225 pairs,
# the nine from 0.35 on are of three patients, or of four, by eye.
DOUBTFUL, DOUBTFUL_OF_FEW = 0.5, 0.35
FEW = 300  # planes
_BELOW = 0.1  # a limit, to be worth a look where that is higher
# Vignettes of one device are alike where nothing else is: half of all parts have to agree, too.
_PARTS_ALIKE = 0.5
_PARTS_DOUBTFUL, _PARTS_OF_FEW = 0.45, 0.28
_PART = 8  # pixels of the side of a part
_BLOCK = 256  # planes that are held against all at a time
_PAIRS = 2000  # pairs of which the parts are compared at a time
MOST = 400_000  # pairs of planes that are kept: a set of so many neighbours needs no further ones


@dataclass(frozen=True)
class Pair:
    """Two images (their numbers, the lower first) and how alike they are.

    Attributes:
        likeness: correlation, of the best turn, of local structure (0..1).
        parts: the median of the correlations of its parts.
        frame: "whole", or "box" where the boxes around what is labelled were held against each other.
        planes: of the first and of the second.
        turn: number of quarter turns, and whether mirrored, that bring the second onto the first.
        alike: whether they are held to be of one patient; else they are doubtful.
    """

    first: int
    second: int
    likeness: float
    parts: float
    frame: str
    planes: tuple[int, int]
    turn: tuple[int, bool]
    alike: bool


def turned(planes: NDArray, turn: tuple[int, bool]) -> NDArray:
    """Planes (N, 64, 64) by quarter turns, then mirrored or not."""
    found = np.rot90(planes, turn[0], (1, 2))
    return found[:, ::-1] if turn[1] else found


def pairs_of(looks: Sequence[Look], sources: Sequence[int]) -> list[Pair]:
    """The pairs that are alike, or doubtful, the nearest first: of two images the nearest pair of their planes.

    Args:
        sources: the list that each is of.
    """
    best: dict[tuple[int, int], Pair] = {}
    for frame in ("whole", "box"):
        planes = [look.whole if frame == "whole" else look.boxes for look in looks]
        owners = np.repeat(np.arange(len(looks)), [len(each) for each in planes])
        numbers = np.concatenate([np.arange(len(each)) for each in planes])
        stacked = np.concatenate(planes)
        seen = np.flatnonzero(np.abs(stacked).max(axis=(1, 2)) > 0)
        if not len(seen):
            continue
        limits = _limits(stacked[seen], np.array(sources)[owners[seen]])
        for i, j, likeness, parts, turn in _near(stacked[seen], owners[seen]):
            first, second, limit = seen[i], seen[j], float(max(limits[i], limits[j]))
            key = int(owners[first]), int(owners[second])
            alike = likeness >= limit and parts >= _PARTS_ALIKE
            if limit > ALIKE and likeness < limit - _BELOW:
                continue
            if key not in best or (alike, likeness) > (best[key].alike, best[key].likeness):
                where = int(numbers[first]), int(numbers[second])
                best[key] = Pair(*key, likeness, parts, frame, where, turn, alike)
    return sorted(best.values(), key=lambda pair: (-pair.likeness, pair.first, pair.second))


_TURNS = [(quarter, mirrored) for mirrored in (False, True) for quarter in range(4)]


def _limits(planes: NDArray[np.float32], sources: NDArray) -> NDArray[np.float32]:
    """From which likeness on each plane is held to be of one patient with another: (N,)."""
    limits = np.full(len(planes), ALIKE, np.float32)
    for source in np.unique(sources):
        own = np.flatnonzero(sources == source)
        if len(own) < _FEWEST:
            continue
        chosen = own[np.linspace(0, len(own) - 1, min(len(own), _SAMPLE)).round().astype(int)]
        likeness = np.zeros((len(chosen), len(own)), np.float32)
        for way in _TURNS:
            np.maximum(likeness, np.abs(_flat(turned(planes[chosen], way)) @ _flat(planes[own]).T), out=likeness)
        middle, upper = np.percentile(likeness, (50, 75), axis=0)
        limits[own] = np.clip(middle + _BACKGROUND * (upper - middle), ALIKE, _HIGHEST)
    return limits


def _near(planes: NDArray[np.float32], owners: NDArray) -> list[tuple[int, int, float, float, tuple[int, bool]]]:
    """Pairs of planes, the first of the lower owner: indices, likeness, that of the parts, and the second's turn."""
    found: list[tuple[int, int, float, float, tuple[int, bool]]] = []
    flat = planes.reshape(len(planes), -1)
    least, least_parts = (DOUBTFUL, _PARTS_DOUBTFUL) if len(planes) > FEW else (DOUBTFUL_OF_FEW, _PARTS_OF_FEW)
    for start in range(0, len(planes), _BLOCK):
        block = planes[start : start + _BLOCK]
        best = np.zeros((len(block), len(planes) - start), np.float32)  # what lies before was held against these
        turn = np.zeros(best.shape, np.int8)
        for number, way in enumerate(_TURNS):
            # the block is turned, in the place of the others: a turn of the second is the opposite one of the first
            likeness = np.abs(_flat(turned(block, way)) @ flat[start:].T)  # a negative is alike, too
            better = likeness > best
            best[better], turn[better] = likeness[better], number
        rows, columns = np.nonzero(best >= least)
        other = owners[start + rows] < owners[start + columns]
        rows, columns = rows[other], columns[other]
        if len(rows) > MOST - len(found):
            order = np.argsort(-best[rows, columns])[: max(MOST - len(found), 0)]
            rows, columns = rows[order], columns[order]
        for part in range(0, len(rows), _PAIRS):
            some = slice(part, part + _PAIRS)
            ways, likeness = turn[rows[some], columns[some]], best[rows[some], columns[some]]
            parts = np.zeros(len(likeness), np.float32)
            for number, way in enumerate(_TURNS):
                asked = ways == number
                if asked.any():
                    first = turned(block[rows[some][asked]], way)
                    parts[asked] = parts_alike(first, planes[start + columns[some][asked]])
            kept = np.flatnonzero(parts >= least_parts)
            ends = zip((start + rows[some][kept]).tolist(), (start + columns[some][kept]).tolist(), strict=True)
            values = zip(likeness[kept].tolist(), parts[kept].tolist(), ways[kept].tolist(), strict=True)
            for (i, j), (value, agreeing, number) in zip(ends, values, strict=True):
                quarter, mirrored = _TURNS[number]
                back = (quarter if mirrored else -quarter % 4, mirrored)
                found.append((i, j, value, agreeing, back))
    return found


def parts_alike(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """The median, over parts of 8 x 8 pixels, of their correlation: (N, 64, 64) twice to (N,), 0..1."""
    one, other = _parts(first), _parts(second)
    lengths = np.linalg.norm(one, axis=2) * np.linalg.norm(other, axis=2)
    return np.abs(np.median((one * other).sum(axis=2) / (lengths + 1e-9), axis=1)).astype(np.float32)


def _parts(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    number = SIDE // _PART
    cut = planes.reshape(len(planes), number, _PART, number, _PART).swapaxes(2, 3)
    cut = cut.reshape(len(planes), number * number, _PART * _PART)
    return cut - cut.mean(axis=2, keepdims=True)


def _flat(planes: NDArray) -> NDArray:
    return np.ascontiguousarray(planes).reshape(len(planes), -1)
