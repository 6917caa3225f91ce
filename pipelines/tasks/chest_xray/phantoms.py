"""Phantoms of chest X-rays on disk, with the folders and names of Kermany's set, or by way of that as a prepared
folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image

from pipelines.errors import UsageError
from pipelines.preparation.datalist import is_prepared
from pipelines.preparation.new_folder import check_target, new_folder
from pipelines.preparation.phantom_mark import PHANTOM_MARK, write_mark
from pipelines.tasks.chest_xray.phantom import MIN_SIZE, make_chest_xray_phantom
from pipelines.tasks.chest_xray.prepare import NAME, prepare_chest_xray

LEAST_CASES = 6  # a picture of each class in each split
PNEUMONIA_SHARE = {"train": 0.74, "val": 0.5, "test": 0.62}
_TEST_SHARE = 0.25
_VAL_PICTURES, _VAL_FROM = 2, 24  # as few as in the real set, where there are enough pictures for it
_AGAIN = 0.25  # how often the next picture is another one of the same child
_QUALITY = 92
_FOLDERS = {True: "PNEUMONIA", False: "NORMAL"}


def phantom_chest_xray(
    out: Path,
    *,
    cases: int = 12,
    size: int = 160,
    seed: int = 0,
    raw: bool = False,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int = 0,
    force: bool = False,
) -> list[str]:
    """Draw phantoms of chest X-rays, and write them as raw data (`raw`) or, by way of that and `prepare_chest_xray`, as
    a prepared folder. A quarter of them is the official test set; about three quarters of the others have pneumonia,
    and some children several pictures.

    Args:
        size: columns and rows.
        seed, validation, test, folds, force: see `Preparation.run`; `test` is not used, as in Kermany's set.

    Returns:
        The names of the files, without .jpeg.

    Raises:
        UsageError: options that cannot work. OutputError: as `new_folder`.
    """
    if size < MIN_SIZE:
        raise UsageError("the phantoms are too small", where=str(size), how=f"ask for a --size of at least {MIN_SIZE}")
    if cases < 1 or (cases < LEAST_CASES and not raw):
        raise UsageError("too few cases", where=str(cases), how=f"ask for at least {LEAST_CASES} (1 with --raw)")
    out = Path(out).absolute()
    if raw:
        with new_folder(out, lambda folder: (folder / PHANTOM_MARK).is_file(), force) as folder:
            return _draw(folder, cases, size, seed)
    check_target(out, is_prepared, force)
    with tempfile.TemporaryDirectory(prefix="phantom-") as scratch:
        folder = Path(scratch) / NAME
        folder.mkdir()
        names = _draw(folder, cases, size, seed)
        prepare_chest_xray(folder, out, seed=seed, validation=validation, test=test, folds=folds, force=force)
    return names


def _draw(folder: Path, cases: int, size: int, seed: int) -> list[str]:
    rng = np.random.default_rng((seed, cases))
    names: list[str] = []
    marks: dict[str, dict[str, Any]] = {}
    children = 0
    # both series of numbers go on from train to val; person numbers start anew in test, as in the real set
    numbers = {True: 0, False: 0}
    for part, number in _parts(cases).items():
        # three normal children, so that training, validation and three folds have one each
        normal = 1 if part != "train" else 3 if number >= 6 else 2
        ill = min(max(round(PNEUMONIA_SHARE[part] * number), 1), max(number - normal, 1))
        if part == "test":
            numbers[True] = 0
        for pneumonia, pictures in ((True, ill), (False, number - ill)):
            home = folder / part / _FOLDERS[pneumonia]
            if pictures:
                home.mkdir(parents=True)
            for views in _views(rng, pictures, at_least=min(pictures, 3)):
                numbers[pneumonia] += 1
                for view in range(views):
                    phantom = make_chest_xray_phantom(seed * 100_003 + children, size, pneumonia, view)
                    child = f"person{numbers[True]}_{phantom.subtype}" if pneumonia else f"IM-{numbers[False]:04d}"
                    name = f"{child}_{len(names) + 1}" if pneumonia else f"{child}-{view + 1:04d}"
                    Image.fromarray(phantom.picture).save(home / f"{name}.jpeg", quality=_QUALITY)
                    area = phantom.opacity.sum() / phantom.lungs.sum()
                    marks[f"{part}/{home.name}/{name}"] = {
                        "pneumonia": pneumonia,
                        "subtype": phantom.subtype,
                        "opacity_share": round(float(area), 6),
                    }
                    names.append(name)
                children += 1
    write_mark(folder, seed, marks)
    return names


def _parts(cases: int) -> dict[str, int]:
    """How many pictures are for training, validation and test."""
    test = max(round(_TEST_SHARE * cases), 2) if cases >= LEAST_CASES else 0
    val = _VAL_PICTURES if cases >= _VAL_FROM else 0
    parts = {"train": cases - val - test, "val": val, "test": test}
    return {part: number for part, number in parts.items() if number}


def _views(rng: Generator, pictures: int, at_least: int) -> list[int]:
    """How many pictures each child has: often one, at times several, and never so many that too few children are
    left."""
    views = [1] * at_least
    for _ in range(pictures - at_least):
        if rng.random() < _AGAIN:
            views[int(rng.integers(len(views)))] += 1
        else:
            views.append(1)
    return views
