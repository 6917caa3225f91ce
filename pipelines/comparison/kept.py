"""The masks that evaluations kept with their runs (``pipelines.evaluation.kept_masks``), as ``compare`` needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.comparison.runs import Run, Store
from pipelines.evaluation.kept_masks import ENDINGS, FOLDER, INDEX, NAMES, KeptMask

_EVALUATION = "evaluation"


@dataclass(frozen=True)
class KeptMasks:
    """What a run kept.

    Attributes:
        items: by the case's name, as ``cases.csv`` has it.
        values: of the classes, by name.
        folder: that ``python -m pipelines view`` opens; None where the files lie on a server.
    """

    items: Mapping[str, KeptMask]
    values: Mapping[str, int]
    folder: Path | None


def read_kept(store: Store, run: Run) -> KeptMasks | None:
    """The masks of a run; None where it has none, or their list is damaged."""
    index = _loaded(store, run, INDEX)
    if not isinstance(index, list) or not index or not all(_is_entry(each) for each in index):
        return None
    names = _loaded(store, run, NAMES)
    pairs = names.items() if isinstance(names, dict) else ()
    values = {str(name): int(value) for value, name in pairs if value.isdecimal()}
    items = {name: each for each in index for name in (each["case"], f"'{each['case']}")}  # see files.table
    return KeptMasks(items, values, store.folder(run, _EVALUATION))


def mask_file(store: Store, run: Run, entry: KeptMask) -> Path | None:
    """The local path of a case's mask; None if it is not there any more."""
    return store.file(run, f"{_EVALUATION}/{FOLDER}/{entry['mask']}")


def _is_entry(each: object) -> bool:
    """Whether it has what is needed, and its mask lies beside the list: a store's word is no path to elsewhere."""
    if not isinstance(each, dict) or not {"case", "image", "label", "mask"} <= each.keys():
        return False
    case, mask = each["case"], each["mask"]
    paths = all(isinstance(each[key], (str, type(None))) for key in ("image", "label"))
    return paths and isinstance(case, str) and isinstance(mask, str) and _is_plain(mask)


def _is_plain(name: str) -> bool:
    return name.endswith(ENDINGS) and Path(name).name == name and not name.startswith(".") and "\\" not in name


def _loaded(store: Store, run: Run, name: str) -> object:
    path = store.file(run, f"{_EVALUATION}/{FOLDER}/{name}")
    try:
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
