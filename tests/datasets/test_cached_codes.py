"""Codes on disk are those of the network, are computed once, and are refused by name where they are stale."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import (
    Compose,
    RandAffined,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    Resized,
)
from PIL import Image

from pipelines.datasets import CachedCodes
from pipelines.datasets.cached_codes import CODES, HEAD, described
from pipelines.errors import StaleCacheError
from pipelines.networks import EncodedClassifier
from pipelines.transforms import LoadXrayd

SIDE = 48


@pytest.fixture(scope="module")
def network() -> EncodedClassifier:
    torch.manual_seed(0)
    return EncodedClassifier()


@pytest.fixture
def data(tmp_path: Path) -> list[dict[str, Any]]:
    """Five pictures of two sizes, of two classes."""
    drawn = np.random.default_rng(0)
    items = []
    for k in range(5):
        path = tmp_path / f"{k}.png"
        Image.fromarray(drawn.integers(0, 256, (SIDE, SIDE + 16 * (k % 2)), dtype=np.uint8)).save(path)
        items.append({"image": str(path), "label": k % 2})
    return items


def loaded(*more: Any) -> Compose:
    return Compose([LoadXrayd("image"), Resized("image", (SIDE, SIDE), mode="area"), *more])


def codes(data: list, network: Any, folder: Path, transform: Compose | None = None, **knobs: Any) -> CachedCodes:
    return CachedCodes(data, transform or loaded(), network, folder / "codes", batch_size=2, **knobs)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("float32", 1e-6)])
def test_codes_are_those_of_the_network(
    data: list, network: EncodedClassifier, tmp_path: Path, dtype: str, tolerance: float
) -> None:
    kept = codes(data, network, tmp_path, dtype=dtype)
    batch = torch.stack([torch.as_tensor(loaded()(dict(item))["image"]).as_subclass(torch.Tensor) for item in data])
    with torch.no_grad():
        wanted = network.eval().features(batch)
    found = torch.stack([kept[k]["image"] for k in range(5)])
    assert found.dtype == getattr(torch, dtype)
    torch.testing.assert_close(found.float(), wanted, rtol=tolerance, atol=tolerance)
    assert [kept[k]["label"] for k in range(5)] == [0, 1, 0, 1, 0]
    assert kept.labels.tolist() == [0, 1, 0, 1, 0]


def test_pictures_are_resampled_as_at_inference(data: list, network: EncodedClassifier, tmp_path: Path) -> None:
    kept = codes(data, network, tmp_path, Compose([LoadXrayd("image")]), image_size=[SIDE, SIDE])
    assert kept.features.shape == (1, 5, 256, SIDE // 16, SIDE // 16)


def test_they_are_computed_once(
    data: list, network: EncodedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = codes(data, network, tmp_path)
    monkeypatch.setattr(EncodedClassifier, "features", lambda *_: pytest.fail("computed again"))
    again = codes(data, network, tmp_path)
    np.testing.assert_array_equal(first.features, again.features)


def test_variants_are_augmented_and_those_of_the_seed(data: list, network: EncodedClassifier, tmp_path: Path) -> None:
    noise = loaded(RandGaussianNoised("image", prob=1.0, std=0.2))
    one = codes(data, network, tmp_path / "one", noise, variants=2, seed=3)
    same = codes(data, network, tmp_path / "same", noise, variants=2, seed=3)
    other = codes(data, network, tmp_path / "other", noise, variants=2, seed=4)
    assert not np.array_equal(one.features[0], one.features[1])
    np.testing.assert_array_equal(one.features, same.features)
    assert not np.array_equal(one.features, other.features)


def change(what: str, data: list, network: EncodedClassifier) -> dict[str, Any]:
    if what == "a picture":
        Image.fromarray(np.full((SIDE, SIDE), 90, dtype=np.uint8) + np.arange(SIDE, dtype=np.uint8)).save(
            data[2]["image"]
        )
    elif what == "a class":
        data[1] = data[1] | {"label": 0}
    elif what == "the order":
        data.reverse()
    elif what == "a transform":
        return {"transform": Compose([LoadXrayd("image"), Resized("image", (SIDE, SIDE), mode="bilinear")])}
    elif what == "the type":
        return {"dtype": "float32"}
    elif what == "an encoder":
        torch.manual_seed(1)
        return {"network": EncodedClassifier()}
    return {}


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("a picture", "data"),
        ("a class", "data"),
        ("the order", "data"),
        ("a transform", "preprocessing"),
        ("the type", "preprocessing"),
        ("an encoder", "encoder"),
    ],
)
def test_stale_codes_are_refused_by_name(
    data: list, network: EncodedClassifier, tmp_path: Path, what: str, named: str
) -> None:
    codes(data, network, tmp_path)
    knobs = {"network": network, **change(what, data, network)}
    with pytest.raises(StaleCacheError, match=rf"stale \({named}\).*--renew_codes True"):
        codes(data, folder=tmp_path, **knobs)
    renewed = codes(data, folder=tmp_path, renew=True, **knobs)
    np.testing.assert_array_equal(renewed.features, codes(data, folder=tmp_path, **knobs).features)


def test_a_classifier_of_the_same_encoder_takes_them(data: list, network: EncodedClassifier, tmp_path: Path) -> None:
    codes(data, network, tmp_path)
    other = EncodedClassifier()
    other.autoencoder.load_state_dict(network.autoencoder.state_dict())
    codes(data, other, tmp_path).require(network)
    with pytest.raises(StaleCacheError, match="another encoder"):
        codes(data, other, tmp_path).require(EncodedClassifier())


@pytest.mark.parametrize("left", ["no head", "half a file", "no codes", "another shape"])
def test_what_was_interrupted_is_not_taken_for_a_whole_cache(
    data: list, network: EncodedClassifier, tmp_path: Path, left: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = np.array(codes(data, network, tmp_path).features)
    folder = tmp_path / "codes"
    if left == "no head":
        (folder / HEAD).unlink()
    elif left == "half a file":
        content = (folder / CODES).read_bytes()
        (folder / CODES).write_bytes(content[: len(content) // 2])
    elif left == "no codes":
        (folder / CODES).unlink()
    else:
        np.save(folder / CODES, whole[:, :3])
    with caplog.at_level(logging.WARNING):
        again = codes(data, network, tmp_path)
    assert "not whole" in caplog.text
    np.testing.assert_array_equal(again.features, whole)


def test_an_interruption_leaves_no_cache(
    data: list, network: EncodedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = EncodedClassifier.features, []

    def stopping(self: EncodedClassifier, x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, x)

    monkeypatch.setattr(EncodedClassifier, "features", stopping)
    with pytest.raises(KeyboardInterrupt):
        codes(data, network, tmp_path)
    assert not any((tmp_path / "codes").iterdir())


def test_a_description_knows_each_argument_and_nothing_that_was_drawn() -> None:
    def steps(rotation: float = 0.2, factor: float = 0.3, sigma: float = 1.0, width: int = 32) -> Compose:
        return Compose(
            [
                Resized("image", (width, 32), mode="area"),
                RandAffined("image", prob=1.0, rotate_range=rotation, scale_range=[(-0.1, 0.1)] * 2),
                RandScaleIntensityd("image", prob=1.0, factors=factor),
                RandGaussianSmoothd("image", prob=1.0, sigma_x=(0.4, sigma)),
                RandGaussianNoised("image", prob=1.0, std=0.1),
            ]
        )

    used = steps()
    used({"image": torch.rand(1, 40, 40)})
    assert described(used) == described(steps())
    changed = [steps(rotation=0.1), steps(factor=0.2), steps(sigma=1.5), steps(width=48)]
    assert len({str(described(each)) for each in [used, *changed]}) == 5


def test_bad_arguments_are_named(data: list, network: EncodedClassifier, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="float64"):
        codes(data, network, tmp_path, dtype="float64")
    with pytest.raises(ValueError, match="variant"):
        codes(data, network, tmp_path, variants=0)
