"""A folder of DICOM series with NIfTI masks: the series' folder and its mask have the same name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pipelines.errors import LabelError, PipelinesError, UnreadableFileError
from pipelines.files import safe_name
from pipelines.preparation.patient_names import Spellings
from pipelines.preparation.raw_case import RawCase, hidden_patient, stem
from pipelines.readers import CaseImage, read_label
from pipelines.readers.dicom_file import SUFFIXES, looks_like_dicom, open_dataset
from pipelines.readers.identifiers import telling
from pipelines.tasks.lung_ct.masks import read_mask, with_derived_lung, with_reference_lung
from pipelines.tasks.lung_ct.raw_set import BuiltLabel, RawSet

MASK_VALUES = ("lung-lesion", "lesion")
_NIFTI = (".nii", ".nii.gz")
_HOW_AMBIGUOUS = "say which with --mask-values lesion or --mask-values lung-lesion"


def find_dicom(raw: Path, mask_values: str | None = None) -> RawSet | None:
    """The set below `raw`, or None where no folder holds DICOM files or there is no NIfTI file beside them.

    Masks hold 0 background, 1 lung, 2 lesion ("lung-lesion"), or 0 background, 1 lesion ("lesion", the lung is then
    derived).
    Without `mask_values` the masks decide: if any of them holds a 2, all are "lung-lesion". Where none does, a 1 may
    mean either, and a LabelError asks for it. The patient is the series' PatientID, shown as a hash so that no
    identity enters the datalist; a folder's name that tells who or when has a pseudonym in the case's
    (`Telling.hidden`).
    """
    folders = sorted(f for f in [raw, *raw.rglob("*")] if f.is_dir() and not f.name.startswith(".") and _first_dicom(f))
    masks = sorted(p for p in raw.rglob("*") if p.name.lower().endswith(_NIFTI) and not p.name.startswith("."))
    if not folders or not masks:
        return None
    faults: list[PipelinesError] = []
    by_name: dict[str, Path] = {}
    for path in masks:
        if stem(path) in by_name:
            faults.append(UnreadableFileError("two masks have this name", where=path, how="keep one of them"))
        by_name[stem(path)] = path
    cases: dict[str, RawCase] = {}
    known = True
    one_spelling = Spellings()
    for folder in folders:
        name = folder.name
        if name not in by_name or name in cases:
            what = (
                f"there is no {name}.nii.gz for this series"
                if name not in by_name
                else "another series has the same name"
            )
            faults.append(UnreadableFileError(what, where=folder, how="name each mask after its series' folder"))
            continue
        patient = series_patient(folder, one_spelling)
        known = known and patient is not None
        first = _first_dicom(folder)
        case = safe_name(name if first is None else telling(first).hidden(name))
        cases[name] = RawCase(case, patient or case, folder, {"mask": by_name[name]})
    for name in sorted(set(by_name) - {f.name for f in folders}):
        faults.append(
            UnreadableFileError("the mask has no series", where=by_name[name], how="name it after its series' folder")
        )
    build = partial(_build, values=mask_values or _decide(list(cases.values()), raw))
    return RawSet("DICOM series with NIfTI masks", list(cases.values()), known, faults, build=build)


def _first_dicom(folder: Path) -> Path | None:
    """The first file that begins as DICOM does, or is named as such (so that a broken one is met and named later)."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
            continue
        if path.suffix.lower() in SUFFIXES or looks_like_dicom(path):
            return path
    return None


def series_patient(folder: Path, one_spelling: Spellings) -> str | None:
    """The PatientID of a folder's DICOM files as a hash; None where there is none."""
    path = _first_dicom(folder)
    if path is None:
        return None
    try:
        patient = str(open_dataset(path, ["PatientID"]).get("PatientID", "")).strip()
    except PipelinesError:
        return None  # the reader names the fault when it comes to this case
    return hidden_patient(one_spelling(patient)) if patient else None


def _decide(cases: list[RawCase], raw: Path) -> str:
    unread = 0
    for case in cases:
        try:
            if (read_label(case.masks["mask"]) == 2).any():
                return "lung-lesion"
        except PipelinesError:
            unread += 1  # named when its case is checked
    if unread == len(cases):
        return "lung-lesion"
    raise LabelError("no mask holds a 2, so a 1 may mean lung or lesion", where=raw, how=_HOW_AMBIGUOUS)


def _build(case: RawCase, image: CaseImage, values: str) -> BuiltLabel:
    path = case.masks["mask"]
    if values == "lesion":
        return with_derived_lung(read_mask(path, image, (0, 1)) == 1, image, path)
    mask = read_mask(path, image, (0, 1, 2))
    return with_reference_lung(mask == 2, mask > 0, image, path)
