"""The layouts of COVID-SemiSeg (Fan et al. 2020, Inf-Net): slices as pictures with lesion masks of 0 and 255, no
lung masks."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import PipelinesError
from pipelines.files import safe_name
from pipelines.preparation.picture_pairs import pair_pictures
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, RawCase
from pipelines.readers import CaseImage
from pipelines.tasks.lung_ct.masks import read_mask, with_derived_lung
from pipelines.tasks.lung_ct.raw_set import BuiltLabel, RawSet


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
    return RawSet("COVID-SemiSeg", cases, False, faults, [PATIENTS_UNKNOWN], build=_build)


def _first(raw: Path, tail: str) -> Path | None:
    for head in ("", "TrainingSet", "TestingSet", "Dataset/TrainingSet", "Dataset/TestingSet"):
        if (raw / head / tail / "Imgs").is_dir():
            return raw / head / tail
    return None


def _pairs(images: Path, masks: Path, prefix: str, official_test: bool, faults: list[PipelinesError]) -> list[RawCase]:
    cases = []
    for path, mask in pair_pictures(images, masks, faults):
        name = safe_name(prefix + path.stem)
        cases.append(RawCase(name, name, path, {"lesion": mask}, official_test))
    return cases


def _build(case: RawCase, image: CaseImage) -> BuiltLabel:
    lesion = read_mask(case.masks["lesion"], image, (0, 255)) > 0
    return with_derived_lung(lesion, image, case.masks["lesion"])
