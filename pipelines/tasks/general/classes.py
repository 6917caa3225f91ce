"""Pictures of classes, a folder each: a raw folder to a prepared one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.files import safe_name
from pipelines.preparation.preparing import Preparation, Prepared
from pipelines.preparation.raw_case import RawCase
from pipelines.preparation.report import plain
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.splits import Split
from pipelines.tasks.general.class_checks import CheckedClass, check_class, write_class
from pipelines.tasks.general.class_layout import RawClasses, find_classes

NAME = "classes"
MAX_LISTED = 1000  # cases with a line each in the report
RULE = (
    "by patient; within each class patients at random in thirds of their names, then picked at equal steps; test/ "
    "stays the test set and val/ the validation set"
)


class Classes(Preparation[RawClasses, CheckedClass]):
    """Pictures, each of a class.

    Args:
        name: of the dataset.
        order: the class folders in their order; None for that of classes.json, or else by name.
    """

    about = "Pictures of classes."
    rule = RULE

    def __init__(self, name: str = NAME, order: Sequence[str] | None = None) -> None:
        self.name = name
        self._order = order

    def find(self, raw: Path) -> RawClasses:
        found = find_classes(raw, self._order)
        self.classes = found.names
        return found

    def check(self, folder: RawClasses, raw: RawCase) -> CheckedClass:
        assert raw.label is not None, "every folder is a class"
        return check_class(raw, folder.names[raw.label])

    def write(self, checked: CheckedClass, folder: Path) -> None:
        write_class(checked, folder / checked.image_name)

    def label(self, checked: CheckedClass) -> int:
        assert checked.raw.label is not None, "every folder is a class"
        return checked.raw.label

    def facts(self, checked: CheckedClass) -> dict[str, Any]:
        return {}

    def counts(self, checked: Mapping[str, CheckedClass], split: Split) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for section in SECTIONS:
            cases = [checked[name] for name in split[section]]
            number = Counter(c.name for c in cases)
            found[section] = {
                "cases": len(cases),
                "patients": len({c.raw.patient for c in cases}),
                "classes": {name: number[name] for name in self.classes.values()},
            }
        return found

    def tables(self, checked: Mapping[str, CheckedClass], split: Split) -> list[str]:
        names = list(self.classes.values())
        lines = [f"| split | pictures | patients | {' | '.join(map(plain, names))} |", f"|{'---|' * (3 + len(names))}"]
        for section, number in self.counts(checked, split).items():
            cells = [number["cases"], number["patients"], *(number["classes"][name] for name in names)]
            lines.append(f"| {section} | {' | '.join(map(str, cells))} |")
        lines += [
            "",
            "## Size and brightness",
            "",
            "| class | columns | rows | mean grey (0 to 255) |",
            "|---|---|---|---|",
        ]
        for name in names:
            cases = [c for c in checked.values() if c.name == name]
            cells = [_range([c.size[axis] for c in cases]) for axis in (0, 1)]
            lines.append(f"| {plain(name)} | {' | '.join(cells)} | {_range([c.mean for c in cases])} |")
        return [*lines, "", "Median (range). Classes that differ in size or brightness can be told apart by it."]

    def case_table(self, checked: Mapping[str, CheckedClass], split: Split) -> list[str]:
        if len(checked) > MAX_LISTED:
            return [f"There are {len(checked)} cases; datalist.json lists them."]
        lines = ["| case | patient | split | class | size | file |", "|---|---|---|---|---|---|"]
        for section in SECTIONS:
            for case in split[section]:
                c = checked[case]
                lines.append(
                    f"| {plain(c.case)} | {plain(c.raw.patient)} | {section} | {plain(c.name)} "
                    f"| {c.size[0]} x {c.size[1]} | {'copied' if c.copied else 'stored as PNG'} |"
                )
        return lines


def prepare_classes(
    raw: Path,
    out: Path,
    *,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int | str = 0,
    skip_bad: bool = False,
    force: bool = False,
    synthetic: Path | None = None,
    synthetic_share: float | None = None,
) -> Prepared:
    """Check a raw folder of classes as a whole, then write it as a prepared folder that appears in one piece.

    Of pictures that are equal one is kept, before all that of an official test set; equal pictures of two classes are a
    fault.

    Args:
        raw: class folders of pictures, see `find_classes`; `patients.csv` and `classes.json` may lie in it.
        out, seed, validation, test, folds, skip_bad, force, synthetic, synthetic_share:
            see `Preparation.run`. The dataset has the folder's name.
        classes: the class folders in their order; it counts before classes.json.

    Raises:
        PipelinesError: of the first fault's kind, with up to 20 faults in its message; nothing is written then.
    """
    return Classes(safe_name(Path(out).absolute().name), classes).run(
        raw, out, seed=seed, validation=validation, test=test, folds=folds, skip_bad=skip_bad, force=force,
        synthetic=synthetic, synthetic_share=synthetic_share,
    )  # fmt: skip


def _range(values: Sequence[float]) -> str:
    return f"{np.median(values):.0f} ({min(values):.0f} to {max(values):.0f})" if values else "none"
