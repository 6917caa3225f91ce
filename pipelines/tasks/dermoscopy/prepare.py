"""Dermoscopic pictures with skin lesions: raw folders in four layouts to a prepared folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pipelines.errors import UsageError
from pipelines.preparation.corrected import KNOWN
from pipelines.preparation.datalist import UNKNOWN
from pipelines.preparation.known_layouts import matching_layouts, only_layout
from pipelines.preparation.preparing import Preparation, Prepared
from pipelines.preparation.raw_case import RawCase, RawFolder
from pipelines.preparation.report import plain, spread
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.splits import STRATIFIED_RULE, Split
from pipelines.tasks.dermoscopy.checks import CheckedPicture, check_picture, write_picture
from pipelines.tasks.dermoscopy.corrected_layout import find_corrected_pictures
from pipelines.tasks.dermoscopy.joined_sets import joined_sets, look_alikes, with_test_names
from pipelines.tasks.dermoscopy.layouts import find_isic2016, find_ph2, find_plain

SKIN_LABELS = {0: "background", 1: "lesion"}
# Okabe and Ito's sky blue: skin and lesions are red, brown and black, and have none of it.
OUTLINE = (86, 180, 233)
_SHOWN_LIKES = 5
_PLAIN = "images/ with masks/ and perhaps diagnosis.csv"
_ISIC = "ISBI2016_ISIC_Part1_Training_Data/ with ISBI2016_ISIC_Part1_Training_GroundTruth/ (ISIC 2016)"
_PH2 = "PH2 Dataset images/ (PH2)"
Finder = Callable[[Path], RawFolder | None]
# name of a dataset: the layouts that it comes in, and what they are called
NAMES: dict[str, tuple[tuple[Finder, ...], str]] = {
    "isic2016": ((find_isic2016, find_plain), f"{_ISIC}; {_PLAIN}"),
    "ph2": ((find_ph2, find_plain), f"{_PH2}; {_PLAIN}"),
    "skin_lesions": (
        (find_isic2016, find_ph2, find_plain, find_corrected_pictures),
        f"{_ISIC}; {_PH2}; {_PLAIN}; {KNOWN}",
    ),
}


class SkinLesions(Preparation[RawFolder, CheckedPicture]):
    """Dermoscopic pictures with lesion masks.

    Args:
        name: one of `NAMES`; it says which layouts are taken.
        further_raw: raw folders whose pictures are prepared together with those of the first.
        test_names: a file that names the pictures of the test set, see `with_test_names`.
    """

    about = "Dermoscopic pictures with skin lesions."
    labels = SKIN_LABELS
    sought = "lesions"
    words: ClassVar[Mapping[str, Sequence[str]]] = {"diagnosis": (), "source": ()}
    rule = f"of joined folders by themselves, {STRATIFIED_RULE}; pictures that look alike are one patient's"
    outlines = ((1, OUTLINE),)

    def __init__(self, name: str, further_raw: Sequence[Path] = (), test_names: Path | None = None) -> None:
        self.name = name
        self.further_raw = further_raw
        self.test_names = test_names
        self.likes: list[list[str]] = []

    def find(self, raw: Path) -> RawFolder:
        finders, known = NAMES[self.name]
        folders = [raw, *(Path(folder).absolute() for folder in self.further_raw)]
        found = [only_layout(matching_layouts(folder, finders), folder, known) for folder in folders]
        return with_test_names(joined_sets(folders, found), self.test_names)

    def check(self, folder: RawFolder, raw: RawCase) -> CheckedPicture:
        return check_picture(raw)

    def settle(self, folder: RawFolder, checked: dict[str, CheckedPicture]) -> dict[str, CheckedPicture]:
        """Pictures that look alike, and whose patients nobody named, are one patient's: no split divides them. Where
        one of them is tested, all are; but an official test set stays what it is."""
        settled = dict(checked)
        self.likes = look_alikes(checked)
        for names in self.likes:
            tested = {checked[name].raw.official_test for name in names}
            for name in names:
                raw = checked[name].raw
                if len(tested) > 1 and self.test_names is None:  # reported as alike in different splits
                    patient = f"{names[0]}-{'test' if raw.official_test else 'training'}"
                else:
                    patient = names[0]
                    raw = replace(raw, official_test=any(tested))
                settled[name] = replace(checked[name], raw=replace(raw, patient=patient))
        return settled

    def write(self, checked: CheckedPicture, folder: Path) -> None:
        write_picture(checked, folder / checked.image_name, folder / checked.label_name)

    def label(self, checked: CheckedPicture) -> str:
        return checked.label_name

    def facts(self, checked: CheckedPicture) -> dict[str, Any]:
        return {"diagnosis": checked.raw.diagnosis, "source": checked.raw.source}

    def stratum(self, checked: CheckedPicture) -> str:
        own = checked.raw.diagnosis or ""
        return f"{checked.raw.source}: {own}" if self.further_raw else own

    def counts(self, checked: Mapping[str, CheckedPicture], split: Split) -> dict[str, dict[str, Any]]:
        names = _diagnoses(checked)
        found = {}
        for section in SECTIONS:
            cases = [checked[name] for name in split[section]]
            number = Counter(_diagnosis(c) for c in cases)
            found[section] = {
                "cases": len(cases),
                "patients": len({c.raw.patient for c in cases}),
                "diagnoses": {name: number[name] for name in names},
                "sources": dict(sorted(Counter(c.raw.source for c in cases).items())),
            }
        return found

    def warnings(self, checked: Mapping[str, CheckedPicture], split: Split) -> list[str]:
        numbers = self.counts(checked, split)
        found = [
            f"The {section} set has no picture with the diagnosis {name}."
            for section in SECTIONS
            for name, number in numbers[section]["diagnoses"].items()
            if number == 0 and name != UNKNOWN
        ]
        if self.likes:
            shown = "; ".join(" and ".join(names) for names in self.likes[:_SHOWN_LIKES])
            more = ", ..." if len(self.likes) > _SHOWN_LIKES else ""
            found.append(
                f"{sum(map(len, self.likes))} pictures look like another; each of their {len(self.likes)} groups is "
                f"taken as one patient's: {shown}{more}"
            )
        return found

    def tables(self, checked: Mapping[str, CheckedPicture], split: Split) -> list[str]:
        lines = ["| split | pictures | patients | lesion share, median (range) |", "|---|---|---|---|"]
        numbers = self.counts(checked, split)
        for section, number in numbers.items():
            shares = spread([checked[name].share for name in split[section]])
            lines.append(f"| {section} | {number['cases']} | {number['patients']} | {shares} |")
        lines += ["", "The lesion share is lesion over all pixels of the picture.", "", "## Diagnosis", ""]
        lines += [
            "| diagnosis | training | validation | test | lesion share, median (range) |",
            "|---|---|---|---|---|",
        ]
        for name in _diagnoses(checked):
            cells = " | ".join(str(numbers[section]["diagnoses"][name]) for section in SECTIONS)
            shares = spread([c.share for c in checked.values() if _diagnosis(c) == name])
            lines.append(f"| {plain(name)} | {cells} | {shares} |")
        sources = sorted({str(c.raw.source) for c in checked.values()})
        if len(sources) > 1:
            lines += ["", "## Source", "", "| source | training | validation | test | lesion share, median (range) |"]
            lines.append("|---|---|---|---|---|")
            for name in sources:
                cells = " | ".join(str(numbers[section]["sources"].get(name, 0)) for section in SECTIONS)
                shares = spread([c.share for c in checked.values() if str(c.raw.source) == name])
                lines.append(f"| {plain(name)} | {cells} | {shares} |")
        return lines

    def case_table(self, checked: Mapping[str, CheckedPicture], split: Split) -> list[str]:
        lines = [
            "| case | patient | split | size | diagnosis | lesion share | file |",
            "|---|---|---|---|---|---|---|",
        ]
        for section in SECTIONS:
            for name in split[section]:
                c = checked[name]
                lines.append(
                    f"| {plain(c.case)} | {plain(c.raw.patient)} | {section} | {c.size[0]} x {c.size[1]} "
                    f"| {plain(_diagnosis(c))} | {100 * c.share:.2f} % | {'copied' if c.copied else 'stored as PNG'} |"
                )
        return lines


def prepare_skin_lesions(
    name: str,
    raw: Path,
    out: Path,
    *,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int | str = 0,
    skip_bad: bool = False,
    force: bool = False,
    further_raw: Sequence[str | Path] = (),
    test_names: str | Path | None = None,
) -> Prepared:
    """Check a raw folder as a whole, then write it as a prepared folder that appears in one piece.

    Args:
        name: "isic2016" or "ph2", each as released or as plain images/ and masks/; "skin_lesions" for any of these.
        raw: the raw folder.
        out, seed, validation, test, folds, skip_bad, force: see `Preparation.run`. An official test set stays the test
            set; cases of one diagnosis (of one source and diagnosis, where folders are joined) are spread over the
            splits.
        further_raw: further folders, each in one of the layouts, whose pictures join.
        test_names: a file with the names of the pictures that are the test set, a line each.

    Raises:
        UsageError: another name, or a folder in none of the layouts.
        PipelinesError: of the first fault's kind, with up to 20 faults in its message; nothing is written then.
    """
    if name not in NAMES:
        raise UsageError(f"there is no dataset {name!r} of skin lesions", how=f"choose one of {', '.join(NAMES)}")
    names = None if test_names is None else Path(test_names)
    return SkinLesions(name, [Path(folder) for folder in further_raw], names).run(
        raw, out, seed=seed, validation=validation, test=test, folds=folds, skip_bad=skip_bad, force=force
    )


def _diagnosis(checked: CheckedPicture) -> str:
    return checked.raw.diagnosis or UNKNOWN


def _diagnoses(checked: Mapping[str, CheckedPicture]) -> list[str]:
    """All diagnoses by name, the unknown last."""
    return sorted({_diagnosis(c) for c in checked.values()}, key=lambda name: (name == UNKNOWN, name))
