"""Images with masks, of any organ and any number of labels: a raw folder to a prepared one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.files import safe_name
from pipelines.preparation.preparing import Preparation, Prepared
from pipelines.preparation.raw_case import RawCase
from pipelines.preparation.report import plain, spread
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.showing import colour_of
from pipelines.preparation.splits import Split
from pipelines.tasks.general.image_files import PICTURE
from pipelines.tasks.general.label_numbers import number_labels
from pipelines.tasks.general.pair_checks import EMPTY, CheckedPair, check_pair, write_pair
from pipelines.tasks.general.pair_layout import RawPairs, find_pairs

NAME = "pairs"
MAX_LISTED = 1000  # cases with a line each in the report
RULE = (
    "by patient; within each set of labels that masks hold, patients ordered by tercile of the labelled share and at "
    "random within it, then picked at equal steps"
)


class Pairs(Preparation[RawPairs, CheckedPair]):
    """Images with masks.

    Args:
        name: of the dataset.
        given: names of the masks' values in their order, background first; None for those of labels.json.
    """

    about = "Images with masks."
    rule = RULE

    def __init__(self, name: str = NAME, given: Sequence[str] | None = None) -> None:
        self.name = name
        self._given = given
        self._notes: list[str] = []

    def find(self, raw: Path) -> RawPairs:
        self._raw = raw
        return find_pairs(raw)

    def check(self, folder: RawPairs, raw: RawCase) -> CheckedPair:
        return check_pair(raw, folder.kind)

    def settle(self, folder: RawPairs, checked: dict[str, CheckedPair]) -> dict[str, CheckedPair]:
        masks = [tuple(c.voxels) for c in checked.values()]
        found = number_labels(masks, self._raw, named=folder.names, given=self._given)
        self.labels = found.names
        self.outlines = [(number, colour_of(number)) for number in sorted(found.names) if number]
        self._notes = list(found.notes)
        return {name: c.numbered(found.numbers) for name, c in checked.items()}

    def write(self, checked: CheckedPair, folder: Path) -> None:
        write_pair(checked, folder)

    def label(self, checked: CheckedPair) -> str:
        return checked.label_name

    def facts(self, checked: CheckedPair) -> dict[str, Any]:
        return {}

    def stratum(self, checked: CheckedPair) -> str:
        return " ".join(map(str, checked.shares()))

    def counts(self, checked: Mapping[str, CheckedPair], split: Split) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for section in SECTIONS:
            cases = [checked[name] for name in split[section]]
            found[section] = {
                "cases": len(cases),
                "patients": len({c.raw.patient for c in cases}),
                "labels": {
                    name: sum(number in c.shares() for c in cases) for number, name in self.labels.items() if number
                },
            }
        return found

    def warnings(self, checked: Mapping[str, CheckedPair], split: Split) -> list[str]:
        numbers = self.counts(checked, split)
        held = {name for section in SECTIONS for name, number in numbers[section]["labels"].items() if number}
        found = [
            f"The {section} set has no case with {name}."
            for section in SECTIONS
            for name, number in numbers[section]["labels"].items()
            if number == 0 and name in held
        ]
        empty = sum(EMPTY in c.notes for c in checked.values())
        if empty:
            found.append(f"Masks that are all background: {empty}. Complete those in which something is missing.")
        return self._notes + found

    def tables(self, checked: Mapping[str, CheckedPair], split: Split) -> list[str]:
        numbers = self.counts(checked, split)
        lines = ["| split | cases | patients | labelled share, median (range) |", "|---|---|---|---|"]
        for section, number in numbers.items():
            shares = spread([checked[name].share for name in split[section]])
            lines.append(f"| {section} | {number['cases']} | {number['patients']} | {shares} |")
        lines += ["", "The labelled share is all labels over the whole image.", "", "## Labels", ""]
        lines += ["| value | label | in the masks | " + " | ".join(SECTIONS) + " | share where it is, median (range) |"]
        lines += ["|---|---|---|---|---|---|---|"]
        numbered = next(iter(checked.values())).numbers
        for label, name in self.labels.items():
            if label:
                stored = sorted(v for v in _held(checked) if numbered[v] == label)
                cells = " | ".join(str(numbers[section]["labels"][name]) for section in SECTIONS)
                shares = spread([c.shares()[label] for c in checked.values() if label in c.shares()])
                shown = ", ".join(map(str, stored)) or "none"
                lines.append(f"| {label} | {plain(name)} | {shown} | {cells} | {shares} |")
        lines += ["", "## Size", "", "| | median | least | most |", "|---|---|---|---|"]
        if any(c.kind == PICTURE for c in checked.values()):
            lines += [
                _range(name, [c.shape[k] for c in checked.values()]) for k, name in enumerate(("columns", "rows"))
            ]
            return lines
        axial = [c.axial for c in checked.values()]
        for k, name in enumerate(("left to right", "front to back", "feet to head")):
            lines.append(_range(f"{name}, voxels", [each[k][0] for each in axial]))
            lines.append(_range(f"{name}, mm a voxel", [each[k][1] for each in axial]))
        return lines

    def case_table(self, checked: Mapping[str, CheckedPair], split: Split) -> list[str]:
        if len(checked) > MAX_LISTED:
            return [f"There are {len(checked)} cases; datalist.json lists them."]
        head = ("case", "patient", "split", "size", "spacing in mm", "labels", "labelled share")
        lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        for section in SECTIONS:
            for name in split[section]:
                c = checked[name]
                spacing = " x ".join(f"{step:.3g}" for step in c.spacing) if c.spacing else "unknown"
                labels = ", ".join(plain(self.labels[number]) for number in c.shares()) or "none"
                lines.append(
                    f"| {plain(c.case)} | {plain(c.raw.patient)} | {section} | {' x '.join(map(str, c.shape))} "
                    f"| {spacing} | {labels} | {100 * c.share:.2f} % |"
                )
        return lines


def prepare_pairs(
    raw: Path,
    out: Path,
    *,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int | str = 0,
    skip_bad: bool = False,
    force: bool = False,
) -> Prepared:
    """Check a raw folder of images with masks as a whole, then write it as a prepared folder that appears in one piece.

    Args:
        raw: pictures or volumes with masks, see `find_pairs`; `patients.csv` and `labels.json` may lie in it.
        out, seed, validation, test, folds, skip_bad, force: see `Preparation.run`. The dataset has the folder's name.
        labels: names of the masks' values in their order, background first; they count before labels.json.

    Raises:
        PipelinesError: of the first fault's kind, with up to 20 faults in its message; nothing is written then.
    """
    return Pairs(safe_name(Path(out).absolute().name), labels).run(
        raw, out, seed=seed, validation=validation, test=test, folds=folds, skip_bad=skip_bad, force=force
    )


def _held(checked: Mapping[str, CheckedPair]) -> set[int]:
    return {value for c in checked.values() for value in c.voxels}


def _range(name: str, values: Sequence[float]) -> str:
    return f"| {name} | {np.median(values):.4g} | {min(values):.4g} | {max(values):.4g} |"
