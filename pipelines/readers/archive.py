"""ZIP and TAR archives of scans, unpacked into a folder aside: bounded, and nothing lands outside of it."""

from __future__ import annotations

import atexit
import bz2
import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from pipelines.errors import OutputError, PipelinesError, UnreadableFileError
from pipelines.readers.raw import file_size

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_MEMBERS = 100_000
MAX_BYTES = 2**34  # 16 GiB: a few whole-body scans
_BOMB_BYTES, _BOMB_RATIO = 2**29, 250  # CT shrinks 2 to 5 times
_KEPT = 2  # archives that stay unpacked: reading a case's image comes twice
_AGAIN = "copy or export it again"
# Of names that are too long, of characters that a file system has not, and of one that is a file and a folder.
_BAD_NAMES = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)

_unpacked: OrderedDict[tuple[str, int, int], Path] = OrderedDict()


class _Member(NamedTuple):
    name: str
    is_folder: bool
    open: IO[bytes] | None


def is_archive(path: Path) -> bool:
    """Whether a name is that of a kind of archive that is unpacked."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(path: Path) -> Path:
    """The folder into which an archive is unpacked; it is removed when others have come after it, or at exit.

    Raises:
        UnreadableFileError: damaged, truncated, locked by a password, a bomb, links or devices in it, a member that
            would land outside, or the same name twice.
        OutputError: there is no room to unpack it.
    """
    size = file_size(path)
    status = path.stat()
    key = (str(path.resolve()), size, status.st_mtime_ns)
    if key in _unpacked and _unpacked[key].is_dir():
        _unpacked.move_to_end(key)
        return _unpacked[key]
    folder = Path(tempfile.mkdtemp(prefix="unpacked-"))
    try:
        _unpack_into(path, folder, size)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _unpacked[key] = folder
    while len(_unpacked) > _KEPT:
        shutil.rmtree(_unpacked.popitem(last=False)[1], ignore_errors=True)
    return folder


@atexit.register
def forget() -> None:
    """Remove what was unpacked."""
    while _unpacked:
        shutil.rmtree(_unpacked.popitem()[1], ignore_errors=True)


def _unpack_into(path: Path, folder: Path, size: int) -> None:
    seen: set[str] = set()
    total = number = 0
    name = ""
    members = _zip_members if path.name.lower().endswith(".zip") else _tar_members
    try:
        for member in members(path):
            number += 1
            name = member.name
            if number > MAX_MEMBERS:
                raise UnreadableFileError(f"holds more than {MAX_MEMBERS} files", where=path, how="unpack a part of it")
            target = folder / _safe(member.name, path)
            if member.is_folder or member.open is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            if str(target) in seen:
                raise UnreadableFileError(
                    f"holds {member.name!r} twice", where=path, how="unpack it, and see which one is right"
                )
            seen.add(str(target))
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open as source, target.open("wb") as file:
                while data := source.read(2**20):
                    total += len(data)
                    if total > MAX_BYTES or (total > _BOMB_BYTES and total > size * _BOMB_RATIO):
                        raise UnreadableFileError(
                            f"{size} bytes unpack to more than {total}: a bomb, or more than a few scans",
                            where=path,
                            how="unpack it and give the folder of the scan",
                        )
                    file.write(data)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, NotImplementedError) as error:
        raise UnreadableFileError(f"the archive is damaged or truncated ({error})", where=path, how=_AGAIN) from None
    except UnicodeError:
        raise UnreadableFileError(
            "holds a file whose name is in no known script", where=path, how="pack it anew with short and plain names"
        ) from None
    except (IndexError, ValueError, OverflowError, struct.error) as error:  # also zipfile's words for damage
        raise UnreadableFileError(f"the archive is damaged ({error})", where=path, how=_AGAIN) from None
    except RuntimeError:  # zipfile's word for a password
        raise UnreadableFileError("the archive is locked by a password", where=path, how="unpack it first") from None
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile) or error.errno is None:  # also what bz2 says of damage
            raise UnreadableFileError(f"the archive is damaged ({error})", where=path, how=_AGAIN) from None
        if error.errno in _BAD_NAMES:
            raise UnreadableFileError(
                f"holds a file whose name cannot be written here ({error.strerror}): {_short(name)}",
                where=path,
                how="pack it anew with short and plain names",
            ) from None
        raise OutputError(
            f"the archive cannot be unpacked into {folder.parent} ({error.strerror})",
            where=path,
            how="make room there, set TMPDIR to another folder, or unpack it by hand",
        ) from None


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:40]}...{name[-10:]}")


def _safe(name: str, path: Path) -> PurePosixPath:
    """A member's name as a path below the folder it is unpacked to."""
    inner = PurePosixPath(name.replace("\\", "/"))
    if inner.is_absolute() or ".." in inner.parts or "\0" in name or (inner.parts and inner.parts[0].endswith(":")):
        raise UnreadableFileError(
            "a file in it would be written outside of the folder it is unpacked to", where=path, how="do not open it"
        )
    return inner


def _linked(name: str, path: Path) -> PipelinesError:
    return UnreadableFileError(
        f"{name!r} in it is a link or a device, not a file", where=path, how="pack the files themselves (tar -h)"
    )


def _zip_members(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and stat.S_IFMT(mode):
                raise _linked(info.filename, path)
            yield _Member(info.filename, info.is_dir(), None if info.is_dir() else archive.open(info))


def _tar_members(path: Path) -> Iterator[_Member]:
    name = path.name.lower()
    opener = next((opener for ends, opener in _OPENERS.items() if name.endswith(ends)), open)
    with opener(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        while (info := archive.next()) is not None:
            if not (info.isreg() or info.isdir()):
                raise _linked(info.name, path)
            yield _Member(info.name, info.isdir(), archive.extractfile(info) if info.isreg() else None)
            archive.members = []  # type: ignore[attr-defined]  # else it keeps all of them
        # An archive ends with a block of zeros; one that was cut between two files would be taken for whole.
        if not stream.read(512):
            stream.seek(archive.offset)  # of the two blocks there may be one, which has just been read
            if len(stream.read(512)) < 512:
                raise EOFError("its end is missing")
        while stream.read(2**20):  # to the end, so that the checksum is looked at
            pass


_OPENERS: dict[tuple[str, ...], Callable[..., Any]] = {
    (".gz", ".tgz"): gzip.open,
    (".bz2", ".tbz2"): bz2.open,
    (".xz", ".txz"): lzma.open,
}
