from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage.transform import resize

from pipelines.datasets.likeness import NEAR, content_hash, near_pairs, perceptual_hash
from pipelines.datasets.lung_phantom import make_lung_phantom
from pipelines.readers import read_case
from pipelines.transforms import scale_ct


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
