"""Dermoscopic phantoms on disk, in the layout of ISIC 2016, or by way of that as a prepared folder."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.errors import UsageError
from pipelines.preparation.datalist import is_prepared
from pipelines.preparation.new_folder import check_target, new_folder
from pipelines.preparation.phantom_mark import PHANTOM_MARK, write_mark
from pipelines.tasks.dermoscopy.phantom import make_dermoscopy_phantom
from pipelines.tasks.dermoscopy.prepare import prepare_skin_lesions

NAME = "isic2016"
MIN_SIZE = 64  # columns; the rows are three quarters of it
_QUALITY = 92
_TABLES = {
    "Training": ("ISBI2016_ISIC_Part3_Training_GroundTruth.csv", {"benign": "benign", "malignant": "malignant"}),
    "Test": ("ISBI2016_ISIC_Part3_Test_GroundTruth.csv", {"benign": "0.0", "malignant": "1.0"}),
}


def phantom_isic2016(
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
    """Draw dermoscopic phantoms, and write them as raw data (`raw`) or, by way of that and `prepare_skin_lesions`, as a
    prepared folder. A fifth of them, at least one, is the official test set.

    Args:
        size: columns; the rows are three quarters of it.
        seed, validation, test, folds, force: see `Preparation.run`; `test` is not used, as in ISIC 2016.

    Returns:
        The names of the cases.

    Raises:
        UsageError: options that cannot work. OutputError: as `new_folder`.
    """
    if size < MIN_SIZE:
        raise UsageError("the phantoms are too small", where=str(size), how=f"ask for a --size of at least {MIN_SIZE}")
    if cases < 1 or (cases < 3 and not raw):
        raise UsageError("too few cases", where=str(cases), how="ask for at least 3 (1 with --raw)")
    out = Path(out).absolute()
    if raw:
        with new_folder(out, lambda folder: (folder / PHANTOM_MARK).is_file(), force) as folder:
            return _draw(folder, cases, size, seed)
    check_target(out, is_prepared, force)
    with tempfile.TemporaryDirectory(prefix="phantom-") as scratch:
        folder = Path(scratch) / NAME
        folder.mkdir()
        names = _draw(folder, cases, size, seed)
        prepare_skin_lesions(NAME, folder, out, seed=seed, validation=validation, test=test, folds=folds, force=force)
    return names


def _draw(folder: Path, cases: int, size: int, seed: int) -> list[str]:
    names = [f"phantom_{i:03d}" for i in range(cases)]
    tested = max(round(cases / 5), 1) if cases > 1 else 0  # a single one is for training
    held = {int((i + 0.5) * cases / tested) for i in range(tested)}
    marks: dict[str, dict[str, Any]] = {}
    diagnoses: dict[str, list[tuple[str, str]]] = {"Training": [], "Test": []}
    for i, name in enumerate(names):
        part = "Test" if i in held else "Training"
        phantom = make_dermoscopy_phantom(seed * 100_003 + i, size, size * 3 // 4)
        images, masks = (folder / f"ISBI2016_ISIC_Part1_{part}_{kind}" for kind in ("Data", "GroundTruth"))
        images.mkdir(exist_ok=True)
        masks.mkdir(exist_ok=True)
        Image.fromarray(phantom.picture).save(images / f"{name}.jpg", quality=_QUALITY, subsampling=0)
        Image.fromarray(phantom.mask.astype(np.uint8) * 255).save(masks / f"{name}_Segmentation.png")
        diagnoses[part].append((name, phantom.diagnosis))
        marks[name] = {"diagnosis": phantom.diagnosis, "lesion_share": round(float(phantom.mask.mean()), 6)}
    for part, (table, words) in _TABLES.items():
        if diagnoses[part]:
            with (folder / table).open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows((n, words[d]) for n, d in diagnoses[part])
    write_mark(folder, seed, marks)
    return names
