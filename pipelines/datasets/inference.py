"""The cases that an inference is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.readers import find_cases


def cases_to_segment(
    source: str | Path | None, dataset_dir: str | Path, datalist: str, *, section: str = "test", truth: bool = False
) -> list[dict[str, Any]]:
    """Items ``{"image": path, "case": name}`` of a file or a folder; without a source, those of a datalist's section.

    A case's name is its path below the folder without its extension; where two files would share it, with it.

    Args:
        source: a file or folder, or None.
        dataset_dir, datalist, section: where cases come from without a source; "all" is every section.
        truth: items of a datalist also have ``patient`` and ``label_file``, the path of the true mask; in a list with
            classes ``label``, the true one's number, and ``subtype`` where the list has it.

    Raises:
        UnreadableFileError: there is nothing to read at ``source``.
        DatalistError: there is no source and no usable datalist.
    """
    if source is None:
        from pipelines.datasets.datalist import files
        from pipelines.datasets.splits import SECTIONS

        sections = SECTIONS if section == "all" else (section,)
        items = [item for each in sections for item in files(dataset_dir, datalist, each)]
        more = (_truth(item) if truth else {} for item in items)
        return [{"image": i["image"], "case": i["case"], **known} for i, known in zip(items, more, strict=True)]
    root = Path(source)
    paths = find_cases(root)
    base = root if root.is_dir() and paths != [root] else root.parent
    relative = [path.relative_to(base) for path in paths]
    stems = [_stem(path) if paths[i].is_file() else str(path) for i, path in enumerate(relative)]
    return [
        {"image": str(path), "case": stem if stems.count(stem) == 1 else str(name)}
        for path, name, stem in zip(paths, relative, stems, strict=True)
    ]


def _truth(item: dict[str, Any]) -> dict[str, Any]:
    known = {"patient": item["patient"]}
    if isinstance(item["label"], int):
        return known | {key: item[key] for key in ("label", "subtype") if key in item}
    return known | {"label_file": item["label"]}


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".nii.gz", path.suffix.lower()):
        if ending and name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
            break
    return str(path.with_name(name))
