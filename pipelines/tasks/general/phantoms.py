"""Phantoms of no organ on disk, in the two general layouts, or by way of these as prepared folders."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import orientations
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import UsageError
from pipelines.files import safe_name
from pipelines.preparation.datalist import is_prepared
from pipelines.preparation.new_folder import check_target, new_folder
from pipelines.preparation.phantom_mark import PHANTOM_MARK, write_mark
from pipelines.tasks.general import classes as classes_of
from pipelines.tasks.general import pairs as pairs_of
from pipelines.tasks.general.class_layout import CLASS_NAMES
from pipelines.tasks.general.pair_layout import LABEL_NAMES
from pipelines.tasks.general.phantom_drawing import (
    CLASSES,
    LABELS,
    ORIENTATIONS,
    VolumePhantom,
    draw_class,
    draw_picture,
    draw_volume,
    relabelled,
)
from pipelines.tasks.general.tables import PATIENTS

MIN_SIZE = 32
FEWEST = 3  # cases of a prepared folder, or of each class there
_OFTEN = 8  # cases from which some patients have two


def phantom_pairs(
    out: Path,
    *,
    dims: int = 3,
    labels: Sequence[str] | None = None,
    cases: int = 12,
    size: int = 160,
    seed: int = 0,
    raw: bool = False,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int = 0,
    force: bool = False,
) -> list[str]:
    """Draw volumes (NIfTI, thick slices, stored along various axes) or colour pictures with labels, and write them as
    raw data (`raw`) or, by way of that and `prepare_pairs`, as a prepared folder.

    Args:
        dims: 3 for volumes, 2 for pictures.
        labels: what 0, 1, ... are called, background first (`relabelled` says what they are of); default: background,
            organ, lesion.
        size: voxels across, of half as many slices; of pictures columns, with three quarters as many rows.
        seed, validation, test, folds, force: see `Preparation.run`.

    Returns:
        The names of the cases.

    Raises:
        UsageError: options that cannot work. OutputError: as `new_folder`.
    """
    if dims not in (2, 3):
        raise UsageError("phantoms have 2 or 3 dimensions", where=str(dims))
    words = LABELS if labels is None else dict(enumerate(labels[1:], start=1))
    if labels is not None and (not words or len(set(labels)) < len(labels)):
        raise UsageError(f"the labels are {', '.join(labels)}", how="name background first, then each label once")
    _check(size, cases, FEWEST, raw)

    def draw(folder: Path) -> list[str]:
        names = [f"phantom_{i:03d}" for i in range(cases)]
        marks: dict[str, dict[str, Any]] = {}
        for home in ("images", "masks"):
            (folder / home).mkdir()
        for i, name in enumerate(names):
            rng = np.random.default_rng((seed, i, dims))
            if dims == 3:
                volume = draw_volume(rng, size)
                label: NDArray[np.uint8] = relabelled(volume.label, len(words))
                volume = replace(volume, label=label)
                _save_volume(folder, name, volume, ORIENTATIONS[i % len(ORIENTATIONS)], rng.uniform(-80, 80, 3))
            else:
                picture, label = draw_picture(rng, size)
                label = relabelled(label, len(words))
                Image.fromarray(picture).save(folder / "images" / f"{name}.png")
                Image.fromarray(label).save(folder / "masks" / f"{name}.png")
            marks[name] = {named: round(float(np.mean(label == value)), 6) for value, named in words.items()}
        (folder / LABEL_NAMES).write_text(json.dumps({str(value): word for value, word in words.items()}) + "\n")
        _write_patients(folder, names)
        write_mark(folder, seed, marks)
        return names

    def prepare(folder: Path, target: Path) -> None:
        pairs_of.prepare_pairs(folder, target, seed=seed, validation=validation, test=test, folds=folds, force=force)

    return _written(out, draw, prepare, raw, force)


def phantom_classes(
    out: Path,
    *,
    classes: int = 2,
    names: Sequence[str] | None = None,
    cases: int = 12,
    size: int = 160,
    seed: int = 0,
    raw: bool = False,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int = 0,
    force: bool = False,
) -> list[str]:
    """Draw colour pictures of classes, each in a folder of its own, and write them as raw data (`raw`) or,
    by way of that and `prepare_classes`, as a prepared folder.

    Args:
        classes: how many.
        names: what they are called, any number, in the place of `classes`; default: bar, disc, ring.
        cases: pictures of all classes together.
        size: columns and rows.
        seed, validation, test, folds, force: see `Preparation.run`.

    Returns:
        The names of the cases.

    Raises:
        UsageError: options that cannot work. OutputError: as `new_folder`.
    """
    if names is None and not 2 <= classes <= len(CLASSES):
        raise UsageError(f"phantoms have 2 to {len(CLASSES)} classes", where=str(classes), how="or give their names")
    shown = CLASSES[:classes] if names is None else tuple(names)
    if len(shown) < 2 or len(set(shown)) < len(shown):
        raise UsageError(f"the classes are {', '.join(shown)}", how="name two or more, each once")
    _check(size, cases, FEWEST * len(shown), raw)

    def draw(folder: Path) -> list[str]:
        drawn = []
        marks: dict[str, dict[str, Any]] = {}
        for named in shown:
            (folder / named).mkdir()
        for i in range(cases):
            number = i % len(shown)
            named, name = shown[number], f"phantom_{i:03d}"
            picture = draw_class(np.random.default_rng((seed, i, 1)), size, number)
            Image.fromarray(picture).save(folder / named / f"{name}.png")
            marks[f"{named}/{name}"] = {"class": named}
            drawn.append(name)
        (folder / CLASS_NAMES).write_text(json.dumps(list(shown)) + "\n")
        write_mark(folder, seed, marks)
        return drawn

    def prepare(folder: Path, target: Path) -> None:
        classes_of.prepare_classes(
            folder, target, seed=seed, validation=validation, test=test, folds=folds, force=force
        )

    return _written(out, draw, prepare, raw, force)


def _check(size: int, cases: int, fewest: int, raw: bool) -> None:
    if size < MIN_SIZE:
        raise UsageError("the phantoms are too small", where=str(size), how=f"ask for a --size of at least {MIN_SIZE}")
    if cases < 1 or (cases < fewest and not raw):
        raise UsageError("too few cases", where=str(cases), how=f"ask for at least {fewest} (1 with --raw)")


def _written(
    out: Path,
    draw: Callable[[Path], list[str]],
    prepare: Callable[[Path, Path], None],
    raw: bool,
    force: bool,
) -> list[str]:
    out = Path(out).absolute()
    if raw:
        with new_folder(out, lambda folder: (folder / PHANTOM_MARK).is_file(), force) as folder:
            return draw(folder)
    check_target(out, is_prepared, force)
    with tempfile.TemporaryDirectory(prefix="phantom-") as scratch:
        folder = Path(scratch) / safe_name(out.name)
        folder.mkdir()
        names = draw(folder)
        prepare(folder, out)
    return names


def _save_volume(folder: Path, name: str, volume: VolumePhantom, axes: str, origin: NDArray[np.float64]) -> None:
    affine = np.diag([*volume.spacing, 1.0])
    affine[:3, 3] = np.round(origin, 2)
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(axes))
    stored = affine @ orientations.inv_ornt_aff(turn, volume.image.shape)
    for home, array in (("images", volume.image), ("masks", volume.label)):
        image = nib.Nifti1Image(np.ascontiguousarray(orientations.apply_orientation(array, turn)), stored)
        image.header.set_xyzt_units("mm")
        image.set_sform(stored, code=1)
        image.set_qform(stored, code=1)
        nib.save(image, folder / home / f"{name}.nii.gz")


def _write_patients(folder: Path, names: Sequence[str]) -> None:
    """Every fourth case is another one of the patient before, where there are enough."""
    rows = [("case", "patient")]
    for i, name in enumerate(names):
        again = len(names) >= _OFTEN and i % 4 == 3
        rows.append((name, f"person {i - again:03d}"))
    with (folder / PATIENTS).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
