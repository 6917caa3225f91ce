"""Labels that were submitted to a datastore, as the cases of a training: checked, split, and kept on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import DatalistError, GeometryError, LabelError, UnreadableFileError, UnsupportedImageError
from pipelines.files import make_folder, safe_name, write_file
from pipelines.preparation.datalist import DATALIST, fingerprint, write_datalist
from pipelines.readers import PICTURE_AFFINE, kinds, read_label
from pipelines.readers.itk_volume import read_itk
from pipelines.readers.kinds import is_folder, kind_of
from pipelines.readers.nifti import read_nifti
from pipelines.readers.raw import Grid

Item = dict[str, Any]
_FINAL = "final"  # the tag of labels to learn from


class Datastore(Protocol):
    """What is asked of MONAI Label's datastores."""

    def get_labeled_images(self) -> list[str]: ...
    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]: ...
    def get_image_uri(self, image_id: str) -> str: ...
    def get_label_uri(self, label_id: str, label_tag: str) -> str: ...


@dataclass(frozen=True)
class Submitted:
    """A label that somebody submitted.

    Attributes:
        image, label: their files; of a series, its folder.
        segments: what the client said of the label's values: names by value; empty if it said nothing.
    """

    image: Path
    label: Path
    segments: Mapping[int, str]


def read_submitted(datastore: Datastore) -> list[Submitted]:
    """All labels of a datastore that are final, in the order of the images' names.

    3D Slicer numbers the segments in the order it shows them, whatever their names, and says so in ``label_info``.
    """
    found = []
    for name in sorted(datastore.get_labeled_images()):
        info = datastore.get_label_info(name, _FINAL).get("label_info") or []
        segments = {int(each["idx"]): str(each["name"]).lower() for each in info if "idx" in each and "name" in each}
        image, label = datastore.get_image_uri(name), datastore.get_label_uri(name, _FINAL)
        found.append(Submitted(Path(image), Path(label), segments))
    return found


def items_of(
    submitted: Iterable[Submitted], labels: Mapping[str, int], folder: Path, read: Callable[[Path], object]
) -> tuple[list[Item], dict[str, str]]:
    """The cases that a bundle can learn from, as items of a datalist.

    A datastore may be served for several bundles. Labels whose segments all have other names than the bundle's are left
    to the others, and so are images that the bundle cannot read.

    Labels whose values do not mean what the bundle's do, and labels of pictures that came as a volume of one slice, are
    written anew into ``folder``; what was submitted stays as it is.

    Args:
        submitted: see ``read_submitted``.
        labels: the bundle's values by name, without the background.
        folder: for such labels.
        read: the bundle's reader of images.

    Returns:
        The items, and why what images were left out, by name.

    Raises:
        DatalistError: there are fewer than two.
        LabelError: segments of which the bundle knows some and not all, or values without a name.
        GeometryError, UnreadableFileError: a picture's label does not fit it.
    """
    make_folder(folder)
    items: list[Item] = []
    left: dict[str, str] = {}
    for each in submitted:
        name = safe_name(each.image.name.split(".")[0])
        try:
            meant = _meanings(each, labels, read)
        except (UnreadableFileError, UnsupportedImageError) as error:
            left[name] = str(error)
            continue
        if meant is None:
            left[name] = f"its segments are called {', '.join(each.segments.values())}"
            continue
        label = each.label
        picture = not is_folder(each.image) and kind_of(each.image) == kinds.PICTURE
        if (picture and kind_of(label) != kinds.PICTURE) or meant:
            label = _written(each, meant, folder / f"{name}{'.png' if picture else '.nii.gz'}")
        items.append({"image": str(each.image), "label": str(label), "patient": name, "case": name})
    if len(items) < 2:
        how = "submit more: one image is learned from, and one is kept for validation"
        why = "".join(f"; {name} is left out: {reason}" for name, reason in list(left.items())[:2])
        raise DatalistError(f"{len(items)} images have a label of this model, and 2 are needed", how=f"{how}{why}")
    return items, left


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


def _meanings(each: Submitted, labels: Mapping[str, int], read: Callable[[Path], object]) -> dict[int, int] | None:
    """The bundle's value of each of a label's values; empty where they are the same, None where no name is known.

    Raises:
        UnreadableFileError, UnsupportedImageError: the bundle cannot read the image.
        LabelError: it can, and some names are known, and others not, or two are the same.
    """
    named = {value: name for value, name in each.segments.items() if name != "background"}
    known = {value: labels[name] for value, name in named.items() if name in labels}
    if named and not known:
        return None
    read(each.image)
    if len(known) < len(named) or len(set(known.values())) < len(known):
        what = f"its segments are called {', '.join(named.values())}"
        raise LabelError(what, where=each.label, how=f"call them {', '.join(labels)}, each once, and submit it again")
    return {} if all(value == meant for value, meant in known.items()) else known


def _written(each: Submitted, meant: Mapping[int, int], target: Path) -> Path:
    """Write a label with the bundle's values, as a picture where the target is one.

    Raises:
        LabelError: a value without a name.
        GeometryError, UnreadableFileError: see ``_flat``.
    """
    if target.suffix == ".png":
        values, affine = _flat(each.image, each.label)[:, :, None], PICTURE_AFFINE
    else:
        values, affine = volume_of(each.label)
    if meant:
        strangers = sorted(set(np.unique(values).tolist()) - {0, *meant})
        if strangers:
            how = "submit it again, with a name for each segment"
            raise LabelError(f"the values {strangers} have no segment's name", where=each.label, how=how)
        table = np.zeros(256, dtype=np.uint8)
        table[list(meant)] = list(meant.values())
        values = table[values]
    if target.suffix == ".png":
        picture = Image.fromarray(np.ascontiguousarray(values[:, :, 0].T))
        write_file(target, lambda file: picture.save(file, "PNG"))
    else:
        nib.save(nib.Nifti1Image(values, affine), target)
    return target


def volume_of(label: Path) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A label's values (X, Y, Z), and the affine from its voxels to RAS millimetres.

    Raises:
        UnreadableFileError, LabelError: see ``read_label``.
    """
    raw = read_nifti(label) if kind_of(label) == kinds.NIFTI else read_itk(label)
    return read_label(label), raw.affine


def _flat(image: Path, label: Path) -> NDArray[np.uint8]:
    """A picture's label (W, H), as the picture is stored, of a picture or of a volume of one slice.

    Raises:
        UnreadableFileError: the image cannot be read.
        GeometryError: the label does not lie on the image; axes in another order or direction are turned.
    """
    if kind_of(label) == kinds.PICTURE:
        return read_label(label)[:, :, 0]
    try:
        with Image.open(image) as opened:
            width, height = opened.size
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"the picture cannot be read ({error})", where=image) from error
    # how ITK, and with it 3D Slicer, places a picture: its corner at the origin, a pixel a millimetre
    grid = Grid((width, height, 1), PICTURE_AFFINE, "volume", image.name, 1)
    try:
        return read_label(label, grid)[:, :, 0]
    except GeometryError as error:
        raise GeometryError(error.what, where=label, how=f"draw it on {image.name} itself") from error
