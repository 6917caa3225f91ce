"""Several raw folders of dermoscopic pictures as one set: what each is called, what is tested, which look alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.errors import DatalistError, UsageError
from pipelines.preparation.csv_tables import table_text
from pipelines.preparation.likeness import near_pairs
from pipelines.preparation.phantom_mark import PHANTOM_MARK
from pipelines.preparation.raw_case import RawCase, RawFolder
from pipelines.tasks.dermoscopy.checks import CheckedPicture
from pipelines.tasks.dermoscopy.diagnosis_tables import picture_key

_SHOWN = 5


def joined_sets(folders: Sequence[Path], sets: Sequence[RawFolder]) -> RawFolder:
    """Several raw folders as one set; each case keeps the dataset that it is of as its `source`.

    Raises:
        UsageError: a folder twice, phantoms beside what is none, or two folders of one name.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("a raw folder is given twice", where=folders[-1], how="name each once")
    if len({(folder / PHANTOM_MARK).is_file() for folder in folders}) > 1:
        raise UsageError(
            "some of the raw folders are phantoms and some are not", where=folders[0], how="prepare them apart"
        )
    if len(sets) == 1:
        return sets[0]
    sources = [sorted({str(case.source) for case in found.cases}) for found in sets]
    for number, names in enumerate(sources):
        both = set(names) & {name for other in sources[:number] for name in other}
        if both:
            what = f"two of the raw folders are called {min(both)}, and what is of which could not be told"
            raise UsageError(what, where=folders[number], how="rename one of them")
    notes = [f"{'/'.join(names)}: {note}" for names, found in zip(sources, sets, strict=True) for note in found.notes]
    return RawFolder(
        " and ".join(dict.fromkeys(found.layout for found in sets)),
        [case for found in sets for case in found.cases],
        all(found.patients_known for found in sets),
        [fault for found in sets for fault in found.faults],
        notes,
    )


def with_test_names(found: RawFolder, path: Path | None) -> RawFolder:
    """The set with the pictures that a file names, a line each, as its test set; those that the set came with as such
    are trained on then. A line may end in a comment that begins with #.

    Raises:
        UnreadableFileError: no text. DatalistError: a name without a picture, or no name.
    """
    if path is None:
        return found
    lines = (line.split("#")[0].strip() for line in table_text(path).splitlines())
    wanted = {picture_key(line): line for line in lines if line}
    if not wanted:
        raise DatalistError("no picture is named", where=path, how="name the pictures of the test set, a line each")
    missing = [line for key, line in wanted.items() if key not in {picture_key(case.case) for case in found.cases}]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        what = f"there is no picture of the name {', '.join(missing[:_SHOWN])}{more}"
        raise DatalistError(what, where=path, how="correct the list, or add the raw folder that has them")
    cases = [replace(case, official_test=picture_key(case.case) in wanted) for case in found.cases]
    return replace(found, cases=cases)


def look_alikes(checked: Mapping[str, CheckedPicture]) -> list[list[str]]:
    """The cases whose patient nobody named and that nearly equal another (`near_pairs`), in groups of likes."""
    looks = {name: c.look for name, c in checked.items() if unnamed(c.raw)}
    group = {name: {name} for name in looks}
    for first, second, _ in near_pairs(looks, {name: [name] for name in looks}):
        if group[first] is not group[second]:
            group[first] |= group[second]
            for name in group[second]:
                group[name] = group[first]
    found = {id(names): sorted(names) for names in group.values() if len(names) > 1}
    return sorted(found.values())


def unnamed(raw: RawCase) -> bool:
    """Whether a picture counts as its own patient."""
    return raw.patient == raw.case
