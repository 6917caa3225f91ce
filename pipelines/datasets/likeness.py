"""Equal and nearly equal images, which must not stand on both sides of a split unseen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from skimage.transform import resize

from pipelines.datasets.splits import Split

# Part of the bits. Of the 50 slices of COVID-SemiSeg at hand, one saved again at three quarters of its size differs in
# 0.01 from itself, two pairs that are plainly one patient in 0.04 and 0.12, any other pair in 0.20 or more. Of the 120
# pictures of PH2 at hand no two differ in less than 0.22, and of 5,190 chest X-rays of Kermany's three pairs of two
# patients do in less than 0.16 (one of them looks like one child).
NEAR = 0.16
_SIDE, _KEPT = 64, 16
_BLOCK = 1024  # rows of the table of all pairs that are held at a time


def content_hash(array: NDArray[np.float32] | NDArray[np.uint8]) -> str:
    """SHA-256 of an image's values and shape: equal for equal images, whatever their file format."""
    digest = hashlib.sha256(str(array.shape).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def perceptual_hash(scaled: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What an image (X, Y, Z; 0..1) looks like, 256 bits a plane: signs of its slow waves against their median
    (pHash, Zauner 2010).

    Returns:
        (1, 256) for a single slice, (3, 256) for a volume: the slices at its quarters.
    """
    depth = scaled.shape[2]
    chosen = [0] if depth == 1 else [depth // 4, depth // 2, 3 * depth // 4]
    hashes = []
    for k in chosen:
        waves = dctn(resize(scaled[:, :, k], (_SIDE, _SIDE), anti_aliasing=True), norm="ortho")[:_KEPT, :_KEPT].ravel()
        hashes.append(waves > np.median(waves[1:]))
    return np.stack(hashes)


def near_pairs(hashes: Mapping[str, NDArray[np.bool_]], split: Split) -> list[tuple[str, str, float]]:
    """Pairs of cases in different sections whose hashes differ in at most `NEAR` of their bits, with that part (0..1),
    the nearest first. Hashes of different shapes are not compared."""
    sections = {case: section for section, cases in split.items() for case in cases}
    names = [name for name in hashes if name in sections]
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, name in enumerate(names):
        by_shape.setdefault(hashes[name].shape, []).append(i)
    found: list[tuple[float, int, int]] = []
    for numbers in by_shape.values():
        indices = np.array(numbers)
        bits = np.stack([hashes[names[i]].ravel() for i in numbers]).astype(np.float32)
        where = np.array([sections[names[i]] for i in numbers])
        ones = bits.sum(axis=1)
        for start in range(0, len(numbers), _BLOCK):
            block = slice(start, start + _BLOCK)
            # |a xor b| = |a| + |b| - 2 |a and b|; whole numbers this small are exact in float32
            counts = ones[block, None] + ones - 2 * bits[block] @ bits.T
            differing = counts.astype(np.float64) / bits.shape[1]
            near = (differing <= NEAR) & (where[block, None] != where)
            near &= indices[block, None] < indices
            rows, columns = np.nonzero(near)
            parts = differing[rows, columns].tolist()
            found += zip(parts, indices[start + rows].tolist(), indices[columns].tolist(), strict=True)
    return [(names[i], names[j], part) for part, i, j in sorted(found)]
