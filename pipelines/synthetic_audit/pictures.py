"""The pictures of an audit: real ones by patient, generated ones to train with, and others to show the fault with."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.cross_validation import write_fold
from pipelines.errors import DatalistError, PipelinesError, UsageError
from pipelines.files import safe_name
from pipelines.generation import generate_classes, read_record
from pipelines.preparation.datalist import DATALIST, load_datalist, write_datalist
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.synthetic import (
    MANIFEST,
    SyntheticPicture,
    copy_synthetic,
    read_synthetic,
    synthetic_facts,
    synthetic_warnings,
)
from pipelines.synthetic_audit.plan import Audit

logger = logging.getLogger(__name__)
VALIDATION_PATIENTS = 40  # at most: nothing is chosen on them
Item = dict[str, Any]


@dataclass(frozen=True)
class Pictures:
    """What an audit trains and measures with.

    Attributes:
        content: the datalist of the whole prepared folder.
        chosen: entries of each section that are used.
        names: of the classes, by number.
        generated: by class number, those that may join training, the first ones first.
        in_test: by class number, further ones, as many as the largest share has of the test cases: for the fault.
        size: (rows, columns) of a generated picture.
        warnings: what weakens the figures.
    """

    content: Mapping[str, Any]
    chosen: Mapping[str, Sequence[Item]]
    names: Mapping[int, str]
    generated: Mapping[int, Sequence[SyntheticPicture]]
    in_test: Mapping[int, Sequence[SyntheticPicture]]
    size: tuple[int, int]
    warnings: Sequence[str]

    @property
    def real(self) -> dict[int, int]:
        """Real pictures of each class in training."""
        return counted(self.chosen["training"])


def gather(audit: Audit) -> Pictures:
    """Choose the real pictures, and generate (or read) the others.

    Raises:
        UsageError: the prepared folder has masks, or generated pictures already; a class has no generator.
        DatalistError, UnreadableFileError, WeightsError: data or generators cannot be used, or there are too few
            generated pictures.
    """
    content = load_datalist(audit.prepared)
    if "classes" not in content:
        raise UsageError("the prepared folder has masks, and classes are due", where=audit.prepared)
    if any(item.get("synthetic") for item in content["training"]):
        how = "prepare it without --synthetic: the audit adds them itself"
        raise UsageError("the prepared folder has generated pictures already", where=audit.prepared, how=how)
    names = {int(number): str(name) for number, name in content["classes"].items()}
    limits = (audit.training_patients, VALIDATION_PATIENTS, audit.test_patients)
    chosen = {
        name: some_patients(content[name], limit) for name, limit in zip(SECTIONS, limits, strict=True)
    }  # the same ones whatever is trained: the draw has a seed of its own
    largest = max(audit.shares)
    train, test = (counted(chosen[section]) for section in ("training", "test"))
    missing = [name for number, name in names.items() if not train.get(number) or not test.get(number)]
    if missing:
        raise DatalistError(f"no picture of class {missing[0]} is in training, or in test", where=audit.prepared)
    due = {number: (round(largest * train[number]), round(largest * test[number])) for number in names}
    found = _generated(audit, names, {names[number]: sum(due[number]) for number in names})
    by_class = {number: [each for each in found if each.class_name == name] for number, name in names.items()}
    for number, name in names.items():
        if len(by_class[number]) < sum(due[number]):
            what = f"{sum(due[number])} generated pictures of class {name} are needed, and there are {{}}"
            how = "generate more, give a smaller --shares, or give the generators' weights"
            raise DatalistError(what.format(len(by_class[number])), where=audit.generators[0], how=how)
    held = {item["patient"] for section in ("validation", "test") for item in content[section]}
    with Image.open(found[0].path) as picture:
        size = (picture.height, picture.width)
    return Pictures(
        content,
        chosen,
        names,
        {number: own[: due[number][0]] for number, own in by_class.items()},
        {number: own[due[number][0] : sum(due[number])] for number, own in by_class.items()},
        size,
        synthetic_warnings(found, held),
    )


def write_data(audit: Audit, pictures: Pictures) -> Path:
    """Write the folder that all trainings share: real pictures, and generated ones in training, marked as such. How
    many of these a training takes is its knob ``synthetic_share``.

    Raises:
        DatalistError, OutputError: see ``write_fold`` and ``load_datalist``, which checks what was written.
    """
    folder = write_fold(audit.out / "data", audit.prepared, pictures.content, pictures.chosen)
    content = json.loads((folder / DATALIST).read_text(encoding="utf-8"))
    facts = dict.fromkeys(content.get("facts", {}))
    (folder / "generated").mkdir()
    for number, own in pictures.generated.items():
        for place, each in enumerate(own, start=1):
            case = f"synthetic_{safe_name(each.class_name)}_{place:05d}"
            file = f"generated/{case}.png"
            copy_synthetic(each, folder / file)
            entry = {"image": file, "label": number, "patient": case, "case": case, **facts, **synthetic_facts(each)}
            content["training"].append(entry)
    counts = {section: {"cases": len(pictures.chosen[section])} for section in SECTIONS}
    write_datalist(folder / DATALIST, {**content, "counts": counts})
    load_datalist(folder)
    return folder


def some_patients(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Items of at most so many patients, drawn at random, each class with its share of them (at least two)."""
    by_class: dict[int, list[str]] = {}
    for item in items:
        by_class.setdefault(int(item["label"]), []).append(item["patient"])
    classes = {number: sorted(set(patients)) for number, patients in by_class.items()}
    total = sum(map(len, classes.values()))
    if limit is None or limit >= total:
        return list(items)
    kept: set[str] = set()
    for number, patients in sorted(classes.items()):
        order = np.random.default_rng((0, number)).permutation(len(patients))
        kept |= {patients[k] for k in order[: max(2, round(limit * len(patients) / total))]}
    return [item for item in items if item["patient"] in kept]


def counted(items: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """How many items each class has."""
    return dict(sorted(Counter(int(item["label"]) for item in items).items()))


def _generated(audit: Audit, names: Mapping[int, str], due: Mapping[str, int]) -> list[SyntheticPicture]:
    """Those of the folder that was given, or of the generators; made anew unless an earlier call made them."""
    if len(audit.generators) == 1 and audit.generators[0].is_dir():
        return read_synthetic(audit.generators[0])
    checkpoints: dict[str, str] = {}
    marks = set()
    for path in audit.generators:
        record = read_record(path)
        marks.add(str(record["weights"]))
        if checkpoints.setdefault(str(record["class"]), str(path)) != str(path):
            raise UsageError(f"two generators draw {record['class']}", where=path, how="give one a class")
    missing = [name for name in names.values() if name not in checkpoints]
    if missing:
        raise UsageError(f"no generator draws {missing[0]}", how="give --generators the weights of each class")
    folder, number = audit.out / "generated", max(due.values())
    if (folder / MANIFEST).is_file():
        try:
            earlier = read_synthetic(folder)
            counts = Counter(each.class_name for each in earlier)
            if {each.generator for each in earlier} == marks and all(counts[name] >= number for name in due):
                return earlier
        except PipelinesError as error:
            logger.warning("the generated pictures are made again (%s)", error)
    generate_classes({name: checkpoints[name] for name in due}, number, str(folder), overwrite=True)
    return read_synthetic(folder)
