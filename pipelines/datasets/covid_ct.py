"""Lung CT with COVID-19 lesions: raw folders in three layouts, or phantoms, to a prepared folder."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.datasets.checked_case import SEVERITY, CheckedCase, check_case, write_case
from pipelines.datasets.ct_seg_layout import find_ct_seg
from pipelines.datasets.datalist import DATALIST, fingerprint, write_datalist
from pipelines.datasets.dicom_layout import MASK_VALUES, find_dicom
from pipelines.datasets.likeness import near_pairs
from pipelines.datasets.lung_phantom import make_lung_phantom, plan_extents
from pipelines.datasets.new_folder import check_target, new_folder
from pipelines.datasets.phantom_files import PHANTOM_MARK, write_ct_seg_case, write_dicom_case, write_mark
from pipelines.datasets.raw_case import RawSet
from pipelines.datasets.report import Findings, counts, plain, write_contact_sheet, write_report
from pipelines.datasets.semi_seg_layout import find_semi_seg
from pipelines.datasets.splits import RULE, SECTIONS, Split, SplitCase, fold_cases, split_cases, split_warnings
from pipelines.errors import DatalistError, PipelinesError, UnreadableFileError, UsageError
from pipelines.readers import LABELS

logger = logging.getLogger(__name__)

NAME = "covid_ct"
PHANTOM_FORMATS = ("nifti", "dicom", "both")
MAX_SHOWN_FAULTS = 20
_LAYOUTS = (
    "ct_scans/ with lung_mask/ and infection_mask/ (COVID-19-CT-Seg); LungInfection-Train/ and LungInfection-Test/, "
    "or images/ with masks/ (COVID-SemiSeg); DICOM series folders with NIfTI masks of the same names"
)


@dataclass(frozen=True)
class Prepared:
    """What was written: the folder, cases a split, faults that were skipped and warnings (plain sentences)."""

    folder: Path
    split: Split
    left_out: list[str]
    warnings: list[str]


def prepare_covid_ct(
    raw: Path,
    out: Path,
    *,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int = 0,
    skip_bad: bool = False,
    force: bool = False,
    mask_values: str | None = None,
) -> Prepared:
    """Check a raw folder as a whole, then write it as a prepared folder that appears in one piece.

    Args:
        raw: a folder in one of the three layouts.
        out: where the prepared folder goes; absent, empty, or with `force` a prepared folder.
        seed, validation, test: see `split_cases`.
        folds: also write datalist_fold0.json ... for cross-validation; 0 for none.
        skip_bad: leave faulty cases out, and list them in the report.
        mask_values: what DICOM masks mean, see `find_dicom`.

    Raises:
        PipelinesError: of the first fault's kind, with up to 20 faults in its message; nothing is written then.
    """
    raw, out = Path(raw).absolute(), Path(out).absolute()
    if folds == 1 or folds < 0:
        raise UsageError("cross-validation needs at least two folds", where=str(folds))
    check_target(out, is_prepared, force)
    if out.resolve().is_relative_to(raw.resolve()) or raw.resolve().is_relative_to(out.resolve()):
        raise UsageError("raw and prepared data lie inside each other", where=out, how="choose another --out")
    try:
        raw_set = find_layout(raw, mask_values)
    except OSError as error:
        raise UnreadableFileError(
            f"cannot be read ({error.strerror})", where=error.filename or raw, how="check the path and its rights"
        ) from None
    checked, faults = _check_all(raw_set)
    if faults and not skip_bad:
        raise _joined(faults, len(raw_set.cases), raw)
    if not checked:
        raise _joined(faults, len(raw_set.cases), raw) if faults else DatalistError("there are no cases", where=raw)
    facts = [SplitCase(c.case, c.raw.patient, c.share, c.raw.official_test) for c in checked.values()]
    split = split_cases(facts, validation=validation, test=test, seed=seed)
    fold_splits = fold_cases(facts, folds, validation=validation, seed=seed) if folds else []

    kind = next(iter(checked.values())).kind
    warnings = raw_set.notes + split_warnings(split, facts, kind)
    left_out = [str(fault) for fault in faults]
    phantom = (raw / PHANTOM_MARK).is_file()
    near = near_pairs({name: c.look for name, c in checked.items()}, split)
    source = "drawn by `data phantom`" if phantom else str(raw)
    findings = Findings(raw_set.layout, source, phantom, raw_set.patients_known, warnings, left_out, near)
    with new_folder(out, is_prepared, force) as folder:
        (folder / "images").mkdir()
        (folder / "labels").mkdir()
        for c in checked.values():
            write_case(c, folder / _image(c), folder / _label(c))
        lists = {DATALIST: split} | {f"datalist_fold{k}.json": s for k, s in enumerate(fold_splits)}
        for name, part in lists.items():
            content = _datalist(folder, checked, part, findings, seed)
            write_datalist(folder / name, content)
            if name == DATALIST:
                write_report(folder / "report.md", checked, part, findings, content)
        write_contact_sheet(folder / "contact_sheet.png", checked, split)
    for text in warnings:
        logger.warning("%s", text)
    return Prepared(out, split, left_out, warnings)


def phantom_covid_ct(
    out: Path,
    *,
    cases: int = 12,
    size: int = 160,
    slices: int = 24,
    seed: int = 0,
    file_format: str = "nifti",
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
            phantom = make_lung_phantom(seed * 100_003 + i, size, slices, extent)
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


def is_prepared(folder: Path) -> bool:
    """Whether a folder was written by `prepare_covid_ct`: it holds a datalist with a fingerprint."""
    try:
        content = json.loads((folder / DATALIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and str(content.get("fingerprint", "")).startswith("sha256:")


def find_layout(raw: Path, mask_values: str | None = None) -> RawSet:
    """The one layout that a raw folder has.

    Raises:
        UnreadableFileError: no such folder. UsageError: none of the layouts, or more than one.
    """
    if not raw.is_dir():
        raise UnreadableFileError(
            "there is no such folder", where=raw, how="give the folder that the dataset was unpacked in"
        )
    if mask_values is not None and mask_values not in MASK_VALUES:
        raise UsageError(f"mask values {mask_values!r} are not known", how=f"choose one of {', '.join(MASK_VALUES)}")
    finders: tuple[Callable[[Path], RawSet | None], ...] = (find_ct_seg, find_semi_seg)
    found = [raw_set for raw_set in (find(raw) for find in finders) if raw_set is not None]
    if not found:
        inner = [d for d in sorted(raw.iterdir()) if d.is_dir() and any(find(d) is not None for find in finders)]
        if inner:
            raise UsageError("the dataset lies in a folder further in", where=raw, how=f"give {inner[0]}")
        dicom = find_dicom(raw, mask_values)
        found = [dicom] if dicom is not None else []
    elif mask_values is not None:
        raise UsageError(
            "--mask-values is for DICOM series with masks only",
            where=raw,
            how=f"this is {found[0].layout}: leave it out",
        )
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError("the folder holds two datasets", where=raw, how="prepare each from a folder of its own")
    raise UsageError("the folder has none of the layouts that are known", where=raw, how=f"these are: {_LAYOUTS}")


def _check_all(raw_set: RawSet) -> tuple[dict[str, CheckedCase], list[PipelinesError]]:
    faults = list(raw_set.faults)
    checked: dict[str, CheckedCase] = {}
    contents: dict[str, CheckedCase] = {}
    for raw in raw_set.cases:
        logger.info("checking %s", raw.case)
        try:
            case = check_case(raw_set, raw)
        except PipelinesError as fault:
            faults.append(fault)
            continue
        former = contents.setdefault(case.content, case)
        if former is not case:
            faults.append(
                DatalistError(f"the image equals {former.raw.image}", where=raw.image, how="keep one of the two")
            )
        elif raw.case in checked:
            faults.append(
                DatalistError(f"another case is called {raw.case}", where=raw.image, how="rename one of the two")
            )
        else:
            checked[raw.case] = case
    return checked, faults


def _joined(faults: list[PipelinesError], cases: int, raw: Path) -> PipelinesError:
    """One error for all faults, of the first one's kind."""
    if len(faults) == 1:
        return faults[0]
    shown = " | ".join(str(fault) for fault in faults[:MAX_SHOWN_FAULTS])
    more = f" | and {len(faults) - MAX_SHOWN_FAULTS} more" if len(faults) > MAX_SHOWN_FAULTS else ""
    what = f"{len(faults)} faults in a dataset of {cases} cases: {shown}{more}"
    return type(faults[0])(what, where=raw, how="mend them, or leave these cases out with --skip-bad")


def _image(c: CheckedCase) -> str:
    return f"images/{c.case}{c.suffix}"


def _label(c: CheckedCase) -> str:
    return f"labels/{c.case}{c.suffix}"


def _datalist(
    folder: Path, checked: dict[str, CheckedCase], split: Split, findings: Findings, seed: int
) -> dict[str, Any]:
    listed = [checked[name] for section in SECTIONS for name in split[section]]
    about = "Drawn phantoms, for trying commands only." if findings.phantom else "Lung CT with COVID-19 lesions."
    content: dict[str, Any] = {
        "name": f"{NAME}_phantom" if findings.phantom else NAME,
        "description": f"{about} Layout: {findings.layout}.",
        "fingerprint": fingerprint((folder / _image(c), folder / _label(c)) for c in listed),
        "labels": {str(value): word for value, word in LABELS.items()},
        "severity_scale": {"names": SEVERITY.names, "thresholds": SEVERITY.thresholds, "rule": str(SEVERITY)},
        "phantom": findings.phantom,
        "counts": counts(checked, split),
        "split": {"seed": seed, "rule": RULE, "patients_known": findings.patients_known},
        "left_out": [plain(text) for text in findings.left_out],
    }
    for section in SECTIONS:
        content[section] = [
            {
                "image": _image(c),
                "label": _label(c),
                "patient": c.raw.patient,
                "case": c.case,
                "lung": c.lung,
                "severity": c.severity.volume,
                "extent": None if c.severity.extent is None else round(c.severity.extent, 6),
                "slice_severity": c.severity.slices,
            }
            for c in (checked[name] for name in split[section])
        ]
    return content
