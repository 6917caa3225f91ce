"""The layouts of COVID-SemiSeg (Fan et al. 2020, Inf-Net): slices as pictures with lesion masks of 0 and 255, no
lung masks."""

from __future__ import annotations

from pathlib import Path

from pipelines.datasets.masks import read_mask, with_derived_lung
from pipelines.datasets.raw_case import BuiltLabel, RawCase, RawSet, safe_name, visible_files
from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.readers import CaseImage

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def find_semi_seg(raw: Path) -> RawSet | None:
    """The set below `raw`, or None where neither layout is there.

    As released: LungInfection-Train/Doctor-label/{Imgs,GT} and LungInfection-Test/{Imgs,GT}, also inside
    TrainingSet/ and TestingSet/; the test part stays the test set. Or one folder of images/ and masks/
    (masks_multiclass/ is not read).
    Which slices are of one patient is not known: each is its own.
    """
    train = _first(raw, "LungInfection-Train/Doctor-label")
    test = _first(raw, "LungInfection-Test")
    faults: list[PipelinesError] = []
    cases: list[RawCase] = []
    if train is not None:
        cases += _pairs(train / "Imgs", train / "GT", "train_", False, faults)
        if test is not None:
            cases += _pairs(test / "Imgs", test / "GT", "test_", True, faults)
    elif (raw / "images").is_dir() and (raw / "masks").is_dir():
        cases += _pairs(raw / "images", raw / "masks", "", False, faults)
    else:
        return None
    note = "Patients are not known: each picture counts as its own patient, so that splits may share patients unseen."
    return RawSet("COVID-SemiSeg", cases, _build, patients_known=False, faults=faults, notes=[note])


def _first(raw: Path, tail: str) -> Path | None:
    for head in ("", "TrainingSet", "TestingSet", "Dataset/TrainingSet", "Dataset/TestingSet"):
        if (raw / head / tail / "Imgs").is_dir():
            return raw / head / tail
    return None


def _pairs(images: Path, masks: Path, prefix: str, official_test: bool, faults: list[PipelinesError]) -> list[RawCase]:
    by_name: dict[str, Path] = {}
    for path in visible_files(masks, _PICTURES) if masks.is_dir() else []:
        if path.stem in by_name:
            faults.append(UnreadableFileError("two masks have this name", where=path, how="keep one of them"))
        by_name[path.stem] = path
    cases: dict[str, RawCase] = {}
    for path in visible_files(images, _PICTURES):
        mask = by_name.get(path.stem)
        if mask is None or path.stem in cases:
            what = f"it has no mask in {masks}" if mask is None else "another picture has the same name"
            faults.append(UnreadableFileError(what, where=path, how="complete the dataset, or leave the picture out"))
            continue
        name = safe_name(prefix + path.stem)
        cases[path.stem] = RawCase(name, name, path, {"lesion": mask}, official_test)
    pictured = {path.stem for path in visible_files(images, _PICTURES)}
    for name in sorted(set(by_name) - pictured):
        faults.append(
            UnreadableFileError("the mask has no picture", where=by_name[name], how=f"add the picture to {images}")
        )
    return list(cases.values())


def _build(case: RawCase, image: CaseImage) -> BuiltLabel:
    lesion = read_mask(case.masks["lesion"], image, (0, 255)) > 0
    return with_derived_lung(lesion, image, case.masks["lesion"])
