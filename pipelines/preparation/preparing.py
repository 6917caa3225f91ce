"""What preparing any dataset is: everything checked first, then a folder that appears in one piece."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import DatalistError, PipelinesError, UnreadableFileError, UsageError
from pipelines.preparation.audit import report_lines
from pipelines.preparation.datalist import DATALIST, fingerprint, is_prepared, write_datalist
from pipelines.preparation.joined_faults import joined
from pipelines.preparation.likeness import near_pairs
from pipelines.preparation.new_folder import check_target, new_folder
from pipelines.preparation.one_spelling import one_spelling
from pipelines.preparation.phantom_mark import PHANTOM_MARK
from pipelines.preparation.raw_case import RawCase, RawFolder
from pipelines.preparation.report import Colour, Findings, noted, plain, write_contact_sheet, write_report
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.splits import (
    LEFT_OUT_RULE,
    RULE,
    Split,
    SplitCase,
    check_folds,
    fold_cases,
    leave_one_out,
    split_cases,
    split_warnings,
)
from pipelines.preparation.synthetic import (
    SyntheticPicture,
    check_request,
    check_synthetic,
    copy_synthetic,
    read_synthetic,
    refuse_synthetic,
    synthetic_facts,
    synthetic_lines,
    synthetic_warnings,
)

logger = logging.getLogger(__name__)


class Checked(Protocol):
    """A case that may be written, small enough to keep for all cases at once."""

    @property
    def raw(self) -> RawCase: ...
    @property
    def case(self) -> str: ...
    @property
    def kind(self) -> str:
        """picture or volume"""

    @property
    def share(self) -> float:
        """lesion over what it can fill (0..1); 0 where there are no masks"""

    @property
    def content(self) -> str:
        """equal for equal images"""

    @property
    def look(self) -> NDArray[np.bool_]:
        """see `perceptual_hash`"""

    @property
    def tile(self) -> NDArray[np.uint8]: ...
    @property
    def tile_label(self) -> NDArray[np.uint8]: ...
    @property
    def caption(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def image_name(self) -> str:
        """path in the prepared folder"""


F = TypeVar("F", bound=RawFolder)
C = TypeVar("C", bound=Checked)


@dataclass(frozen=True)
class Prepared:
    """What was written: the folder, cases a split, faults that were skipped and warnings (plain sentences)."""

    folder: Path
    split: Split
    left_out: list[str]
    warnings: list[str]


class Preparation(ABC, Generic[F, C]):
    """One kind of data: how it is found, checked, written and described; `run` does the rest.

    Attributes:
        name: of the dataset, as it stands in the datalist.
        about: what the data are, a sentence.
        labels: value of a mask to name; empty in a dataset of classes.
        classes: number to name, where each case is of a class and has no mask. Of equal images of one class one is
            kept then, and of one in an official set that one; elsewhere equal images are a fault.
        rule: of the splits, for the datalist.
        words: what entries say of a case in a word, which a bundle may ask for (a diagnosis): key, and the words that
            there are (none: any). Null where it is not known.
        outlines: label values and colours for the contact sheet: a line around all that has the value or a higher one.
        sought: what masks are of, in messages; each split has a case with some.
        source: where the data come from, for the report; None: the raw folder's path.
    """

    name: str
    about: ClassVar[str]
    labels: Mapping[int, str] = MappingProxyType({})
    classes: Mapping[int, str] = MappingProxyType({})
    rule: ClassVar[str] = RULE
    outlines: Sequence[tuple[int, Colour]] = ()
    sought: ClassVar[str] = "anything labelled"
    words: ClassVar[Mapping[str, Sequence[str]]] = {}
    source: str | None = None

    @abstractmethod
    def find(self, raw: Path) -> F:
        """The cases below a raw folder. Raises UnreadableFileError, UsageError."""

    @abstractmethod
    def check(self, folder: F, raw: RawCase) -> C:
        """Read a case. Raises a PipelinesError of the kind of its first fault."""

    def check_synthetic(self, folder: F, raw: RawCase) -> C:
        """Read a generated picture, a file of its own. Raises as `check`."""
        return self.check(folder, raw)

    @abstractmethod
    def write(self, checked: C, folder: Path) -> None:
        """Write a case's files. Raises UnreadableFileError where the raw data changed since."""

    @abstractmethod
    def label(self, checked: C) -> str | int:
        """The path of a case's mask in the prepared folder, or its class."""

    @abstractmethod
    def facts(self, checked: C) -> dict[str, Any]:
        """What a datalist's entry says beside image, label, patient and case."""

    @abstractmethod
    def counts(self, checked: Mapping[str, C], split: Split) -> dict[str, dict[str, Any]]:
        """Numbers of each section, for the datalist."""

    @abstractmethod
    def tables(self, checked: Mapping[str, C], split: Split) -> list[str]:
        """The report's lines on each section, in Markdown."""

    @abstractmethod
    def case_table(self, checked: Mapping[str, C], split: Split) -> list[str]:
        """The report's table with a line a case, in Markdown."""

    def settle(self, folder: F, checked: dict[str, C]) -> dict[str, C]:
        """What all cases together say, such as which values their masks have: the cases as they are to be written.

        Raises PipelinesError.
        """
        return checked

    def head(self) -> dict[str, Any]:
        """What the datalist says of the dataset beside what all say."""
        return {}

    def stratum(self, checked: C) -> str:
        """What is spread evenly over the splits beside the share of what is segmented; "" for nothing."""
        return ""

    def warnings(self, checked: Mapping[str, C], split: Split) -> list[str]:
        """What is allowed and still weakens figures, beside what `split_warnings` finds."""
        return []

    def run(
        self,
        raw: Path,
        out: Path,
        *,
        seed: int,
        validation: float,
        test: float,
        folds: int | str,
        skip_bad: bool,
        force: bool,
        synthetic: Path | None = None,
        synthetic_share: float | None = None,
    ) -> Prepared:
        """Check a raw folder as a whole, then write it as a prepared folder that appears in one piece.

        Args:
            raw: a folder (or a file) in a layout that `find` knows.
            out: where the prepared folder goes; absent, empty, or with `force` a prepared folder.
            seed, validation, test: see `split_cases`.
            folds: also write datalist_fold0.json ... for cross-validation: how many, 0 for none; or one of `words`,
                each of whose values is left out by one of them (leave-one-source-out).
            skip_bad: leave faulty cases out, and list them in the report.
            synthetic: a folder of generated pictures, which join training and nothing else (`read_synthetic`).
            synthetic_share: how many of them: of each class this share of the real ones in training; None for all.

        Raises:
            PipelinesError: of the first fault's kind, with up to 20 faults in its message; nothing is written then.
        """
        raw, out = Path(raw).absolute(), Path(out).absolute()
        check_folds(folds, self.words)
        check_request(synthetic, synthetic_share, bool(folds))
        check_target(out, is_prepared, force)
        if out.resolve().is_relative_to(raw.resolve()) or raw.resolve().is_relative_to(out.resolve()):
            raise UsageError("raw and prepared data lie inside each other", where=out, how="choose another --out")
        try:
            found = one_spelling(self.find(raw))
        except OSError as error:
            raise UnreadableFileError(
                f"cannot be read ({error.strerror})", where=error.filename or raw, how="check the path and its rights"
            ) from None
        checked, faults, duplicates = self._check_all(found)
        if faults and not skip_bad:
            raise joined(faults, len(found.cases), raw)
        if not checked:
            raise joined(faults, len(found.cases), raw) if faults else DatalistError("there are no cases", where=raw)
        checked = self.settle(found, checked)
        for value, name in self.classes.items():
            if all(c.raw.label != value for c in checked.values()):
                raise DatalistError(
                    f"no case is {name}: the class is empty", where=raw, how=f"add cases that are {name}"
                )
        facts = [self._split_case(c) for c in checked.values()]
        split = split_cases(facts, validation=validation, test=test, seed=seed, sought=self.sought)
        if isinstance(folds, str):
            words = {c.case: self.facts(c)[folds] for c in checked.values()}
            fold_splits = leave_one_out(facts, folds, words, validation=validation, seed=seed, sought=self.sought)
        else:
            fold_splits = (
                fold_cases(facts, folds, validation=validation, seed=seed, sought=self.sought) if folds else []
            )

        real = Counter(self.classes[checked[name].raw.label or 0] for name in split["training"]) if self.classes else {}
        added: list[tuple[SyntheticPicture, C]] = []
        if synthetic is not None:
            number, check = self._number, partial(self.check_synthetic, found)
            added, bad = check_synthetic(
                read_synthetic(synthetic), synthetic_share, real, number, check, skip_bad=skip_bad
            )
            faults += bad

        kind = next(iter(checked.values())).kind
        warnings = found.notes + split_warnings(split, facts, kind, self.sought) + self.warnings(checked, split)
        left_out = [str(fault) for fault in faults]
        held = {checked[name].raw.patient for section in ("validation", "test") for name in split[section]}
        warnings += synthetic_warnings([picture for picture, _ in added], held)
        phantom = (raw / PHANTOM_MARK).is_file()
        looks = {name: c.look for name, c in checked.items()}
        near = near_pairs(looks, split)
        for k, part in enumerate(fold_splits):
            pairs = near_pairs(looks, part)
            if pairs:
                shown = "; ".join(f"{first} and {second}" for first, second, _ in pairs[:5])
                warnings.append(f"Fold {k} has {len(pairs)} pairs that look alike in different splits: {shown}.")
        source = "drawn by `data phantom`" if phantom else self.source or str(raw)
        findings = Findings(found.layout, source, phantom, found.patients_known, warnings, left_out, near, duplicates)
        with new_folder(out, is_prepared, force) as folder:
            (folder / "images").mkdir()
            if self.labels:
                (folder / "labels").mkdir()
            for c in checked.values():
                self.write(c, folder)
            for picture, c in added:
                copy_synthetic(picture, folder / c.image_name)
            lists: dict[str, Split] = {DATALIST: split} | {
                f"datalist_fold{k}.json": s for k, s in enumerate(fold_splits)
            }
            whole = self._fingerprint(folder, checked.values()) if isinstance(folds, str) else ""
            for name, part in lists.items():
                about: dict[str, Any] = {"seed": seed, "rule": self.rule}
                if whole and name != DATALIST:
                    value = words[part["test"][0]]
                    about |= {"rule": LEFT_OUT_RULE + self.rule, "left_out": {folds: value}, "prepared": whole}
                content = self._datalist(folder, checked, part, findings, about, added)
                write_datalist(folder / name, content)
                if name == DATALIST:
                    findings = replace(findings, audit=report_lines(folder / name, near))
                    self._report(folder / "report.md", checked, part, findings, content)
            write_contact_sheet(folder / "contact_sheet.png", checked, split, self.outlines)
        for text in warnings:
            logger.warning("%s", text)
        return Prepared(out, split, left_out, warnings)

    def _split_case(self, c: C) -> SplitCase:
        return SplitCase(
            case=c.case,
            patient=c.raw.patient,
            share=c.share,
            official_test=c.raw.official_test,
            stratum=self.stratum(c),
            group="" if c.raw.label is None else self.classes[c.raw.label],
            official_validation=c.raw.official_validation,
        )

    def _check_all(self, found: F) -> tuple[dict[str, C], list[PipelinesError], list[str]]:
        """The cases that may be written, by name; what is wrong; and which equal images were left out."""
        faults = list(found.faults)
        checked: dict[str, C] = {}
        contents: dict[str, C] = {}
        duplicates: list[str] = []
        cases = found.cases
        if self.classes:  # of equal images the first is kept
            cases = sorted(cases, key=lambda raw: (not raw.official_test, not raw.official_validation))
        for raw in cases:
            logger.info("checking %s", raw.case)
            try:
                refuse_synthetic(raw.image)
                case = self.check(found, raw)
            except PipelinesError as fault:
                faults.append(fault)
                continue
            former = contents.setdefault(case.content, case)
            if former is not case and self.classes and former.raw.label == raw.label:
                duplicates.append(f"{raw.case} equals {former.case}")
            elif former is not case:
                faults.append(self._equal(former.raw, raw))
                if raw.label != former.raw.label and not former.raw.official_test:
                    checked.pop(former.case, None)  # nobody knows which class is right
            elif raw.case in checked:
                faults.append(
                    DatalistError(f"another case is called {raw.case}", where=raw.image, how="rename one of the two")
                )
            else:
                checked[raw.case] = case
        return checked, faults, duplicates

    def _equal(self, former: RawCase, raw: RawCase) -> DatalistError:
        what = f"the image equals {former.image}"
        if former.label is None or raw.label is None:
            return DatalistError(what, where=raw.image, how="keep one of the two")
        what += f", which is said to be {self.classes[former.label]}, and this one {self.classes[raw.label]}"
        return DatalistError(what, where=raw.image, how="find out which is right, and keep that one")

    def _datalist(
        self,
        folder: Path,
        checked: Mapping[str, C],
        split: Split,
        findings: Findings,
        about: Mapping[str, Any],
        added: Sequence[tuple[SyntheticPicture, C]],
    ) -> dict[str, Any]:
        listed = [checked[name] for section in SECTIONS for name in split[section]] + [c for _, c in added]
        named = {"classes": self.classes} if self.classes else {"labels": self.labels}
        drawn = "Drawn phantoms, for trying commands only." if findings.phantom else self.about
        content: dict[str, Any] = {
            "name": f"{self.name}_phantom" if findings.phantom else self.name,
            "description": f"{drawn} Layout: {findings.layout}.",
            "fingerprint": self._fingerprint(folder, listed),
            **{key: {str(value): word for value, word in names.items()} for key, names in named.items()},
            "facts": {key: list(words) for key, words in self.words.items()},
            **self.head(),
            "phantom": findings.phantom,
            "counts": self.counts(checked, split),
            "split": {**about, "patients_known": findings.patients_known},
            "left_out": [plain(text) for text in findings.left_out],
        }
        for section in SECTIONS:
            content[section] = [self._entry(checked[name]) for name in split[section]]
        content["training"] += [{**self._entry(c), **synthetic_facts(picture)} for picture, c in added]
        if added:
            content["counts"]["training"]["synthetic"] = dict(Counter(picture.class_name for picture, _ in added))
        return content

    def _fingerprint(self, folder: Path, cases: Iterable[C]) -> str:
        pairs = ((c.image_name, self.label(c)) for c in cases)
        return fingerprint(
            (folder / image, label if isinstance(label, int) else folder / label) for image, label in pairs
        )

    def _entry(self, c: C) -> dict[str, Any]:
        named = {"image": c.image_name, "label": self.label(c), "patient": c.raw.patient, "case": c.case}
        return {**named, **self.facts(c)}

    def _number(self, class_name: str) -> int | None:
        return next((value for value, name in self.classes.items() if name == class_name), None)

    def _report(
        self, path: Path, checked: Mapping[str, C], split: Split, findings: Findings, content: Mapping[str, Any]
    ) -> None:
        tables = [*self.tables(checked, split), *synthetic_lines(content)]
        notes = noted((c.case, c.notes) for c in checked.values())
        write_report(path, content, findings, tables, notes, self.case_table(checked, split))
