"""What a layout finds in a raw folder of lung CT: cases, and how the label of each is made of its masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UsageError
from pipelines.preparation.phantom_mark import PHANTOM_MARK
from pipelines.preparation.raw_case import RawCase, RawFolder
from pipelines.readers import CaseImage


@dataclass(frozen=True)
class BuiltLabel:
    """A label on its image's grid: `array` uint8 (X, Y, Z) of 0, 1, 2; `lung` "reference" or "derived"; `notes` for
    the report."""

    array: NDArray[np.uint8]
    lung: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RawSet(RawFolder):
    """A raw folder of CT; `build` makes a case's label and raises a PipelinesError where it cannot be trusted."""

    build: Callable[[RawCase, CaseImage], BuiltLabel]


def joined_sets(folders: Sequence[Path], sets: Sequence[RawSet]) -> RawSet:
    """Several raw folders as one set; each case keeps the dataset that it is of as its `source`: its layout, of several
    folders in one layout with the folder's name.

    Raises:
        UsageError: a folder twice, or phantoms beside what is none.
    """
    if len(sets) == 1:
        return sets[0]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("a raw folder is given twice", where=folders[-1], how="name each once")
    if len({(folder / PHANTOM_MARK).is_file() for folder in folders}) > 1:
        raise UsageError(
            "some of the raw folders are phantoms and some are not", where=folders[0], how="prepare them apart"
        )
    cases, builders = [], {}
    layouts = Counter(found.layout for found in sets)
    for folder, found in zip(folders, sets, strict=True):
        source = found.layout if layouts[found.layout] == 1 else f"{found.layout}, {folder.name}"
        for case in found.cases:
            builders[case.image] = found.build
            cases.append(replace(case, source=case.source or source))
    return RawSet(
        " and ".join(dict.fromkeys(found.layout for found in sets)),
        cases,
        all(found.patients_known for found in sets),
        [fault for found in sets for fault in found.faults],
        list(dict.fromkeys(note for found in sets for note in found.notes)),
        build=lambda case, image: builders[case.image](case, image),
    )
