"""Hashes that a bundle states of its files: in ``large_files.yml`` and in the metadata."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.auditing.contents import Contents
from pipelines.auditing.documents import items, read_document
from pipelines.auditing.findings import Finding

LARGE_FILES = ("large_files.yml", "large_files.yaml", "large_files.json")
_LENGTHS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_WEAK = {"md5", "sha1"}


def large_files(contents: Contents) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """(file, line, entry) of what is to be fetched."""
    for name in LARGE_FILES:
        if name in contents.files:
            document = read_document(contents.files[name], name)
            listed = document.data.get("large_files") if isinstance(document.data, dict) else None
            for number, entry in enumerate(listed if isinstance(listed, list) else ()):
                if isinstance(entry, dict):
                    yield name, document.line(f"large_files#{number}"), entry


def check_hashes(contents: Contents) -> Iterator[Finding]:
    """Files whose hash is another one, files to be fetched without or with a weak one, or to a place outside."""
    for name in LARGE_FILES:
        if name in contents.files:
            yield from read_document(contents.files[name], name).faults
    for file, line, entry in large_files(contents):
        yield from _check_large(contents, file, line, entry)
    for id, value in items(contents.about):
        named = _named(id, contents)
        digest = value.removeprefix("sha256:") if isinstance(value, str) else ""
        if named is not None and re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            found = file_hash(contents.files[named], "sha256")
            if found != digest.lower():
                what = f"{named} has the SHA-256 {found[:12]}…, and {digest[:12]}… is stated"
                yield Finding("hash-differs", contents.metadata.file, contents.metadata.line(id), what)


def file_hash(path: Path, kind: str) -> str:
    """A hash of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _check_large(contents: Contents, file: str, line: int, entry: dict[str, Any]) -> Iterator[Finding]:
    name, url = str(entry.get("path", "")), str(entry.get("url", ""))
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or re.match(r"[A-Za-z]:", name):
        yield Finding("fetched-outside", file, line, f"{name} is outside the bundle")
        return
    if re.match(r"(http|ftp)://", url, re.IGNORECASE):
        yield Finding("fetched-openly", file, line, f"{name} comes from {url[:60]}")
    digest = str(entry.get("hash_val") or "").strip().lower().removeprefix("sha256:")
    kind = str(entry.get("hash_type") or _LENGTHS.get(len(digest), "")).lower()
    if not digest:
        yield Finding("hash-missing", file, line, f"{name} has no hash: whatever comes is taken")
        return
    if kind not in _LENGTHS.values():
        yield Finding("hash-missing", file, line, f"{name} has a hash of the unknown kind {kind!r}")
        return
    if kind in _WEAK:
        yield Finding("hash-weak", file, line, f"{name} is held by {kind} alone")
    there = contents.files.get(str(place))
    if there is not None and there.is_file():
        found = file_hash(there, kind)
        if found != digest:
            yield Finding(
                "hash-differs", file, line, f"{name} has the {kind} {found[:12]}…, and {digest[:12]}… is stated"
            )


def _named(id: str, contents: Contents) -> str | None:
    """The file that the last part of an id names: itself, or one in ``models/``."""
    last = id.rpartition("#")[2]
    names = (name for name in (last, f"models/{last}") if name in contents.files)
    return next((name for name in names if contents.files[name].is_file()), None)
