"""Chest X-rays with or without pneumonia: raw folders, tables or arrays to a prepared folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pipelines.preparation.datalist import UNKNOWN
from pipelines.preparation.preparing import Preparation, Prepared
from pipelines.preparation.raw_case import RawCase
from pipelines.preparation.report import plain
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.splits import CLASS_RULE, Split
from pipelines.tasks.chest_xray.checks import CheckedXray, check_xray, write_xray
from pipelines.tasks.chest_xray.layouts import find_chest_xray
from pipelines.tasks.chest_xray.source import SUBTYPES, XRAY_CLASSES, RawXrays, read_xray_file

NAME = "chest_xray"
MAX_LISTED = 1000  # cases with a line each in the report
_NORMAL, _PNEUMONIA = XRAY_CLASSES[0], XRAY_CLASSES[1]


class ChestXray(Preparation[RawXrays, CheckedXray]):
    """Chest X-rays, each normal or with pneumonia."""

    name = NAME
    about = "Chest X-rays, normal or with pneumonia."
    classes = XRAY_CLASSES
    words: ClassVar[Mapping[str, Sequence[str]]] = {"subtype": ()}
    rule = CLASS_RULE

    def find(self, raw: Path) -> RawXrays:
        return find_chest_xray(raw)

    def check(self, folder: RawXrays, raw: RawCase) -> CheckedXray:
        assert raw.label is not None, "every layout gives the class"
        return check_xray(folder, raw, raw.label)

    def check_synthetic(self, folder: RawXrays, raw: RawCase) -> CheckedXray:
        return self.check(replace(folder, read=read_xray_file), raw)  # the real ones may be arrays

    def write(self, checked: CheckedXray, folder: Path) -> None:
        write_xray(checked, folder / checked.image_name)

    def label(self, checked: CheckedXray) -> int:
        return checked.label

    def facts(self, checked: CheckedXray) -> dict[str, Any]:
        return {"subtype": checked.raw.subtype}

    def stratum(self, checked: CheckedXray) -> str:
        return checked.raw.subtype or ""

    def counts(self, checked: Mapping[str, CheckedXray], split: Split) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for section in SECTIONS:
            cases = [checked[name] for name in split[section]]
            classes = Counter(XRAY_CLASSES[c.label] for c in cases)
            subtypes = Counter(c.raw.subtype or UNKNOWN for c in cases if XRAY_CLASSES[c.label] == _PNEUMONIA)
            found[section] = {
                "cases": len(cases),
                "patients": len({c.raw.patient for c in cases}),
                "classes": {name: classes[name] for name in XRAY_CLASSES.values()},
                "subtypes": {name: subtypes[name] for name in (*SUBTYPES, UNKNOWN)},
            }
        return found

    def tables(self, checked: Mapping[str, CheckedXray], split: Split) -> list[str]:
        names = (*XRAY_CLASSES.values(), *(f"{_PNEUMONIA}: {subtype}" for subtype in (*SUBTYPES, UNKNOWN)))
        lines = [
            f"| split | pictures | patients | {' | '.join(names)} | {_PNEUMONIA}, share |",
            f"|---|---|---|{'---|' * len(names)}---|",
        ]
        numbers = self.counts(checked, split)
        for section, number in numbers.items():
            cells = [*number["classes"].values(), *number["subtypes"].values()]
            share = 100 * number["classes"][_PNEUMONIA] / number["cases"]
            lines.append(
                f"| {section} | {number['cases']} | {number['patients']} | {' | '.join(map(str, cells))} "
                f"| {share:.1f} % |"
            )
        lines += ["", "## Size and brightness", ""]
        lines += ["| split | class | columns | rows | mean grey (0 to 255) |", "|---|---|---|---|---|"]
        for section in SECTIONS:
            for value, name in XRAY_CLASSES.items():
                cases = [c for c in (checked[case] for case in split[section]) if c.label == value]
                sizes = [_range([c.size[axis] for c in cases]) for axis in (0, 1)]
                lines.append(
                    f"| {section} | {name} | {' | '.join(sizes)} | {_range([c.mean for c in cases], decimals=1)} |"
                )
        lines += [
            "",
            "Median (range) of the pictures. Classes that differ in size or brightness can be told apart by it.",
        ]
        return lines

    def case_table(self, checked: Mapping[str, CheckedXray], split: Split) -> list[str]:
        if len(checked) > MAX_LISTED:
            return [f"There are {len(checked)} cases; datalist.json lists them."]
        lines = [
            "| case | patient | split | class | subtype | size | mean grey | file |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for section in SECTIONS:
            for name in split[section]:
                c = checked[name]
                lines.append(
                    f"| {plain(c.case)} | {plain(c.raw.patient)} | {section} | {XRAY_CLASSES[c.label]} "
                    f"| {c.raw.subtype or ''} | {c.size[0]} x {c.size[1]} | {c.mean:.1f} "
                    f"| {'copied' if c.copied else 'stored as PNG'} |"
                )
        return lines


def prepare_chest_xray(
    raw: Path,
    out: Path,
    *,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int | str = 0,
    skip_bad: bool = False,
    force: bool = False,
    synthetic: Path | None = None,
    synthetic_share: float | None = None,
) -> Prepared:
    """Check raw chest X-rays as a whole, then write them as a prepared folder that appears in one piece.

    Of pictures that are equal one is kept, before all that of an official test set; equal pictures of two classes are a
    fault.

    Args:
        raw: a folder, .npz or .csv file in one of the layouts, see `find_chest_xray`.
        out, seed, validation, test, folds, skip_bad, force, synthetic, synthetic_share:
            see `Preparation.run`. An official test set stays the test
            set, and an official validation set (of arrays or tables) the validation set.

    Raises:
        PipelinesError: of the first fault's kind, with up to 20 faults in its message; nothing is written then.
    """
    return ChestXray().run(
        raw, out, seed=seed, validation=validation, test=test, folds=folds, skip_bad=skip_bad, force=force,
        synthetic=synthetic, synthetic_share=synthetic_share,
    )  # fmt: skip


def _range(values: Sequence[float], decimals: int = 0) -> str:
    if not values:
        return "none"
    shown = (np.median(values), min(values), max(values))
    middle, low, high = (f"{value:.{decimals}f}" for value in shown)
    return f"{middle} ({low} to {high})"
