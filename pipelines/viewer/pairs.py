"""Two folders brought together: which case of the one is which of the other."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from pipelines.viewer.cases import Case, Folder, Layer

CORRECTED_LAYER = "corrected"  # and with a side before it: 0-corrected, 1-corrected


@dataclass(frozen=True)
class Entry:
    """One line of the page's list: a case of the first folder, of the second, or the same case of both."""

    cases: tuple[Case | None, ...]

    @property
    def first(self) -> Case:
        return next(case for case in self.cases if case is not None)

    def layer(self, key: str) -> tuple[Case, Layer] | None:
        """The layer of a key as ``layers`` gives it."""
        return next(((case, layer) for each, case, layer in self.layers() if each == key), None)

    def layers(self) -> list[tuple[str, Case, Layer]]:
        """(key, case, layer) of all masks: ``0-mask`` is that of the first folder."""
        return [
            (f"{number}-{layer.key}", case, layer)
            for number, case in enumerate(self.cases)
            if case is not None
            for layer in case.layers
        ]

    def correctable(self) -> list[int]:
        """The sides whose mask can be corrected."""
        return [n for n, case in enumerate(self.cases) if case is not None and case.not_correctable is None]

    def corrections(self) -> list[tuple[str, int, Case, Path]]:
        """(key, side, case, file) of all corrected masks: ``0-corrected`` is that of the first folder."""
        found = [(n, case, case.corrected()) for n, case in enumerate(self.cases) if case is not None]
        return [(f"{n}-{CORRECTED_LAYER}", n, case, path) for n, case, path in found if path is not None]


def pair(folders: Sequence[Folder]) -> list[Entry]:
    """The entries of one folder or two. Cases are the same where their names are, or their images, or the last part of
    their names where that is the name of one case only on each side; a case without its like stands alone."""
    if len(folders) == 1:
        return [Entry((case,)) for case in folders[0].cases]
    first, second = folders
    left = list(second.cases)
    entries = []
    found: dict[int, Case] = {}
    for same in (_name, _image, _short):
        mine = Counter(filter(None, map(same, first.cases)))
        there = Counter(filter(None, map(same, left)))
        by_mark = {same(case): case for case in left if there[same(case)] == 1}
        for index, case in enumerate(first.cases):
            mark = same(case)
            if index not in found and mark and mine[mark] == 1 and mark in by_mark:
                found[index] = by_mark[mark]
        taken = {id(case) for case in found.values()}
        left = [case for case in left if id(case) not in taken]
    for index, case in enumerate(first.cases):
        entries.append(Entry((case, found.get(index))))
    return entries + [Entry((None, case)) for case in left]


def kept(before: Sequence[Entry], now: Sequence[Entry]) -> list[Entry]:
    """Entries that were read again, each under the number that it had: a page that is open asks by number. What is new
    comes last; what is gone keeps its number, as it was."""
    left: dict[tuple[int, str], list[Entry]] = {}
    for entry in now:
        left.setdefault(_mark(entry), []).append(entry)
    found = []
    for entry in before:
        same = left.get(_mark(entry))
        found.append(same.pop(0) if same else entry)
    added = {id(entry) for entries in left.values() for entry in entries}
    return found + [entry for entry in now if id(entry) in added]


def _mark(entry: Entry) -> tuple[int, str]:
    """The image is the same when a refused case is predicted after all; its name is not."""
    first = entry.first
    return entry.cases.index(first), first.name if first.image is None else str(first.image)


def _name(case: Case) -> str:
    return case.name


def _image(case: Case) -> str:
    try:
        return "" if case.image is None else os.path.realpath(case.image)
    except ValueError:  # no file can have this name
        return ""


def _short(case: Case) -> str:
    return PurePath(case.name).name
