"""The layout of single slices of scans with a table of them: pictures with lung and lesion masks of 0 and 255, in one
or more forms (COVID-19-CT-Seg as pictures in a wide window, and contrast-equalised)."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.files import safe_name
from pipelines.preparation.csv_tables import bad_line, csv_rows
from pipelines.preparation.patient_names import Spellings
from pipelines.preparation.picture_pairs import PICTURES
from pipelines.preparation.raw_case import RawCase, visible_files
from pipelines.readers import CaseImage
from pipelines.tasks.lung_ct.masks import read_mask, with_reference_lung
from pipelines.tasks.lung_ct.raw_set import BuiltLabel, RawSet

TABLE = "slices.csv"
_COLUMNS = ("form", "image", "patient")
_IMAGES, _LUNG, _LESION = "images", "lung_masks", "lesion_masks"
_HOW = "complete the dataset, or leave the slice out of the table"
LESION_ONLY = (
    "Every slice has a lesion: what healthy lung, and a scan without lesions, look like, is not in these data, and "
    "specificity by case cannot be measured on them."
)
LAYOUT = "COVID-19-CT-Seg as slices"
SOURCE = "COVID-19-CT-Seg"


def find_slices(raw: Path) -> RawSet | None:
    """The set below `raw`, or None where there is no slices.csv.

    The table has a line a picture: `form` (the folder that it lies in), `image` (its file in FORM/images) and
    `patient`; other columns are not read. FORM/lung_masks and FORM/lesion_masks have a PNG of the same name each.
    All forms of a patient's slices are one patient's.
    """
    if not (raw / TABLE).is_file():
        return None
    faults: list[PipelinesError] = []
    cases: list[RawCase] = []
    listed: set[Path] = set()
    one_spelling = Spellings()
    for number, form, image, patient in _lines(raw / TABLE, faults):
        path = raw / form / _IMAGES / image
        masks = {kind: raw / form / kind / f"{path.stem}.png" for kind in (_LUNG, _LESION)}
        missing = [str(p.relative_to(raw)) for p in (path, *masks.values()) if not p.is_file()]
        if path in listed:
            faults.append(bad_line(raw / TABLE, number, f"the picture {form}/{image} stands here twice"))
        elif missing:
            faults.append(UnreadableFileError(f"line {number}: there is no {missing[0]}", where=raw / TABLE, how=_HOW))
        else:
            case = safe_name(f"{form}_{path.stem}")
            cases.append(RawCase(case, safe_name(one_spelling(patient)), path, masks, source=SOURCE, form=form))
        listed.add(path)
    for folder in sorted({path.parent for path in listed}):
        for path in visible_files(folder, PICTURES) if folder.is_dir() else []:
            if path not in listed:
                faults.append(
                    UnreadableFileError("the picture is not in the table", where=path, how=f"add it to {TABLE}")
                )
    return RawSet(LAYOUT, cases, True, faults, [LESION_ONLY], build=_build)


def _lines(table: Path, faults: list[PipelinesError]) -> list[tuple[int, str, str, str]]:
    """(line, form, image, patient) of each sound line."""
    rows = csv_rows(table)
    head = [cell.strip() for cell in rows[0][1]] if rows else []
    absent = [name for name in _COLUMNS if name not in head]
    if absent:
        faults.append(bad_line(table, 1, f"there is no column {', '.join(absent)}"))
        return []
    found = []
    for number, row in rows[1:]:
        if len(row) != len(head):
            faults.append(bad_line(table, number, f"it has {len(row)} cells, the head {len(head)}"))
            continue
        form, image, patient = (row[head.index(name)].strip() for name in _COLUMNS)
        if not patient or any(part in ("", ".", "..") or Path(part).name != part for part in (form, image)):
            faults.append(bad_line(table, number, f"{form!r}, {image!r} and {patient!r} name no picture of a patient"))
            continue
        found.append((number, form, image, patient))
    return found


def _build(case: RawCase, image: CaseImage) -> BuiltLabel:
    lesion = read_mask(case.masks[_LESION], image, (0, 255)) > 0
    lung = read_mask(case.masks[_LUNG], image, (0, 255)) > 0
    return with_reference_lung(lesion, lung, image, case.masks[_LUNG])
