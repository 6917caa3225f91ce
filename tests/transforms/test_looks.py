"""Is this an image for this bundle: what is like training's passes, what is not is refused, and the file is held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pipelines.errors import ConfigError, PipelinesError, UnsupportedImageError
from pipelines.networks.torchvision_import import models
from pipelines.transforms import KnownLooksd
from pipelines.transforms.looks import LIKENESS, Looks, fit_look, look_of, said
from pipelines.transforms.picture_features import PictureFeatures


def blob(seed: int) -> torch.Tensor:
    """A dark spot on a light ground, RGB (3, 96, 80)."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 96))
    at, size = rng.uniform(-0.2, 0.2, 2), rng.uniform(0.2, 0.5)
    spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / size**2)
    ground = rng.uniform(0.75, 0.9) - 0.5 * spot + rng.normal(0, 0.01, spot.shape)
    return torch.tensor(np.stack([ground, 0.8 * ground, 0.7 * ground]), dtype=torch.float32)


def stripes(seed: int) -> torch.Tensor:
    turned = torch.sin(torch.arange(80) * (0.8 + 0.1 * seed)) * 0.5 + 0.5
    return turned.expand(3, 96, 80).contiguous()


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("looks") / "looks.safetensors"
    path.write_bytes(Looks((fit_look("spots", np.concatenate([look_of(blob(k)) for k in range(60)])),)).content())
    return path


def meta_tensor(image: torch.Tensor) -> MetaTensor:
    return MetaTensor(image, meta={"filename_or_obj": "some/picture.png"})


def test_what_is_like_training_passes_and_its_distance_is_kept(known: Path) -> None:
    for seed in range(100, 110):
        out = KnownLooksd("image", known)({"image": meta_tensor(blob(seed))})["image"]
        assert 0 < out.meta[LIKENESS] < 1.2
        assert torch.equal(out, blob(seed)), "the image stays as it is"


def test_what_is_not_is_refused_by_name_or_noted(known: Path) -> None:
    other = meta_tensor(stripes(1))
    with pytest.raises(UnsupportedImageError, match=r"picture.png: this is unlike every image .*--unlike note"):
        KnownLooksd("image", known)({"image": other})
    noted = KnownLooksd("image", known, unlike="note")({"image": other})["image"]
    assert noted.meta[LIKENESS] >= 1.2
    assert "unlike the images of the training" in str(said(noted))
    noted.meta[LIKENESS] = 0.99
    assert said(noted) is None


def test_hounsfield_units_are_doubted_and_not_refused(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for far, doubtful in ((1.1, False), (3.0, True)):
        monkeypatch.setattr(Looks, "unlike", lambda self, features, far=far: np.full(len(features), far))
        scan = MetaTensor(blob(1), meta={"filename_or_obj": "scan", "intensity": "hu"})
        assert (said(KnownLooksd("image", known)({"image": scan})["image"]) is not None) is doubtful
    with pytest.raises(UnsupportedImageError):
        KnownLooksd("image", known)({"image": meta_tensor(blob(1))})


def test_the_nearest_kind_counts(known: Path, tmp_path: Path) -> None:
    both = Looks(
        (*Looks.read(known).known, fit_look("stripes", np.concatenate([look_of(stripes(k)) for k in range(30)])))
    )
    (tmp_path / "both").write_bytes(both.content())
    (tmp_path / "both").rename(tmp_path / "both.safetensors")
    seen = KnownLooksd("image", tmp_path / "both.safetensors")
    for image in (blob(200), stripes(4)):
        assert seen({"image": meta_tensor(image)})["image"].meta[LIKENESS] < 1.2


@pytest.mark.parametrize("looks", [None, "nothing.safetensors"])
def test_without_a_file_every_image_is_taken(looks: str | None, tmp_path: Path) -> None:
    check = KnownLooksd("image", None if looks is None else tmp_path / looks)
    assert LIKENESS not in check({"image": meta_tensor(stripes(2))})["image"].meta


def test_a_volume_is_five_slices_of_its_middle_and_grey_is_taken() -> None:
    volume = torch.rand(1, 40, 50, 60)
    assert look_of(volume).shape == (5, PictureFeatures.channels)
    assert look_of(volume[..., :1]).shape == (1, PictureFeatures.channels)
    apart = volume.clone()
    apart[..., :14] = 0  # what lies outside the middle half does not count
    assert np.array_equal(look_of(volume), look_of(apart))
    assert look_of(torch.rand(2, 40, 50)).shape == (1, PictureFeatures.channels), "two channels: their mean"


def test_no_patient_is_in_both_halves_of_what_the_limit_is_of() -> None:
    """Slices of one patient are alike: were they in both halves, the next patient would be beyond the limit."""
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(8, 12)), 10, axis=0) + rng.normal(scale=0.1, size=(80, 12))
    by_patient = fit_look("slices", features, [row // 10 for row in range(80)])
    by_slice = fit_look("slices", features, [(row // 10, row % 10) for row in range(80)])
    assert by_patient.limit > 1.5 * by_slice.limit


@pytest.mark.parametrize(
    ("features", "patients"), [(np.zeros((0, 1)), []), (np.ones((19, 3)), range(19)), (np.ones((30, 3)), ["a"] * 30)]
)
def test_too_few_are_refused(features: np.ndarray, patients: list) -> None:
    with pytest.raises(ConfigError, match="are too few to say what cells looks like"):
        fit_look("cells", features, list(patients))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda content: content[: len(content) // 2], ""),
        (lambda content: content.replace(b"looks", b"lookz"), "says of no images what they look like"),
        (lambda content: b"", ""),
    ],
    ids=["half", "another head", "empty"],
)
def test_a_damaged_file_is_named(spoil: Callable[[bytes], bytes], says: str, known: Path, tmp_path: Path) -> None:
    place = tmp_path / "looks.safetensors"
    place.write_bytes(spoil(known.read_bytes()))
    with pytest.raises(PipelinesError, match=f"looks.safetensors: .*{says}"):
        KnownLooksd("image", place)({"image": meta_tensor(blob(0))})


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose from refuse, note"):
        KnownLooksd("image", None, unlike="ask")


def test_the_features_are_mobilenets(shared_data: Path) -> None:
    network = models.mobilenet_v2()
    network.load_state_dict(torch.load(shared_data.parent / "weights" / "mobilenet_v2_imagenet.pth", weights_only=True))
    network.eval()
    own, pictures = PictureFeatures(), torch.rand(2, 3, 128, 128)
    x, taken = (pictures - own.mean) / own.std, []
    with torch.no_grad():
        for number, layer in enumerate(network.features[:17]):
            x = layer(x)
            if number in (10, 16):
                taken.append(x.mean(dim=(2, 3)))
    torch.testing.assert_close(
        own(pictures), torch.cat(taken, dim=1), atol=0.1, rtol=0.02
    )  # of weights in half precision
