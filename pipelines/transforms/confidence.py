"""How sure a mask is: one number a label and one a part, from the probabilities that the mask was cut from.

A label's number is the soft Dice of its mask: 2 Σ p m / Σ (p + m), with p the label's probability and m the mask (0 or
1) over all voxels of the case. It is the Dice that the mask would have on average if the voxels were what their
probabilities say, each for itself; probabilities are not that good, so the number is a *certainty* until it was held
against true masks (``pipelines.transforms.mask_confidence``), and a probability afterwards.
Source: Borges et al., Soft Dice Confidence (https://arxiv.org/abs/2402.10665).

A part is a body of voxels of one label that touch by a face, an edge or a corner; its number is the mean probability
within it.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.errors import ConfigError, WeightsError
from pipelines.transforms.mask_confidence import MaskConfidence, read_confidence

logger = logging.getLogger(__name__)
CERTAINTY, PARTS = "certainty", "part_certainty"  # keys of an item
MOST_PARTS = 50  # of a case that a report lists, the largest


@dataclass(frozen=True)
class Certain:
    """What ``MaskCertaintyd`` says of a case.

    Attributes:
        labels: name to the soft Dice of its mask, 0..1; None where the mask is empty.
        parted: the label whose parts are looked at, value and name.
        confidence: what the weights' numbers mean; None where that was not measured.
        least: below this probability a case is referred; None: none is.
    """

    labels: Mapping[str, float | None]
    parted: tuple[int, str]
    confidence: MaskConfidence | None
    least: float | None


class KeepProbabilitiesd(MapTransform):
    """Sets the probabilities of each label but the background aside, as bytes.

    Args:
        keys: (K, ...) logits, of background and labels, or of one label alone.
        activation: "softmax", "sigmoid", or "none" of what is a probability already.
        probabilities_key: gets uint8 (K - 1, ...), or (1, ...) of one label: 0 to 255.

    Raises:
        ConfigError: another activation.
    """

    def __init__(
        self,
        keys: KeysCollection,
        activation: Literal["softmax", "sigmoid", "none"] = "none",
        probabilities_key: str = "probabilities",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if activation not in ("softmax", "sigmoid", "none"):
            raise ConfigError(f"the activation is {activation!r}", how="give softmax, sigmoid or none")
        self.activation = activation
        self.probabilities_key = probabilities_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            found = torch.as_tensor(d[key]).as_subclass(torch.Tensor)
            if self.activation == "softmax":
                found = found.softmax(dim=0)
            elif self.activation == "sigmoid":
                found = found.sigmoid()
            labels = found[1:] if len(found) > 1 else found
            d[self.probabilities_key] = (labels * 255).round().clamp(0, 255).to(torch.uint8)
        return d


class SplitProbabilitiesd(MapTransform):
    """Takes the probabilities out of what ``VolumeSliceInferer(probabilities_kept=True)`` returns.

    Args:
        keys: (C + K, ...) uint8: label maps, then the probabilities of K labels; the label maps (C, ...) stay.
        number: K.
        probabilities_key: gets uint8 (K, ...).

    Raises:
        ConfigError: while running, where there are too few channels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        number: int,
        probabilities_key: str = "probabilities",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.number = number
        self.probabilities_key = probabilities_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            if len(d[key]) <= self.number:
                what = f"{len(d[key])} channels are no label map with {self.number} probabilities behind it"
                raise ConfigError(what, how="give the inferer probabilities_kept: true")
            d[self.probabilities_key] = torch.as_tensor(d[key][-self.number :]).as_subclass(torch.Tensor)
            d[key] = d[key][: -self.number]
        return d


class MaskCertaintyd(MapTransform):
    """Says how sure a label map is, once nothing is taken out of it any more and before its grid changes.

    Args:
        keys: the label map, (1, ...) or (...).
        label_names: value to name; 0 is background.
        checkpoint: the weights that made it; what is known of their certainty lies beside them.
        parted: the label whose parts get a number each; None: that of the highest value.
        least: below this probability (0..1) that its Dice is above the limit a case is referred; None: none is.
        probabilities_key: uint8 (K, ...) of labels 1 to K, on the same grid; it is removed.
        certainty_key: gets a ``Certain``.
        parts_key: gets uint8 (1, ...): of each part its mean probability, 1 to 255; elsewhere 0.

    Raises:
        ConfigError: ``least`` is not in 0..1, ``parted`` is no label; at the first call, where ``least`` is asked of
            weights whose certainty was not measured; while running, where the probabilities are missing.
        UnreadableFileError: at the first call, see ``read_confidence``. What belongs to other weights is warned of.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_names: Mapping[int, str],
        checkpoint: str | None = None,
        parted: str | None = None,
        least: float | None = None,
        probabilities_key: str = "probabilities",
        certainty_key: str = CERTAINTY,
        parts_key: str = PARTS,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.labels = {int(value): str(name) for value, name in label_names.items() if int(value)}
        if least is not None and not 0 <= least <= 1:
            raise ConfigError(f"min_confidence is {least}", how="give a probability, 0 to 1")
        if parted is not None and parted not in self.labels.values():
            raise ConfigError(f"{parted!r} is no label", how=f"give one of {', '.join(self.labels.values())}")
        last = self.labels[max(self.labels)] if parted is None else parted
        self.parted = next((value, name) for value, name in self.labels.items() if name == last)
        self.checkpoint = checkpoint
        self.least = least
        self.probabilities_key = probabilities_key
        self.certainty_key = certainty_key
        self.parts_key = parts_key
        self._read = False
        self._found: MaskConfidence | None = None
        if least is not None:
            self._find()  # without it every case would fail

    @property
    def confidence(self) -> MaskConfidence | None:
        """What lies beside the weights; None where nothing does."""
        return self._find()

    def _find(self) -> MaskConfidence | None:
        if not self._read:
            try:
                self._found = None if self.checkpoint is None else read_confidence(self.checkpoint)
            except WeightsError as error:  # of an earlier training in that folder: the masks are right without
                logger.warning("%s", error)
            if self._found is None and self.least is not None:
                what = "a confidence is asked for, and what these weights' certainty means was not measured"
                how = "measure it: python -m pipelines confidence BUNDLE --data DATA; or leave out min_confidence"
                raise ConfigError(what, where=self.checkpoint, how=how)
            self._read = True
        return self._found

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if self.probabilities_key not in d:
            what = f"there are no {self.probabilities_key} to tell a mask's certainty by"
            raise ConfigError(what, how="put KeepProbabilitiesd or SplitProbabilitiesd before MaskCertaintyd")
        probabilities = np.asarray(d.pop(self.probabilities_key))
        for key in self.key_iterator(d):
            mask = np.asarray(d[key])
            mask = mask[0] if mask.ndim == probabilities.ndim else mask
            labels = {name: soft_dice(probabilities[value - 1], mask == value) for value, name in self.labels.items()}
            d[self.certainty_key] = Certain(labels, self.parted, self.confidence, self.least)
            value = self.parted[0]
            parts = part_means(probabilities[value - 1], mask == value)[None]
            like = d[key] if isinstance(d[key], torch.Tensor) and d[key].ndim == parts.ndim else None
            d[self.parts_key] = torch.from_numpy(parts) if like is None else convert_to_dst_type(parts, like)[0]
        return d


def soft_dice(probabilities: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float | None:
    """2 Σ p m / Σ (p + m) of one label: 0..1, None of an empty mask.

    Args:
        probabilities: 0 to 255. mask: of the same shape.
    """
    size = int(np.count_nonzero(mask))
    if size == 0:
        return None
    within = float(probabilities.sum(dtype=np.int64, where=mask)) / 255
    return 2 * within / (float(probabilities.sum(dtype=np.int64)) / 255 + size)


def part_means(probabilities: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Of each part of a mask its mean probability, 1 to 255, in all of its voxels."""
    found = np.zeros(mask.shape, dtype=np.uint8)
    box = next(iter(ndimage.find_objects(mask.view(np.uint8))), None)
    if box is None:
        return found
    parts = _numbered(mask[box])
    for number, inner in enumerate(ndimage.find_objects(parts), start=1):  # a part at a time: long volumes are large
        own = parts[inner] == number
        mean = float(probabilities[box][inner].sum(dtype=np.int64, where=own)) / int(np.count_nonzero(own))
        found[box][inner][own] = min(255, max(1, round(mean)))
    return found


def _numbered(mask: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Each connected part of a mask by its number, in two bytes a voxel where these do: long volumes are large."""
    structure = np.ones((3,) * mask.ndim)
    try:
        return ndimage.label(mask, structure, output=np.uint16)[0]
    except RuntimeError:  # more parts than 65,535
        return ndimage.label(mask, structure)[0]


@dataclass(frozen=True)
class Part:
    """A part of a label.

    Attributes:
        size: in voxels or pixels.
        centre: of mass, voxel indices.
        certainty: its mean probability, 0..1.
        where: the box that holds it, and its mask within.
    """

    size: int
    centre: tuple[float, ...]
    certainty: float
    where: tuple[tuple[slice, ...], NDArray[np.bool_]]


def parts_of(mask: NDArray[np.uint8], value: int, certainty: NDArray[np.uint8], most: int = MOST_PARTS) -> list[Part]:
    """The largest parts of a label, each with its number; which parts there are depends on the mask alone.

    Args:
        mask: a label map, on the input's grid.
        value: of the label, 1 or more.
        certainty: what ``part_means`` gave, brought to that grid.
        most: how many.
    """
    box = dict(enumerate(ndimage.find_objects(mask), start=1)).get(value)
    if box is None:
        return []
    parts = _numbered(mask[box] == value)
    objects = ndimage.find_objects(parts)
    sizes = np.array([np.count_nonzero(parts[inner] == index + 1) for index, inner in enumerate(objects)])
    found = []
    for index in np.argsort(-sizes, kind="stable")[:most]:
        inner = objects[index]
        own = parts[inner] == index + 1
        outer = tuple(slice(o.start + i.start, o.start + i.stop) for o, i in zip(box, inner, strict=True))
        values = certainty[outer][own]
        values = values[values > 0]  # a voxel at the rim may have been none on the other grid
        centre = tuple(float(c) + o.start for c, o in zip(ndimage.center_of_mass(own), outer, strict=True))
        found.append(
            Part(int(sizes[index]), centre, float(np.median(values)) / 255 if values.size else 0.0, (outer, own))
        )
    return found


def confidence_report(
    found: Certain,
    mask: NDArray[np.uint8],
    parts: NDArray[np.uint8],
    affine: NDArray | None = None,
    extent: float | None = None,
) -> dict[str, Any]:
    """What a report says of a mask's confidence: ``confidence``, and ``refer`` and ``reason`` where it is asked.

    Args:
        found: of the case.
        mask: its label map, on the input's grid.
        parts: the numbers of its parts, on that grid.
        affine: of a volume: voxel indices to RAS millimetres, in which the parts' centres are given; None: pixels.
        extent: that the report gives, 0..1: it gets an interval where that was measured.
    """
    known = found.confidence
    labels: dict[str, Any] = {}
    for name, certainty in found.labels.items():
        said: dict[str, Any] = {"certainty": None if certainty is None else round(certainty, 4)}
        if known is not None and name in known.labels:
            chance = None if certainty is None else known.labels[name].probability(certainty)
            said["probability"] = None if chance is None else round(chance, 3)
        labels[name] = said
    value, name = found.parted
    rows = []
    for part in parts_of(mask, value, parts):
        centre = part.centre if affine is None else (np.asarray(affine) @ [*part.centre, 1.0])[:3]
        row: dict[str, Any] = {
            "voxels": part.size, "centre": [round(float(c), 1) for c in centre], "certainty": round(part.certainty, 4),
        }  # fmt: skip
        if known is not None and known.parts is not None:
            row["probability"] = round(known.parts.probability(part.certainty), 3)
        rows.append(row)
    report: dict[str, Any] = {
        "confidence": {
            "of": None if known is None else f"Dice above {known.dice:g}",
            "labels": labels,
            "parts_of": name,
            "centres": "pixels" if affine is None else "RAS mm",
            "parts": rows,
        }
    }
    if known is not None and known.extent is not None and extent is not None:
        low, high = known.extent.around(extent)
        report["extent_interval"] = {
            "low": round(low, 4), "high": round(high, 4), "held_the_truth": round(known.extent.covered, 3),
        }  # fmt: skip
    if found.least is not None:
        unsure = [
            f"{name}: its mask has a Dice above {known.dice:g} with a probability of {100 * chance:.0f} %"
            for name, said in labels.items()
            if known is not None and (chance := said.get("probability")) is not None and chance < found.least
        ]
        report |= {"refer": bool(unsure), "reason": "; ".join(unsure) or None, "min_confidence": found.least}
    return report
