"""What lies in a bundle's folder, as an audit sees it: files, configs, metadata, and configs that are run together."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.auditing.documents import Document, items, plain_id, read_document

CONFIGS, METADATA = "configs", "configs/metadata.json"
_SUFFIXES = (".json", ".yaml", ".yml")
_LARGEST_TEXT = 4_000_000  # bytes
_MADE = {"eval", "__pycache__"}  # what runs leave
_COMMAND = re.compile(r"--config_file[= ]+(\"\[.*?\]\"|'\[.*?\]'|\[.*?\]|\S+)")


class Contents:
    """A bundle's folder, read once.

    Args:
        folder: the bundle's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._layers: dict[tuple[str, ...], Layers] = {}

    @cached_property
    def files(self) -> dict[str, Path]:
        """All files and links by name below the folder, sorted, without hidden folders and what runs leave."""
        found: dict[str, Path] = {}
        for root, folders, names in os.walk(self.folder):
            here = Path(root)
            linked = [name for name in folders if (here / name).is_symlink()]
            folders[:] = sorted(
                name
                for name in folders
                if name not in linked
                and not name.startswith(".")
                and not (name in _MADE and _is_made(here, self.folder, name))
            )
            for name in [*names, *linked]:
                found[(here / name).relative_to(self.folder).as_posix()] = here / name
        return dict(sorted(found.items()))

    @cached_property
    def documents(self) -> dict[str, Document]:
        """The configs, by name below ``configs/`` without its ending; metadata are none of them."""
        return {
            name.removeprefix(f"{CONFIGS}/").rpartition(".")[0]: read_document(path, name)
            for name, path in self.files.items()
            if name.startswith(f"{CONFIGS}/") and name != METADATA and name.lower().endswith(_SUFFIXES)
        }

    @cached_property
    def metadata(self) -> Document:
        """``configs/metadata.json``; its data are None where it is missing."""
        if METADATA not in self.files:
            return Document(METADATA, None)
        return read_document(self.files[METADATA], METADATA)

    @property
    def about(self) -> dict[str, Any]:
        """The metadata, or nothing."""
        return self.metadata.data if isinstance(self.metadata.data, dict) else {}

    def tensor(self, side: str) -> dict[str, Any]:
        """What the metadata say of the first input ("inputs") or output ("outputs"); nothing where they do not."""
        form = self.about.get("network_data_format")
        tensors = form.get(side) if isinstance(form, dict) else None
        first = next(iter(tensors.values()), None) if isinstance(tensors, dict) else None
        return first if isinstance(first, dict) else {}

    @cached_property
    def image_key(self) -> str:
        """The key of a case's image."""
        form = self.about.get("network_data_format")
        inputs = form.get("inputs") if isinstance(form, dict) else None
        return next(iter(inputs), "image") if isinstance(inputs, dict) else "image"

    def combinations(self, name: str) -> list[Layers]:
        """The ways in which a config may be run: alone, as a command in a head or a README says, or over one that
        trains or infers."""
        usable = [key for key, document in self.documents.items() if isinstance(document.data, dict)]
        base = [key for key in usable if key.startswith(("train", "inference")) and "/" not in key]
        evaluating = [["train", "evaluate", name]] if {"train", "evaluate"} <= set(usable) else []
        lists = [[name], *self._commands, *([each, name] for each in base), *evaluating]
        found: list[list[str]] = []
        for names in lists:
            if name in names and len(set(names)) == len(names) and set(names) <= set(usable) and names not in found:
                found.append(names)
        return [layers for names in found if (layers := self.layers(*names)) is not None]

    def layers(self, *names: str) -> Layers | None:
        """Configs laid over one another; None where one of them is missing."""
        documents = [self.documents[name] for name in names if name in self.documents]
        if len(documents) < len(names) or not all(isinstance(each.data, dict) for each in documents):
            return None
        return self._layers.setdefault(names, Layers(documents))

    @cached_property
    def _commands(self) -> list[list[str]]:
        texts = [document.text for document in self.documents.values() if not document.file.endswith(".json")]
        texts += [text_of(path) for name, path in self.files.items() if re.fullmatch(r"(docs/)?README\.md", name)]
        found = []
        for words in (match[1] for text in texts for match in _COMMAND.finditer(text)):
            words = words.strip("\"'") if "[" not in words else words[words.index("[") : words.rindex("]") + 1]
            try:
                files = ast.literal_eval(words) if words.startswith("[") else [words]
            except (ValueError, SyntaxError):
                continue
            names = [str(each).rpartition(f"{CONFIGS}/")[2].rpartition(".")[0] for each in files]
            if names not in found:
                found.append(names)
        return found


@dataclass(frozen=True)
class Layers:
    """Configs that are run together.

    Attributes:
        documents: in the order in which they are laid over one another.
    """

    documents: Sequence[Document]

    @cached_property
    def items(self) -> list[tuple[str, Any]]:
        """(id, value) of all that they hold together."""
        return list(items(self.config))

    @cached_property
    def config(self) -> dict[str, Any]:
        """What they hold together, as MONAI lays them: ``a#b`` is a place, and ``+a`` adds to a list or a dict."""
        whole: dict[str, Any] = {}
        for document in self.documents:
            for key, value in document.data.items():
                _lay(whole, str(key), deepcopy(value))
        return whole

    def place(self, id: str) -> tuple[str, int]:
        """The file and line in which an id was said last."""
        for document in reversed(self.documents):
            if any(id == known or id.startswith(f"{known}#") for known in map(plain_id, document.data)):
                return document.file, document.line(id)
        first = self.documents[0]
        return first.file, first.line(id)


def at(config: Any, id: str) -> Any:
    """The item ``id``; KeyError if there is none."""
    for key in id.split("#") if id else []:
        if isinstance(config, list) and key.isdigit() and int(key) < len(config):
            config = config[int(key)]
        elif isinstance(config, dict) and key in config:
            config = config[key]
        elif isinstance(config, dict) and key.isdigit() and int(key) in config:
            config = config[int(key)]
        else:
            raise KeyError(id)
    return config


def has(config: Any, id: str) -> bool:
    """Whether there is an item ``id``."""
    try:
        at(config, id)
    except KeyError:
        return False
    return True


def texts_of(contents: Contents, suffixes: Sequence[str], folders: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(name, text) of the text files of some folders."""
    for name, path in contents.files.items():
        if name.lower().endswith(tuple(suffixes)) and name.startswith(tuple(folders)) and not path.is_symlink():
            yield name, text_of(path)


def _lay(whole: dict[str, Any], key: str, value: Any) -> None:
    id = plain_id(key)
    if key.startswith("+") and has(whole, id):
        there = at(whole, id)
        if isinstance(there, dict) and isinstance(value, dict):
            there.update(value)
            return
        if isinstance(there, list) and isinstance(value, list):
            there.extend(value)
            return
    *parents, last = id.split("#")
    place: Any = whole
    for name in parents:
        if isinstance(place, list) and name.isdigit() and int(name) < len(place):
            place = place[int(name)]
        elif isinstance(place, dict):
            if not isinstance(place.get(name), (dict, list)):
                place[name] = {}
            place = place[name]
        else:
            return
    if isinstance(place, dict):
        place[last] = value
    elif isinstance(place, list) and last.isdigit() and int(last) < len(place):
        place[int(last)] = value


def _is_made(here: Path, root: Path, name: str) -> bool:
    return name == "__pycache__" or here == root


def text_of(path: Path) -> str:
    """A file's text; "" of what is too large for one, or no file."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_TEXT:  # a pipe or a device would be read for ever
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
