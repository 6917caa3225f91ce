"""A list of files by their SHA-256: what it says, what differs, and one digest over all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.files import file_digest

MANIFEST = "manifest.json"


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a folder by their names in a ZIP, sorted."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return dict(sorted(found.items()))


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each file, in hex, by name."""
    return {name: file_digest(path) for name, path in files.items()}


def overall(sums: Mapping[str, str]) -> str:
    """``sha256:…`` of the lines that ``sha256sum`` would print of the files, in the order of their names."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def manifest(about: Mapping[str, Any], sums: Mapping[str, str]) -> str:
    """The text of ``manifest.json``: what it is about, the digest of all files, and that of each."""
    content = {**about, "digest": overall(sums), "files": dict(sorted(sums.items()))}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def listed_in(content: Any) -> dict[str, str]:
    """Name -> SHA-256 of the files that a manifest lists.

    Raises:
        KeyError, TypeError, AttributeError: it is none.
    """
    return {str(name): str(digest) for name, digest in content["files"].items()}


def differences(listed: Mapping[str, str], found: Mapping[str, str]) -> dict[str, list[str]]:
    """What of a list is "missing", "not listed" or "changed"; sorted, and empty where all is as it was."""
    return {
        "missing": sorted(listed.keys() - found.keys()),
        "not listed": sorted(found.keys() - listed.keys()),
        "changed": sorted(name for name in listed.keys() & found.keys() if listed[name] != found[name]),
    }
