"""ZIP files with the same bytes for the same content, compared with the manifest that lies in one."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pipelines.errors import UnreadableFileError
from pipelines.listed_hashes import MANIFEST, differences, listed_in, overall

_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP can say
_MODE = 0o100644 << 16
_UNIX = 3
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Checked:
    """What a package says of itself, once its files were found to be those that it lists.

    Attributes:
        bundle, version: of it.
        digest: ``sha256:…`` over the names and contents of all its files.
        files: how many they are.
    """

    bundle: str
    version: str
    digest: str
    files: int


def write_zip(target: IO[bytes], files: Mapping[str, Path], compression: int = zipfile.ZIP_DEFLATED) -> None:
    """Write files into a ZIP: in the order of their names, without the times, rights and owners that they have."""
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type, entry.external_attr, entry.create_system = compression, _MODE, _UNIX
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(entry, "w") as goal:
                while chunk := source.read(_CHUNK):
                    goal.write(chunk)


def verify_package(path: Path) -> Checked:
    """Compare a package with its manifest: each file that it lists is there with the digest it says, and no other.

    A manifest is in the file that it is about: that nobody changed both is known only where ``digest`` is what the
    sender said.

    Raises:
        UnreadableFileError: there is no such file, it is no package, or it is not what was packed.
    """
    how = "fetch the file again"
    if not path.is_file():
        raise UnreadableFileError("there is no such file", where=path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [each.filename for each in archive.infolist() if not each.is_dir()]
            tops = {PurePosixPath(name).parts[0] for name in names}
            top = next(iter(tops), "")
            inside = f"{top}/{MANIFEST}"
            if len(tops) != 1 or inside not in names:
                raise UnreadableFileError(
                    f"this is no package: it has no {MANIFEST}", where=path, how="python -m pipelines package makes one"
                )
            said = json.loads(archive.read(inside))
            listed = listed_in(said)
            bundle, version, digest = str(said["bundle"]), str(said["version"]), str(said["digest"])
            found = {name.removeprefix(f"{top}/"): _digest(archive, name) for name in names if name != inside}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise UnreadableFileError(f"the file is damaged, or no ZIP ({error})", where=path, how=how) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableFileError(f"its {MANIFEST} cannot be read", where=path, how=how) from error
    faults = differences(listed, found)
    if len(found) + 1 != len(names):
        faults["there twice"] = sorted({name for name in names if names.count(name) > 1})
    for what, which in faults.items():
        if which:
            raise UnreadableFileError(f"{len(which)} files are {what}, {which[0]} for one", where=path, how=how)
    if overall(found) != digest:
        raise UnreadableFileError("the digest of its manifest is not that of its files", where=path, how=how)
    return Checked(bundle, version, digest, len(found))


def _digest(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
