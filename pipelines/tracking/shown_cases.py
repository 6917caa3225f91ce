"""A validation's first cases as pictures: outlines of label and prediction, or the class that is true and the one that
is predicted."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from numpy.typing import NDArray
from PIL import Image

from pipelines.evaluation.class_pictures import SlicePicture, draw_slices
from pipelines.evaluation.pictures import CasePicture, draw_cases, grey, telling_slice, upright

_DRAWN_SIDE = 600  # pixels: of a larger picture each second, third … is drawn
Picture = NDArray[np.uint8]


def case_name(item: Mapping[str, Any], number: int) -> str:
    """What a case is called: as the datalist has it, after its image's file, or by its number."""
    image = item.get("image")
    path = str(image.meta.get("filename_or_obj", "")) if isinstance(image, MetaTensor) else ""
    return str(item.get("case") or Path(path).name or f"case {number}")


def shown_case(item: Mapping[str, Any], name: str, names: Mapping[int, str]) -> Picture | None:
    """A case as validation has it, its prediction and its truth.

    Args:
        item: decollated, after postprocessing: ``image`` (C, X, Y) or (C, X, Y, Z); ``label`` and ``pred``, both label
            maps (1, ...) on a grid of their own, or a class and (K,) probabilities, or (Z,) classes and (K, Z).
        name: of the case. names: of the labels' values.

    Returns:
        H x W x 3, 0..255; None for an item of another form.
    """
    image, label, pred = (item.get(key) for key in ("image", "label", "pred"))
    if not isinstance(image, torch.Tensor) or image.ndim < 3 or label is None or not isinstance(pred, torch.Tensor):
        return None
    if isinstance(label, torch.Tensor) and label.ndim >= 3:
        outlined = {value: each for value, each in names.items() if value > 0}
        return _outlines(image, label, pred, name, outlined) if label.shape == pred.shape and outlined else None
    return _rated(image, torch.as_tensor(label), pred, name, names)


def _outlines(
    image: torch.Tensor, label: torch.Tensor, pred: torch.Tensor, name: str, names: Mapping[int, str]
) -> Picture:
    volume = isinstance(image, MetaTensor) and image.meta.get("kind") == "volume"
    affine = label.affine.cpu().double().numpy() if volume and isinstance(label, MetaTensor) else None
    spatial = (*label.shape[1:], 1)[:3]
    true, predicted = (each.detach().cpu().numpy().reshape(spatial).astype(np.uint8) for each in (label, pred))
    key = max(names)
    index = telling_slice(true == key, predicted == key)
    both = int((true == key).sum() + (predicted == key).sum())
    dice = 2 * int(((true == key) & (predicted == key)).sum()) / both if both else float("nan")
    plane = _plane(image, label, index)
    step = max(1, -(-max(true.shape[:2]) // _DRAWN_SIDE))
    shown, found = (upright(each[::step, ::step, index], affine) for each in (true, predicted))
    behind = None if plane is None else upright(plane[::step, ::step], affine)
    file = io.BytesIO()
    draw_cases([CasePicture(name, dice, behind, shown, found, dict(names))], file, names[key])
    return _pixels(file)


def _plane(image: torch.Tensor, label: torch.Tensor, index: int) -> Picture | None:
    """The image's slice under a slice of the label: X x Y (x 3); None where its place cannot be told."""
    here = image
    known = isinstance(image, MetaTensor) and isinstance(label, MetaTensor)
    if known and image.ndim == label.ndim == 4:
        own, wanted = image.affine.cpu().double(), label.affine.cpu().double()  # type: ignore[attr-defined]
        if image.shape[1:] != label.shape[1:] or not torch.allclose(own, wanted, atol=1e-4):
            affine = wanted.clone()
            affine[:3, 3] += index * wanted[:3, 2]
            size = [*label.shape[1:3], 1]
            take = SpatialResample(mode="bilinear", padding_mode="zeros", dtype=np.float32)
            here, index = take(image.cpu(), dst_affine=affine, spatial_size=size), 0
    if here.shape[1:3] != label.shape[1:3]:
        return None
    return _grey_or_coloured(here[..., index] if here.ndim == 4 else here)


def _grey_or_coloured(plane: torch.Tensor) -> Picture:
    """A plane (C, X, Y) as X x Y greys or X x Y x RGB."""
    pixels = torch.as_tensor(plane).detach().cpu().float().numpy()
    if len(pixels) == 3:
        return np.rint(255 * pixels.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
    return grey(pixels[0])


def _rated(
    image: torch.Tensor, label: torch.Tensor, pred: torch.Tensor, name: str, names: Mapping[int, str]
) -> Picture | None:
    classes = label.cpu().reshape(-1)
    probabilities = pred.detach().cpu().float().reshape(len(pred), -1)
    if pred.ndim > 2 or probabilities.shape[1] != len(classes) or not (classes >= 0).any():
        return None
    number = int(classes.argmax())  # of the slices, the first of the highest class: the same in each validation
    true, sure = int(classes[number]), probabilities[:, number]
    best = int(sure.argmax())
    if pred.ndim == 2 and len(classes) > 1:
        name = f"{name}, slice {number}"
    plane = image[..., number] if image.ndim == 4 else image
    volume = isinstance(image, MetaTensor) and image.meta.get("kind") == "volume"
    affine = image.affine.cpu().double().numpy() if volume and isinstance(image, MetaTensor) else None
    step = max(1, -(-max(plane.shape[1:]) // _DRAWN_SIDE))
    drawn = upright(_grey_or_coloured(plane[:, ::step, ::step]), affine)
    said = f"true {names.get(true, true)}\npredicted {names.get(best, best)} {float(sure[best]):.2f}"
    file = io.BytesIO()
    draw_slices([SlicePicture(f"{name}\n{said}", drawn)], file)
    return _pixels(file)


def _pixels(file: io.BytesIO) -> Picture:
    file.seek(0)
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB")).copy()
