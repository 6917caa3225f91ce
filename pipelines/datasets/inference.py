"""The cases that an inference is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.readers import find_cases


def cases_to_segment(source: str | Path | None, dataset_dir: str | Path, datalist: str) -> list[dict[str, Any]]:
    """Items ``{"image": path, "case": name}`` of a file or a folder; without a source, the datalist's test cases.

    A case's name is its path below the folder without its extension; where two files would share it, with it.

    Raises:
        UnreadableFileError: there is nothing to read at ``source``.
        DatalistError: there is no source and no usable datalist.
    """
    if source is None:
        from pipelines.datasets.datalist import files

        return [{"image": item["image"], "case": item["case"]} for item in files(dataset_dir, datalist, "test")]
    root = Path(source)
    paths = find_cases(root)
    base = root if root.is_dir() and paths != [root] else root.parent
    relative = [path.relative_to(base) for path in paths]
    stems = [_stem(path) if paths[i].is_file() else str(path) for i, path in enumerate(relative)]
    return [
        {"image": str(path), "case": stem if stems.count(stem) == 1 else str(name)}
        for path, name, stem in zip(paths, relative, stems, strict=True)
    ]


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".nii.gz", path.suffix):
        if ending and name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
            break
    return str(path.with_name(name))
