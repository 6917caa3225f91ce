"""Datalists: MONAI's Decathlon JSON with a checked head, written whole or not at all, and refused where it cannot be
trusted.

A list has either `labels`, and each case's `label` is the path of a mask, or `classes`, and it is one of their numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from pipelines.errors import DatalistError
from pipelines.files import file_digest, text, write_file
from pipelines.preparation.patient_names import Spellings
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.synthetic import within_share
from pipelines.readers import is_synthetic

DATALIST = "datalist.json"
UNKNOWN = "unknown"
Names = Mapping[int, str] | Mapping[str, str]  # what stands for 0, 1, ...
_KEYS = ("image", "label", "patient", "case")
_HOW = "prepare the data again (python -m pipelines data prepare)"


def load_datalist(
    dataset_dir: str | os.PathLike[str],
    name: str = DATALIST,
    *,
    verify: bool = False,
    labels: Names | None = None,
    classes: Names | None = None,
) -> dict[str, Any]:
    """Read and check a prepared folder's datalist; `image`, and `label` where it is a mask, are absolute paths then.

    Args:
        dataset_dir: the prepared folder.
        name: the datalist in it (datalist.json, datalist_fold0.json, ...).
        verify: also hash every file and compare with the fingerprint; finds equal files as well. Reads all of the data.
        labels: the values of masks and their names that are due; None for any.
        classes: the same of a list whose cases each are of a class.

    Raises:
        DatalistError: missing or damaged list, other labels or classes than are due, an empty split, a missing file, a
            path that leaves the folder, a patient in two splits, a case or file twice, a generated picture outside
            training (by the entry's `synthetic`, or by the mark in the file) or one that the list does not call so, or
            (with `verify`) contents that changed or repeat.
    """
    root = Path(dataset_dir).resolve()
    path = root / name
    content = _parsed(path)
    numbers = _check_names(content, labels, classes, path)
    facts = _check_facts(content, path)
    patients: dict[str, str] = {}
    one_spelling = Spellings()
    seen: dict[str, str] = {}
    for section in SECTIONS:
        items = content.get(section)
        if not isinstance(items, list) or not items:
            raise DatalistError(f"the {section} split is empty", where=path, how=_HOW)
        content[section] = [_checked(item, root, path, numbers, facts) for item in items]
        for item in content[section]:
            _check_synthetic(item, section, path)
            item["patient"] = one_spelling(item["patient"])
            if patients.setdefault(item["patient"], section) != section:
                raise DatalistError(
                    f"patient {item['patient']} is in {patients[item['patient']]} and in {section}",
                    where=path,
                    how=_HOW,
                )
            for key in ("case", "image", "label") if numbers is None else ("case", "image"):
                mark = f"{'case' if key == 'case' else 'file'} {item[key]}"
                if mark in seen:
                    raise DatalistError(f"{mark} is listed twice", where=path, how=_HOW)
                seen[mark] = section
    if verify:
        _verify(content, path)
    return content


def files(
    dataset_dir: str | os.PathLike[str],
    datalist: str,
    section: str,
    labels: Names | None = None,
    classes: Names | None = None,
    synthetic_share: float | None = None,
) -> list[dict[str, Any]]:
    """The cases of one section ("training", "validation", "test") for a Dataset: absolute `image`, `label` (absolute,
    or the number of a class), `patient`, `case`, and the list's `facts` of a case ("unknown" where it has null; of a
    list without them, all else that it says in a word). The whole list is checked first, so that a patient in two
    splits stops training as well as evaluation.

    Args:
        synthetic_share: of the generated pictures of a list with classes: of each class this share of its real ones,
            the first; 0 for none, None for all that are listed.

    Raises:
        DatalistError: an unknown section, fewer generated pictures than are asked for, and everything that
            `load_datalist` raises.
    """
    if section not in SECTIONS:
        raise DatalistError(
            f"there is no section {section!r}", where=datalist, how=f"choose one of {', '.join(SECTIONS)}"
        )
    items = []
    content = load_datalist(dataset_dir, datalist, labels=labels, classes=classes)
    for item in _with_share(content[section], synthetic_share if section == "training" else None):
        also = content["facts"] if "facts" in content else item.keys() - set(_KEYS)
        words = {key: UNKNOWN if item[key] is None else item[key] for key in also if key in item}
        items.append(
            {key: item[key] for key in _KEYS} | {k: word for k, word in words.items() if isinstance(word, str)}
        )
    return items


def is_prepared(folder: Path) -> bool:
    """Whether a folder was prepared: it holds a datalist with a fingerprint."""
    try:
        content = json.loads((folder / DATALIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and str(content.get("fingerprint", "")).startswith("sha256:")


def write_datalist(path: Path, content: Mapping[str, Any]) -> None:
    """Write in one step, and onto the disk: a reader sees the old list or the new one, never a part.

    Raises:
        OutputError: it cannot be written.
    """
    write_file(path, text(json.dumps(content, indent=2, allow_nan=False) + "\n"), durable=True)


def fingerprint(pairs: Iterable[tuple[Path, Path | int]]) -> str:
    """``sha256:...`` of the contents of (image, label) files, or of images and their classes: the same whatever their
    names, order and split."""
    digests = sorted(
        file_digest(image) + (str(label) if isinstance(label, int) else file_digest(label)) for image, label in pairs
    )
    return "sha256:" + hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _parsed(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatalistError(
            "there is no such datalist", where=path, how="give the folder that `data prepare` wrote"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DatalistError(f"the datalist cannot be read ({error})", where=path, how=_HOW) from None
    if not isinstance(content, dict):
        raise DatalistError("the datalist is no JSON object", where=path, how=_HOW)
    return content


def _check_names(
    content: Mapping[str, Any], labels: Names | None, classes: Names | None, path: Path
) -> frozenset[int] | None:
    """The numbers of the classes, None in a list with masks."""
    kind = "classes" if "classes" in content else "labels"
    if kind == "classes" and "labels" in content:
        raise DatalistError("the list has labels and classes, and one of the two is due", where=path, how=_HOW)
    found = content.get(kind)
    well_formed = (
        isinstance(found, dict)
        and len(found) >= 2
        and set(found) == {str(value) for value in range(len(found))}
        and all(isinstance(name, str) and name for name in found.values())
        and len(set(found.values())) == len(found)
    )
    if not isinstance(found, dict) or not well_formed:
        raise DatalistError(
            f"the {kind} are {str(found)[:200]}, and a name for each of 0, 1, ... is due", where=path, how=_HOW
        )
    for due_kind, due in (("labels", labels), ("classes", classes)):
        if due is None or (due_kind == kind and found == {str(value): name for value, name in due.items()}):
            continue
        has, wanted = (", ".join(f"{value} {name}" for value, name in names.items()) for names in (found, due))
        wanted = wanted if due_kind == kind else f"the {due_kind} {wanted}"
        raise DatalistError(
            f"this datalist's {kind} are {has}, and {wanted} are due",
            where=path,
            how="give the dataset that the bundle is made for",
        )
    return frozenset(range(len(found))) if kind == "classes" else None


def _check_facts(content: Mapping[str, Any], path: Path) -> Mapping[str, Sequence[str]]:
    """What the list says of a case in a word beside patient and name: key, and the words that are due (none: any)."""
    facts = content.get("facts", {})
    well_formed = isinstance(facts, dict) and all(
        isinstance(words, list) and all(isinstance(word, str) and word for word in words) for words in facts.values()
    )
    if not well_formed or set(facts) & set(_KEYS):
        raise DatalistError(f"the facts are {str(facts)[:200]}, and lists of words are due", where=path, how=_HOW)
    return facts


def _checked(
    item: Any, root: Path, path: Path, numbers: frozenset[int] | None, facts: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """An entry with absolute paths; `numbers` are those of the classes, None where labels are masks."""
    words = _KEYS if numbers is None else tuple(key for key in _KEYS if key != "label")
    if not isinstance(item, dict) or not all(isinstance(item.get(key), str) and item[key] for key in words):
        raise DatalistError(f"an entry lacks one of {', '.join(_KEYS)}: {str(item)[:200]}", where=path, how=_HOW)
    if numbers is not None and (type(item.get("label")) is not int or item["label"] not in numbers):
        raise DatalistError(
            f"the label of case {item['case']} is {str(item.get('label'))[:100]!r}",
            where=path,
            how=f"one of {', '.join(map(str, sorted(numbers)))} is due",
        )
    for key, due in facts.items():
        value = item.get(key)
        if not isinstance(value, (str, NoneType)) or value == "" or (due and key in item and value not in due):
            how = f"one of {', '.join(due)} is due" if due else "a word or null is due"
            raise DatalistError(f"the {key} of case {item['case']} is {str(value)[:100]!r}", where=path, how=how)
    checked = dict(item)
    for key in ("image", "label") if numbers is None else ("image",):
        try:
            target = (root / item[key]).resolve()
            inside, present = target.is_relative_to(root), target.is_file()
        except (OSError, ValueError):  # NUL bytes, loops of links
            inside, present = False, False
        if not inside:
            raise DatalistError(f"the path {item[key]!r} leaves the folder", where=path, how="keep all files inside it")
        if not present:
            raise DatalistError(f"the {key} {item[key]!r} is missing", where=path, how=_HOW)
        checked[key] = str(target)
    return checked


def _check_synthetic(item: Mapping[str, Any], section: str, path: Path) -> None:
    said = item.get("synthetic", False)
    if not isinstance(said, bool):
        raise DatalistError(f"`synthetic` of case {item['case']} is {str(said)[:40]!r}, not true or false", where=path)
    if section != "training" and (said or is_synthetic(item["image"])):
        what = f"the generated picture {item['case']} is in {section}"
        raise DatalistError(what, where=path, how="generated pictures may be in training only; " + _HOW)
    if not said and is_synthetic(item["image"]):
        what = f"the file of case {item['case']} says that it is generated, and the list does not"
        raise DatalistError(what, where=path, how="add generated pictures by data prepare … --synthetic FOLDER")


def _with_share(items: list[dict[str, Any]], share: float | None) -> list[dict[str, Any]]:
    made = [item for item in items if item.get("synthetic")]
    if share is None or (share > 0 and any(not isinstance(item["label"], int) for item in items)):
        return items
    real = [item for item in items if not item.get("synthetic")]
    number = Counter(item["label"] for item in real) if share > 0 else {}
    return real + [made[index] for index in within_share([item["label"] for item in made], number, share)]


def _verify(content: Mapping[str, Any], path: Path) -> None:
    items = [item for section in SECTIONS for item in content[section]]
    seen: dict[str, str] = {}
    for item in items:
        digest = file_digest(Path(item["image"]))
        if digest in seen:
            raise DatalistError(
                f"the images of cases {seen[digest]} and {item['case']} are equal", where=path, how="keep one"
            )
        seen[digest] = item["case"]
    labels = (item["label"] if isinstance(item["label"], int) else Path(item["label"]) for item in items)
    images = (Path(item["image"]) for item in items)
    if fingerprint(zip(images, labels, strict=True)) != content.get("fingerprint"):
        raise DatalistError("the files are not those that were prepared: the fingerprint differs", where=path, how=_HOW)
