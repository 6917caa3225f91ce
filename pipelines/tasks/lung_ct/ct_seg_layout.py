"""The layout of COVID-19-CT-Seg (Ma et al., Zenodo 3757476): NIfTI volumes, and three folders of masks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.files import safe_name
from pipelines.preparation.patient_names import Spellings
from pipelines.preparation.raw_case import RawCase, stem, visible_files
from pipelines.readers import CaseImage
from pipelines.tasks.lung_ct.masks import check_agreement, read_mask, with_reference_lung
from pipelines.tasks.lung_ct.raw_set import BuiltLabel, RawSet

_NIFTI = (".nii", ".nii.gz")
_SCANS, _LUNG, _INFECTION, _JOINT = "ct_scans", "lung_mask", "infection_mask", "lung_and_infection_mask"


def find_ct_seg(raw: Path) -> RawSet | None:
    """The set below `raw`, or None where there is no ct_scans/.

    lung_mask/ holds 1 left and 2 right lung, infection_mask/ 1, lung_and_infection_mask/ (may be absent as a whole)
    1, 2 and 3.
    Scans and masks are matched by name, whether as in the Zenodo release (radiopaedia_10_85902_1) or as in the copy
    on Kaggle (radiopaedia_org_covid-19-pneumonia-10_85902_1-dcm). Two series of one radiopaedia case are one patient.
    """
    if not (raw / _SCANS).is_dir():
        return None
    kinds = [_LUNG, _INFECTION] + ([_JOINT] if (raw / _JOINT).is_dir() else [])
    faults: list[PipelinesError] = []
    masks: dict[str, dict[str, Path]] = {}
    for kind in kinds:
        folder = raw / kind
        found = visible_files(folder, _NIFTI) if folder.is_dir() else []
        masks[kind] = {_key(path): path for path in found}
        if len(masks[kind]) < len(found):
            faults.append(UnreadableFileError("two masks are of one case", where=folder, how="keep one of them"))
    cases: list[RawCase] = []
    seen: set[str] = set()
    one_spelling = Spellings()
    for path in visible_files(raw / _SCANS, _NIFTI):
        key = _key(path)
        missing = [kind for kind in kinds if key not in masks[kind]]
        if missing or key in seen:
            what = f"it has no mask in {', '.join(missing)}" if missing else "another scan has the same name"
            faults.append(UnreadableFileError(what, where=path, how="complete the dataset, or leave the scan out"))
            continue
        seen.add(key)
        cases.append(
            RawCase(
                safe_name(key), safe_name(one_spelling(_patient(key))), path, {kind: masks[kind][key] for kind in kinds}
            )
        )
    for kind in kinds:
        for key in sorted(set(masks[kind]) - {_key(p) for p in visible_files(raw / _SCANS, _NIFTI)}):
            faults.append(
                UnreadableFileError("the mask has no scan", where=masks[kind][key], how="add the scan to ct_scans")
            )
    return RawSet("COVID-19-CT-Seg", cases, True, faults, build=_build)


def _key(path: Path) -> str:
    name = stem(path).replace("_covid-19-pneumonia-", "_")
    return re.sub(r"-dcm$", "", re.sub(r"^(coronacases|radiopaedia)_org", r"\1", name))


def _patient(key: str) -> str:
    found = re.match(r"radiopaedia_\d+(?=_)", key)
    return found.group() if found else key


def _build(case: RawCase, image: CaseImage) -> BuiltLabel:
    lungs = read_mask(case.masks[_LUNG], image, (0, 1, 2))
    infection = read_mask(case.masks[_INFECTION], image, (0, 1)).astype(bool)
    notes: tuple[str, ...] = ()
    if _JOINT in case.masks:
        joint = read_mask(case.masks[_JOINT], image, (0, 1, 2, 3))
        notes = check_agreement(np.where(infection, 3, lungs).astype(np.uint8), joint, case.masks[_JOINT])
    built = with_reference_lung(infection, lungs > 0, image, case.masks[_LUNG])
    if image.intensity == "display":
        notes += ("values are 0..255 as displayed, not Hounsfield units",)
    return BuiltLabel(built.array, built.lung, built.notes + notes)
