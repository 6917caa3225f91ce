"""Lung CT with COVID-19 lesions: raw folders in six layouts, or phantoms, to a prepared folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pipelines.errors import UsageError
from pipelines.preparation.corrected import KNOWN
from pipelines.preparation.datalist import is_prepared
from pipelines.preparation.known_layouts import matching_layouts, only_layout
from pipelines.preparation.new_folder import check_target, new_folder
from pipelines.preparation.phantom_mark import PHANTOM_MARK, write_mark
from pipelines.preparation.preparing import Preparation, Prepared
from pipelines.preparation.raw_case import RawCase
from pipelines.preparation.splits import Split
from pipelines.tasks.lung_ct.checks import SEVERITY, CheckedCase, check_case, write_case
from pipelines.tasks.lung_ct.corrected_layout import find_corrected_ct
from pipelines.tasks.lung_ct.ct_seg_layout import find_ct_seg
from pipelines.tasks.lung_ct.dicom_layout import MASK_VALUES, find_dicom
from pipelines.tasks.lung_ct.phantom import make_lung_phantom, plan_extents
from pipelines.tasks.lung_ct.phantom_files import write_ct_seg_case, write_dicom_case
from pipelines.tasks.lung_ct.raw_set import RawSet, joined_sets
from pipelines.tasks.lung_ct.report import case_table, counts, section_tables
from pipelines.tasks.lung_ct.semi_seg_layout import find_semi_seg
from pipelines.tasks.lung_ct.severity import MASK_LABELS
from pipelines.tasks.lung_ct.slices_layout import find_slices

NAME = "covid_ct"
KEPT = "dicom"  # in the prepared folder: the series, where they were de-identified
PHANTOM_FORMATS = ("nifti", "dicom", "both")
# Okabe and Ito's palette: told apart by colour-blind readers, and both stand out on grey.
LUNG_COLOUR, LESION_COLOUR = (86, 180, 233), (230, 159, 0)
_LAYOUTS = (
    "ct_scans/ with lung_mask/ and infection_mask/ (COVID-19-CT-Seg); slices.csv with FORM/images/, FORM/lung_masks/ "
    "and FORM/lesion_masks/ (its slices); LungInfection-Train/ and LungInfection-Test/, or images/ with masks/ "
    f"(COVID-SemiSeg); {KNOWN}; DICOM series folders with NIfTI masks of the same names"
)


class CovidCT(Preparation[RawSet, CheckedCase]):
    """Lung CT with lung and lesion masks.

    Args:
        mask_values: what DICOM masks mean, see `find_dicom`.
        further_raw: raw folders in any of the layouts, whose cases are prepared together with those of the first.
        deidentified: the raw folder is what `deidentified_raw` wrote: its series are kept, and its path is not told.
    """

    name = NAME
    about = "Lung CT with COVID-19 lesions."
    labels = MASK_LABELS
    sought = "lesions"
    words: ClassVar[Mapping[str, Sequence[str]]] = {
        "lung": ("reference", "derived"),
        "source": (),
        "form": (),
    }
    outlines = ((1, LUNG_COLOUR), (2, LESION_COLOUR))

    def __init__(
        self, mask_values: str | None = None, further_raw: Sequence[Path] = (), deidentified: bool = False
    ) -> None:
        self.mask_values = mask_values
        self.further_raw = further_raw
        self.source = "DICOM series, de-identified" if deidentified else None

    def find(self, raw: Path) -> RawSet:
        folders = [raw, *(Path(folder).absolute() for folder in self.further_raw)]
        return joined_sets(folders, [find_layout(folder, self.mask_values) for folder in folders])

    def check(self, folder: RawSet, raw: RawCase) -> CheckedCase:
        return check_case(folder, raw)

    def write(self, checked: CheckedCase, folder: Path) -> None:
        write_case(checked, folder / checked.image_name, folder / checked.label_name)
        if self.source is not None:
            shutil.copytree(checked.raw.image, folder / KEPT / checked.case)

    def label(self, checked: CheckedCase) -> str:
        return checked.label_name

    def head(self) -> dict[str, Any]:
        scale = {"names": SEVERITY.names, "thresholds": SEVERITY.thresholds, "rule": str(SEVERITY)}
        return {"severity_scale": scale}

    def facts(self, checked: CheckedCase) -> dict[str, Any]:
        severity = checked.severity
        return {
            "source": checked.source,
            "form": checked.raw.form or checked.kind,
            "lung": checked.lung,
            "severity": severity.volume,
            "extent": None if severity.extent is None else round(severity.extent, 6),
            "slice_severity": severity.slices,
        }

    def stratum(self, checked: CheckedCase) -> str:
        return checked.source

    def counts(self, checked: Mapping[str, CheckedCase], split: Split) -> dict[str, dict[str, Any]]:
        return counts(checked, split)

    def tables(self, checked: Mapping[str, CheckedCase], split: Split) -> list[str]:
        return section_tables(checked, split)

    def case_table(self, checked: Mapping[str, CheckedCase], split: Split) -> list[str]:
        return case_table(checked, split)


def prepare_covid_ct(
    raw: Path,
    out: Path,
    *,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int | str = 0,
    skip_bad: bool = False,
    force: bool = False,
    mask_values: str | None = None,
    further_raw: Sequence[str | Path] = (),
    deidentify: bool = False,
) -> Prepared:
    """Check a raw folder as a whole, then write it as a prepared folder that appears in one piece.

    Args:
        raw: a folder in one of the layouts.
        out, seed, validation, test, folds, skip_bad, force: see `Preparation.run`.
        mask_values: what DICOM masks mean, see `find_dicom`.
        further_raw: further folders, each in one of the layouts, whose cases join; a patient of two of them is one.
        deidentify: DICOM series with masks only: read them as `deidentified_raw` writes them, and keep these series.

    Raises:
        PipelinesError: of the first fault's kind, with up to 20 faults in its message; nothing is written then.
    """
    run = partial(
        Preparation.run, seed=seed, validation=validation, test=test, folds=folds, skip_bad=skip_bad, force=force
    )
    if not deidentify:
        return run(CovidCT(mask_values, [Path(folder) for folder in further_raw]), raw, out)
    from pipelines.tasks.lung_ct.deidentified_raw import deidentified_raw

    if further_raw:
        raise UsageError("--deidentify takes one raw folder", how="put the series and masks into one, or leave it out")
    check_target(Path(out).absolute(), is_prepared, force)
    with tempfile.TemporaryDirectory(prefix="deidentified-") as scratch:  # private: 0700
        folder = deidentified_raw(Path(raw), Path(scratch) / "raw")
        return run(CovidCT(mask_values, deidentified=True), folder, out)


def phantom_covid_ct(
    out: Path,
    *,
    cases: int = 12,
    size: int = 160,
    slices: int = 24,
    seed: int = 0,
    file_format: str = "nifti",
    clear_cut: bool = False,
    raw: bool = False,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int = 0,
    force: bool = False,
) -> list[str]:
    """Draw lung phantoms, and write them as raw data (`raw`) or, by way of that and `prepare_covid_ct`, as a
    prepared folder.

    Args:
        file_format: "nifti" (the layout of COVID-19-CT-Seg), "dicom" (series/ and masks/), or "both", each in a
            folder of its name and only with `raw`.
        clear_cut: no slice near a threshold of severity, as `make_lung_phantom` has it.

    Returns:
        The names of the cases.

    Raises:
        UsageError: options that cannot work. OutputError: as `new_folder`.
    """
    if file_format not in PHANTOM_FORMATS or (file_format == "both" and not raw):
        raise UsageError(
            f"phantoms cannot be prepared as {file_format!r}", how="choose nifti or dicom; both only with --raw"
        )
    if cases < 1 or (cases < 3 and not raw):
        raise UsageError("too few cases", where=str(cases), how="ask for at least 3 (1 with --raw)")
    out = Path(out).absolute()
    names = [f"phantom_{i:03d}" for i in range(cases)]

    def draw(folder: Path) -> None:
        formats = ("nifti", "dicom") if file_format == "both" else (file_format,)
        homes = {f: folder / f if len(formats) > 1 else folder for f in formats}
        marks: dict[str, dict[str, Any]] = {}
        for i, (name, extent) in enumerate(zip(names, plan_extents(cases, seed), strict=True)):
            phantom = make_lung_phantom(seed * 100_003 + i, size, slices, extent, clear_cut=clear_cut)
            marks[name] = {
                "extent": phantom.extent,
                "severity": phantom.severity,
                "consolidation": phantom.consolidation,
            }
            if "nifti" in homes:
                write_ct_seg_case(homes["nifti"], name, phantom)
            if "dicom" in homes:
                write_dicom_case(homes["dicom"], name, phantom)
        for home in {*homes.values(), folder}:
            write_mark(home, seed, marks)

    if raw:
        with new_folder(out, lambda folder: (folder / PHANTOM_MARK).is_file(), force) as folder:
            draw(folder)
        return names
    check_target(out, is_prepared, force)
    with tempfile.TemporaryDirectory(prefix="phantom-") as scratch:
        folder = Path(scratch) / NAME
        folder.mkdir()
        draw(folder)
        prepare_covid_ct(folder, out, seed=seed, validation=validation, test=test, folds=folds, force=force)
    return names


def find_layout(raw: Path, mask_values: str | None = None) -> RawSet:
    """The one layout that a raw folder has.

    Raises:
        UnreadableFileError: no such folder. UsageError: none of the layouts, or more than one.
    """
    if mask_values is not None and mask_values not in MASK_VALUES:
        raise UsageError(f"mask values {mask_values!r} are not known", how=f"choose one of {', '.join(MASK_VALUES)}")
    finders: tuple[Callable[[Path], RawSet | None], ...] = (find_ct_seg, find_slices, find_semi_seg, find_corrected_ct)
    found = matching_layouts(raw, finders)
    if not found:
        dicom = find_dicom(raw, mask_values)
        found = [dicom] if dicom is not None else []
    elif mask_values is not None:
        raise UsageError(
            "--mask-values is for DICOM series with masks only",
            where=raw,
            how=f"this is {found[0].layout}: leave it out",
        )
    return only_layout(found, raw, _LAYOUTS)
