"""Is this an image for this bundle? How far its look lies from that of the images that the bundle was trained on."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray

from pipelines.errors import ConfigError, UnsupportedImageError, WeightsError
from pipelines.transforms.picture_features import PictureFeatures
from pipelines.weights import read_weights

REFUSED = 1.2  # times the limit: from there on an image is no doubtful one, but another thing
DOUBTED_HU = 1.2  # of Hounsfield units, which no photograph has; three real scans were measured: none is refused
SLICES = 5  # of a volume, from the middle half of it
ANSWERS = ("refuse", "note")
PARTS = ("mean", "scale", "precision")  # of a look, in the file
LIKENESS = "unlike_training"  # of an image's meta and of a report: distance over limit, 1 and more is unlike


@dataclass(frozen=True)
class Look:
    """What images of one kind look like: a normal distribution of their features.

    Attributes:
        name: of the kind, such as the data set's.
        mean, scale: of each feature, (F,).
        precision: the inverse covariance of the scaled features, (F, F).
        limit: the Mahalanobis distance up to which an image is like these.
        images: how many it was fitted on.
    """

    name: str
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    precision: NDArray[np.float64]
    limit: float
    images: int

    def distances(self, features: NDArray) -> NDArray[np.float64]:
        """The Mahalanobis distances of features (N, F): (N,)."""
        off = (np.asarray(features, np.float64) - self.mean) / self.scale
        return np.sqrt(np.einsum("ij,jk,ik->i", off, self.precision, off))


@dataclass(frozen=True)
class Looks:
    """The kinds of images that a bundle knows, ``models/looks.safetensors`` of it (``python -m pipelines looks``)."""

    known: tuple[Look, ...]

    def unlike(self, features: NDArray) -> NDArray[np.float64]:
        """How far images with these features (N, F) lie from the kind that they are most like, in its limit: (N,)."""
        return np.min([look.distances(features) / look.limit for look in self.known], axis=0)

    def content(self) -> bytes:
        """The content of their file: safe tensors."""
        import safetensors.torch

        state = {
            f"{part}.{number}": torch.from_numpy(np.asarray(getattr(look, part), np.float32))
            for number, look in enumerate(self.known)
            for part in PARTS
        }
        about = [{"name": look.name, "limit": look.limit, "images": look.images} for look in self.known]
        note = {
            "looks": json.dumps(about),
            "data": "; ".join(f"{look.name}, {look.images} images" for look in self.known),
            "use": "research only; data: docs/data_license.txt",
        }
        return bytes(safetensors.torch.save(state, note))

    @classmethod
    def read(cls, path: str | Path) -> Looks:
        """Read what ``content`` gave.

        Raises:
            UnreadableFileError, WeightsError: the file cannot be read, or is no such file.
        """
        import safetensors

        state = read_weights(path)
        try:
            with safetensors.safe_open(str(path), "pt") as file:
                about = json.loads(file.metadata()["looks"])
            known = []
            for number, each in enumerate(about):
                mean, scale, precision = (state[f"{part}.{number}"].double().numpy() for part in PARTS)
                known.append(Look(str(each["name"]), mean, scale, precision, float(each["limit"]), int(each["images"])))
            for look in known:
                if look.precision.shape != (PictureFeatures.channels,) * 2 or not look.limit > 0:
                    raise ValueError("it has other features")
        except (KeyError, TypeError, ValueError) as error:
            how = "fit it again: python -m pipelines looks BUNDLE --data DATA"
            raise WeightsError(f"this says of no images what they look like ({error})", where=path, how=how) from error
        if not known:
            raise WeightsError("no kind of image is in it", where=path, how="python -m pipelines looks BUNDLE")
        return cls(tuple(known))


class KnownLooksd(MapTransform):
    """Refuses an image that looks like none of those that the bundle was trained on, before its network sees it.

    Its look is the mean of some channels of a small network of ImageNet (``PictureFeatures``), its distance
    Mahalanobis' from the training images' (Lee et al. 2018, https://arxiv.org/abs/1807.03888); of a volume the median
    of five slices. ``meta["unlike_training"]`` is the distance over the limit, which half a percent of images of the
    training's own kind are beyond: from 1 on the report says that it is doubtful, from 1.2 on it is refused. What is in
    Hounsfield units is doubtful from 1.2 on, and never refused.

    Args:
        keys: images (C, W, H) or (C, W, H, D), 0..1, as the network gets them; of one or three channels.
        looks: the file; None, or where there is none: every image is taken.
        unlike: "refuse", or "note": what is unlike is answered too, and said to be doubtful.
        allow_missing_keys: leave out keys that a case does not have.

    Raises:
        ConfigError: ``unlike`` is neither.
        UnsupportedImageError: while running, an image is unlike all of them.
        UnreadableFileError, WeightsError: while running, the file is damaged.
    """

    def __init__(
        self,
        keys: KeysCollection,
        looks: str | os.PathLike[str] | None,
        unlike: str = "refuse",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if unlike not in ANSWERS:
            raise ConfigError(f"unlike is {unlike!r}", how=f"choose from {', '.join(ANSWERS)}")
        self.looks = None if looks is None else Path(looks)
        self.unlike = unlike

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if self.looks is None or not self.looks.is_file():
            return d
        known = _read(self.looks, self.looks.stat().st_mtime_ns)
        for key in self.key_iterator(d):
            image = d[key]
            found = float(np.median(known.unlike(look_of(image))))
            meta = getattr(image, "meta", {})
            meta[LIKENESS] = found
            if found >= limits_for(image)[1] and self.unlike == "refuse":
                what = f"this is unlike every image that the bundle was trained on ({found:.2f} times the limit)"
                how = "give an image of the kind that its README names, or `--unlike note` to have it answered anyway; "
                how += "of a network trained on other images: python -m pipelines looks BUNDLE --data DATA"
                raise UnsupportedImageError(what, where=meta.get("filename_or_obj"), how=how)
        return d


def look_of(image: Any) -> NDArray[np.float32]:
    """Features (N, F) of an image: N is 1 of a picture (C, W, H), and up to 5 of a volume (C, W, H, D)."""
    tensor = torch.as_tensor(image).as_subclass(torch.Tensor)
    planes = tensor[None]
    if tensor.ndim == 4:
        depth = tensor.shape[-1]
        chosen = np.unique(np.linspace(depth // 4, max(depth // 4, (3 * depth - 1) // 4), SLICES).round().astype(int))
        planes = tensor[..., chosen.tolist()].permute(3, 0, 1, 2)
    if planes.shape[1] not in (1, 3):
        planes = planes.float().mean(dim=1, keepdim=True)
    return np.concatenate([_features()(plane[None]).cpu().numpy() for plane in planes])


def limits_for(image: Any) -> tuple[float, float]:
    """From which distances on an image is doubtful, and refused: where its meta says Hounsfield units, never."""
    hu = getattr(image, "meta", {}).get("intensity") == "hu"
    return (DOUBTED_HU, math.inf) if hu else (1.0, REFUSED)


def said(image: Any) -> str | None:
    """What a person should know of an image that ``KnownLooksd`` has looked at; None where it is like training's."""
    unlike = float(image.meta[LIKENESS])
    return f"unlike the images of the training ({unlike:.2f} of the limit)" if unlike >= limits_for(image)[0] else None


@functools.cache
def _features() -> PictureFeatures:
    return PictureFeatures()


@functools.lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> Looks:
    return Looks.read(path)


def fit_look(name: str, features: NDArray, patients: Sequence[Hashable] = (), percentile: float = 99.5) -> Look:
    """What images look like, by Ledoit and Wolf's covariance of their features.

    The limit is the percentile of the distances of each half of them from the look that the other half gives; no
    patient is in both.

    Args:
        features: (N, F), of 20 images at least.
        patients: of each row; none: each is of another.

    Raises:
        ConfigError: there are too few images, or they are of one patient.
    """
    from sklearn.covariance import LedoitWolf

    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(patients or range(len(features))))}
    second = np.array([numbers[patient] % 2 == 1 for patient in patients or range(len(features))])
    if len(features) < 20 or len(numbers) < 2:
        what = f"{len(features)} images of {len(numbers)} patients are too few to say what {name} looks like"
        raise ConfigError(what, how="give 20 or more, of two patients or more")
    features = np.asarray(features, np.float64)

    def fitted(of: NDArray, limit: float = 1.0) -> Look:
        mean, scale = of.mean(axis=0), of.std(axis=0) + 1e-6
        found = LedoitWolf().fit((of - mean) / scale)
        return Look(name, mean, scale, found.precision_, limit, len(of))

    halves = features[~second], features[second]
    left_out = np.concatenate([fitted(halves[1]).distances(halves[0]), fitted(halves[0]).distances(halves[1])])
    return fitted(features, float(np.percentile(left_out, percentile)))
