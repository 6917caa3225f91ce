"""Equal and nearly equal images, which must not stand on both sides of a split unseen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from skimage.transform import resize

from pipelines.preparation.splits import Split

# Part of the bits, of the turn or mirror image in which two differ the least. Of the 50 slices of COVID-SemiSeg at hand
# two pairs that are plainly one patient differ in 0.03 and 0.11, any other pair in 0.19 or more; of 400 chest X-rays of
# Kermany's no two in less than 0.21, of 200 pictures of ISIC 2016 in less than 0.26. Of all 5,216 chest X-rays of its
# training set, halved at random, 28 pairs stand on both sides (many are equal files), none of them by a turn alone.
# Its reach, on 60 pictures of each of these sets: found always are another size or contrast, quarter turns and mirror
# images, shifts of 1 % and crops by 2 % of the side, and 9 times in 10 or more turns by 2 degrees. Found now and then
# are shifts of 2 % (6 to 8 of 10) and crops by 5 % (1 to 6 of 10). Not found are shifts of 3 %, crops by 10 %, and
# turns by 5 degrees (2 of 10 at most).
NEAR = 0.16
_SIDE, _KEPT = 64, 16
_BLOCK = 1024  # rows of the table of all pairs that are held at a time


def content_hash(array: NDArray[np.float32] | NDArray[np.uint8]) -> str:
    """SHA-256 of an image's values and shape: equal for equal images, whatever their file format."""
    digest = hashlib.sha256(str(array.shape).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def perceptual_hash(scaled: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What an image (X, Y, Z; 0..1) looks like, 256 bits a plane: the signs of its slow waves (pHash, Zauner 2010, who
    takes them against their median; against 0 those of a turned or mirrored image follow from these).

    Returns:
        (1, 256) for a single slice, (3, 256) for a volume: the slices at its quarters.
    """
    depth = scaled.shape[2]
    first = (depth - 1) // 4
    chosen = [0] if depth == 1 else [first, depth // 2, depth - 1 - first]
    hashes = []
    for k in chosen:
        waves = dctn(resize(scaled[:, :, k], (_SIDE, _SIDE), anti_aliasing=True), norm="ortho")[:_KEPT, :_KEPT].ravel()
        hashes.append(waves > 0)
    return np.stack(hashes)


def turned(hashes: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The hashes (N, planes, 256) of the same images in each quarter turn, mirrored or not; of volumes also with their
    slices in the opposite order. The first are those that were given.

    A mirrored image has its odd waves negated; one with X and Y exchanged has its waves exchanged.
    """
    waves = hashes.reshape(*hashes.shape[:2], _KEPT, _KEPT)
    odd = (np.arange(_KEPT) % 2).astype(bool)
    mirrors = [np.zeros((_KEPT, _KEPT), bool), np.broadcast_to(odd[:, None], (_KEPT, _KEPT))]
    mirrors += [mirrors[1].T, mirrors[1] ^ mirrors[1].T]
    found = []
    for ordered in (waves,) if waves.shape[1] == 1 else (waves, waves[:, ::-1]):
        for along in (ordered, ordered.swapaxes(2, 3)):
            found += [(along ^ mirror).reshape(hashes.shape) for mirror in mirrors]
    return found


def near_pairs(hashes: Mapping[str, NDArray[np.bool_]], split: Split) -> list[tuple[str, str, float]]:
    """Pairs of cases in different sections whose hashes differ in at most `NEAR` of their bits, with that part (0..1),
    the nearest first; of all ways to turn and mirror one of the two (``turned``) the nearest counts. Hashes of
    different shapes are not compared."""
    sections = {case: section for section, cases in split.items() for case in cases}
    names = [name for name in hashes if name in sections]
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, name in enumerate(names):
        by_shape.setdefault(hashes[name].shape, []).append(i)
    found: list[tuple[float, int, int]] = []
    for numbers in by_shape.values():
        indices = np.array(numbers)
        looks = np.stack([hashes[names[i]] for i in numbers])
        bits = looks.reshape(len(looks), -1).astype(np.float32)
        others = [each.reshape(bits.shape).astype(np.float32) for each in turned(looks)]
        where = np.array([sections[names[i]] for i in numbers])
        ones = bits.sum(axis=1)
        for start in range(0, len(numbers), _BLOCK):
            block = slice(start, start + _BLOCK)
            # |a xor b| = |a| + |b| - 2 |a and b|; whole numbers this small are exact in float32
            counts = np.full((len(bits[block]), len(bits)), np.inf, np.float32)
            for other in others:
                np.minimum(counts, ones[block, None] + other.sum(axis=1) - 2 * bits[block] @ other.T, out=counts)
            differing = counts.astype(np.float64) / bits.shape[1]
            near = (differing <= NEAR) & (where[block, None] != where)
            near &= indices[block, None] < indices
            rows, columns = np.nonzero(near)
            parts = differing[rows, columns].tolist()
            found += zip(parts, indices[start + rows].tolist(), indices[columns].tolist(), strict=True)
    return [(names[i], names[j], part) for part, i, j in sorted(found)]
