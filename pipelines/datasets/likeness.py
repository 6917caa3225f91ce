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
# 0.01 from itself, two pairs that are plainly one patient in 0.04 and 0.12, any other pair in 0.20 or more.
NEAR = 0.16
_SIDE, _KEPT = 64, 16


def content_hash(array: NDArray[np.float32]) -> str:
    """SHA-256 of an image's values and shape: equal for equal images, whatever their file format."""
    return hashlib.sha256(str(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


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
    the nearest first."""
    sections = {case: section for section, cases in split.items() for case in cases}
    names = [name for name in hashes if name in sections]
    pairs = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if sections[first] == sections[second] or hashes[first].shape != hashes[second].shape:
                continue
            differing = float(np.mean(hashes[first] != hashes[second]))
            if differing <= NEAR:
                pairs.append((first, second, differing))
    return sorted(pairs, key=lambda pair: pair[2])
