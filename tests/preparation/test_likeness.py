from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from skimage.transform import resize

from pipelines.preparation import likeness
from pipelines.preparation.likeness import NEAR, content_hash, near_pairs, perceptual_hash
from pipelines.readers import read_case
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.phantom import make_lung_phantom


def slice_of(seed: int) -> np.ndarray:
    return scale_ct(make_lung_phantom(seed, 128, 8, 0.1).array[:, :, 4:5], "hu")


def test_a_rescaled_noisy_copy_across_splits_is_found_and_another_chest_is_not() -> None:
    first, other = slice_of(1), slice_of(4)
    copy = resize(first, (90, 90, 1)) + np.random.default_rng(0).normal(0, 0.01, (90, 90, 1))
    hashes = {name: perceptual_hash(array) for name, array in (("a", first), ("b", copy), ("c", other))}
    found = near_pairs(hashes, {"training": ["a"], "validation": ["c"], "test": ["b"]})
    assert [pair[:2] for pair in found] == [("a", "b")]
    assert found[0][2] < NEAR
    assert near_pairs(hashes, {"training": ["a", "b"], "validation": ["c"], "test": []}) == []


def test_near_pairs_are_those_of_a_plain_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    hashes: dict[str, np.ndarray] = {}
    for i in range(60):  # around eight looks, so that some are near; every fourth is a volume
        shape = (3, 256) if i % 4 == 0 else (1, 256)
        look = np.random.default_rng(i % 8).random(shape) < 0.5
        hashes[f"c{i}"] = look ^ (rng.random(shape) < 0.085)
    split = {"training": [f"c{i}" for i in range(20)], "validation": [f"c{i}" for i in range(20, 35)]}
    split["test"] = [f"c{i}" for i in range(35, 58)]  # c58 and c59 are in none
    section = {name: s for s, names in split.items() for name in names}
    expected = []
    for first, second in itertools.combinations([name for name in hashes if name in section], 2):
        if section[first] != section[second] and hashes[first].shape == hashes[second].shape:
            part = float(np.mean(hashes[first] != hashes[second]))
            if part <= NEAR:
                expected.append((first, second, part))
    expected.sort(key=lambda pair: pair[2])
    assert len(expected) > 30
    assert len({part for _, _, part in expected}) < len(expected)  # ties, whose order counts too
    assert near_pairs(hashes, split) == expected
    monkeypatch.setattr(likeness, "_BLOCK", 7)
    assert near_pairs(hashes, split) == expected


def test_a_thousand_pictures_are_compared_in_seconds() -> None:
    rng = np.random.default_rng(0)
    names = [str(i) for i in range(1279)]
    hashes = {name: rng.random((1, 256)) < 0.5 for name in names}
    split = {"training": names[:800], "validation": names[800:900], "test": names[900:]}
    started = time.monotonic()
    assert near_pairs(hashes, split) == []
    assert time.monotonic() - started < 3


def test_content_hash_tells_values_and_shape() -> None:
    array = np.arange(12, dtype=np.float32).reshape(2, 6, 1)
    assert content_hash(array) == content_hash(np.asfortranarray(array))
    assert content_hash(array) != content_hash(array.reshape(6, 2, 1))
    assert content_hash(array) != content_hash(array + 1)


def test_slices_that_are_plainly_one_patient(shared_data: Path) -> None:
    folder = shared_data / "lung_ct_lesions" / "images"
    hashes = {n: perceptual_hash(scale_ct(read_case(folder / f"{n}.jpg").array, "display")) for n in ("10", "43", "0")}
    found = near_pairs(hashes, {"training": ["10"], "validation": ["0"], "test": ["43"]})
    assert [pair[:2] for pair in found] == [("10", "43")]


def test_a_copy_that_is_turned_or_mirrored_is_found() -> None:
    first, other = slice_of(1), slice_of(4)
    ways = [np.rot90(flipped, turns) for flipped in (first, first[::-1]) for turns in range(4)]
    hashes = {f"copy{k}": perceptual_hash(np.ascontiguousarray(way)) for k, way in enumerate(ways)}
    hashes |= {"first": perceptual_hash(first), "other": perceptual_hash(other)}
    split = {"training": ["first"], "validation": ["other"], "test": [f"copy{k}" for k in range(8)]}
    found = near_pairs(hashes, split)
    assert {frozenset(pair[:2]) for pair in found} == {frozenset(("first", f"copy{k}")) for k in range(8)}
    assert max(pair[2] for pair in found) < 0.02


def test_a_volume_that_is_turned_around_any_axis_is_found() -> None:
    volume = scale_ct(make_lung_phantom(1, 96, 12, 0.1).array, "hu")
    hashes = {"first": perceptual_hash(volume)}
    for k, way in enumerate((volume[::-1], volume[:, ::-1], volume[:, :, ::-1], volume[::-1, :, ::-1])):
        hashes[f"copy{k}"] = perceptual_hash(way)
    split = {"training": ["first"], "validation": [], "test": [name for name in hashes if name != "first"]}
    assert len(near_pairs(hashes, split)) == 4


@pytest.mark.parametrize(("shift", "crop", "found"), [(0.01, 0.0, True), (0.0, 0.02, True), (0.05, 0.0, False)])
def test_the_reach_is_what_its_comment_states(shift: float, crop: float, found: bool) -> None:
    first = slice_of(1)
    size = first.shape[0]
    moved = np.roll(np.pad(first, ((9, 9), (0, 0), (0, 0)), mode="edge"), round(shift * size), axis=0)[9:-9]
    edge = round(crop * size / 2)
    copy = moved[edge : size - edge, edge : size - edge]
    hashes = {"a": perceptual_hash(first), "b": perceptual_hash(np.ascontiguousarray(copy))}
    assert bool(near_pairs(hashes, {"training": ["a"], "validation": [], "test": ["b"]})) == found
