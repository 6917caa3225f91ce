"""Labels that were submitted to a datastore, as the cases of a training: checked, split, and kept on record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.errors import DatalistError, GeometryError, UnreadableFileError
from pipelines.files import make_folder, safe_name, write_file
from pipelines.preparation.datalist import DATALIST, fingerprint, write_datalist
from pipelines.readers import PICTURE_AFFINE, kinds, read_label
from pipelines.readers.kinds import is_folder, kind_of
from pipelines.readers.raw import Grid

Item = dict[str, Any]


def submitted_labels(pairs: Iterable[Mapping[str, str]], folder: Path) -> list[Item]:
    """The images with a label, as items of a datalist, in the order of their names.

    Clients send the label of a picture as a volume of one slice: it is written into ``folder`` as a picture.

    Args:
        pairs: ``image`` and ``label``, paths.
        folder: for labels of pictures.

    Raises:
        DatalistError: there are fewer than two.
        GeometryError, UnreadableFileError: a picture's label does not fit it.
    """
    make_folder(folder)
    items = []
    for pair in sorted(pairs, key=lambda pair: pair["image"]):
        image, label = Path(pair["image"]), Path(pair["label"])
        name = safe_name(image.name.split(".")[0])
        if not is_folder(image) and kind_of(image) == kinds.PICTURE and kind_of(label) != kinds.PICTURE:
            label = _flat(image, label, folder / f"{name}.png")
        items.append({"image": str(image), "label": str(label), "patient": name, "case": name})
    if len(items) < 2:
        how = "submit more: one image is learned from, and one is kept for validation"
        raise DatalistError(f"{len(items)} images have a submitted label, and 2 are needed", how=how)
    return items


def split_labels(items: Sequence[Item], part: float) -> tuple[list[Item], list[Item]]:
    """For training and for validation: the last ``part`` of the items is the latter, one at least, never all.

    Raises:
        DatalistError: the part is not between 0 and 1.
    """
    if not 0 < part < 1:
        raise DatalistError(f"val_split is {part:g}", how="give a part between 0 and 1")
    kept = min(max(1, round(part * len(items))), len(items) - 1)
    return list(items[:-kept]), list(items[-kept:])


def write_record(
    folder: Path, bundle: str, labels: Mapping[str, str], training: Sequence[Item], validation: Sequence[Item]
) -> Path:
    """Write a datalist of them, from which the run takes name, fingerprint and counts.

    Raises:
        OutputError: it cannot be written.
    """
    files = ((Path(item["image"]), Path(item["label"])) for item in (*training, *validation))
    content = {
        "name": f"{bundle}_submitted",
        "description": "Labels that were submitted to MONAI Label",
        "fingerprint": fingerprint((_first_file(image), label) for image, label in files),
        "labels": dict(labels),
        "split": {"rule": "the last images by name are for validation; each image is its own patient"},
        "training": list(training),
        "validation": list(validation),
    }
    path = folder / DATALIST
    write_datalist(path, content)
    return path


def _first_file(image: Path) -> Path:
    """The file that stands for an image: a series is a folder."""
    return min(image.iterdir()) if image.is_dir() else image


def _flat(image: Path, label: Path, target: Path) -> Path:
    """Write a label that is a volume of one slice as a picture of the image's size, as the image is stored.

    Raises:
        UnreadableFileError: the image cannot be read.
        GeometryError: the label does not lie on the image; axes in another order or direction are turned.
    """
    try:
        with Image.open(image) as opened:
            width, height = opened.size
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"the picture cannot be read ({error})", where=image) from error
    # how ITK, and with it 3D Slicer, places a picture: its corner at the origin, a pixel a millimetre
    grid = Grid((width, height, 1), PICTURE_AFFINE, "volume", image.name, 1)
    try:
        values = read_label(label, grid)[:, :, 0]
    except GeometryError as error:
        raise GeometryError(error.what, where=label, how=f"draw it on {image.name} itself") from error
    write_file(target, lambda file: Image.fromarray(np.ascontiguousarray(values.T)).save(file, "PNG"))
    return target
