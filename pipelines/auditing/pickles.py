"""Files of weights, read without loading them: what a pickle would import is read from its opcodes."""

from __future__ import annotations

import json
import pickletools
import re
import struct
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from pipelines.auditing.contents import Contents
from pipelines.auditing.findings import Finding

PICKLED = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".joblib", ".ts", ".tar", ".p", ".dill")
_LARGEST = 64 << 20  # bytes of one pickle; the tensors' numbers are beside it
_LEGACY = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
# what torch.load(weights_only=True) takes of what a state dict needs
_SAFE = re.compile(
    r"collections\.OrderedDict|_codecs\.encode|torch\.(\w+Storage|Size|device|Tensor|dtype|qint8|quint8|qint32|"
    r"u?int\d+|b?float\d+(_\w+)?|complex\d+|bool|double|float|half|long|int|short|strided|"
    r"per_tensor_affine|per_channel_affine|contiguous_format|channels_last|preserve_format)|"
    r"torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|qtensor|sparse_tensor)|"
    r"torch\.storage\.(UntypedStorage|TypedStorage)|"
    r"torch\.nn\.parameter\.(Parameter|Buffer|UninitializedParameter)|"
    r"torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout"
)
_STRINGS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_SKIPPED = {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "PROTO", "FRAME"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_EXTENSIONS = {"EXT1", "EXT2", "EXT4"}


class Unreadable(Exception):
    """A file that is not what its name says."""


def check_weights(contents: Contents) -> Iterator[Finding]:
    """Pickles that would import more than tensors need, and files that are no weights."""
    for name, path in contents.files.items():
        suffix = path.suffix.lower()
        if path.is_symlink() or not path.is_file():
            continue
        try:
            if suffix == ".safetensors":
                _check_safetensors(path)
                continue
            if suffix in (".npy", ".npz"):
                asked = ["pickled objects"] if _has_objects(path) else []
            elif suffix in PICKLED or _begins_as_pickle(path):
                asked = sorted(set(foreign_names(path)))
            else:
                continue
        except (Unreadable, OSError) as error:
            yield Finding("weights-unreadable", name, 0, str(error))
            continue
        if asked:
            more = f", and {len(asked) - 5} more" if len(asked) > 5 else ""
            yield Finding("pickle-danger", name, 0, f"loading it would call on {', '.join(asked[:5])}{more}")


def foreign_names(path: Path) -> Iterator[str]:
    """What a file that torch or pickle reads would import, beside what tensors need.

    Raises:
        Unreadable: it cannot be told.
    """
    with path.open("rb") as file:
        head = file.read(64)
        _check_head(head)
        if zipfile.is_zipfile(path):
            yield from _of_zip(path)
            if head.startswith(b"PK\x03\x04"):
                return
        file.seek(0)
        yield from _of_stream(file)


def _of_zip(path: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [each for each in archive.infolist() if not each.is_dir()]
            script = any("/code/" in f"/{each.filename}" for each in entries)
            pickles = [each for each in entries if each.filename.lower().endswith((".pkl", ".pickle"))]
            if not pickles:
                raise Unreadable("it is a ZIP without data.pkl, and so no weights")
            for entry in pickles:
                if entry.file_size > _LARGEST:
                    raise Unreadable(f"{entry.filename} in it is too large to be looked through")
                content = archive.read(entry)
                # TorchScript has its own unpickler, which knows its own classes and imports nothing
                yield from (
                    name for name in _of_stream(BytesIO(content)) if not (script and name.startswith("__torch__"))
                )
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise Unreadable(f"it is a damaged ZIP ({error})") from error
    except Exception as error:  # zlib's, lzma's and bz2's own
        if isinstance(error, (Unreadable, OSError)):
            raise
        raise Unreadable(f"it is a damaged ZIP ({error})") from error


def _of_stream(file: IO[bytes]) -> Iterator[str]:
    """Of a pickle, or of the five that torch wrote before 1.6."""
    count, legacy = 0, False
    while count < (5 if legacy else 1):
        first = None
        try:
            for op, value, name in _names(file):
                if first is None and op.name in ("LONG1", "LONG4", "BININT"):
                    first = value
                if name is not None and not _SAFE.fullmatch(name):
                    yield name
        except Exception as error:  # pickletools raises whatever a damaged stream leads to
            raise Unreadable(f"it is no pickle that can be looked through ({str(error)[:80]})") from error
        count += 1
        legacy = legacy or (count == 1 and first == _LEGACY)


def _names(file: IO[bytes]) -> Iterator[tuple[Any, Any, str | None]]:
    """(opcode, argument, what it imports) of one pickle. A name that is computed is "an unknown name"."""
    pushed: list[str | None] = []  # the last values, of which a STACK_GLOBAL takes two
    memo: dict[Any, str | None] = {}
    op: Any
    value: Any
    for op, value, position in pickletools.genops(file):
        if position is not None and position > _LARGEST * 4:
            raise Unreadable("it is too large to be looked through")
        name = None
        if op.name in ("GLOBAL", "INST"):
            name = str(value).replace(" ", ".", 1)
        elif op.name == "STACK_GLOBAL":
            module, attribute = pushed[-2:] if len(pushed) >= 2 else (None, None)
            name = "an unknown name" if module is None or attribute is None else f"{module}.{attribute}"
        elif op.name in _EXTENSIONS:
            name = f"the registered extension {value}"
        yield op, value, name
        if op.name == "MEMOIZE":
            memo[len(memo)] = pushed[-1] if pushed else None
        elif op.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(value)] = pushed[-1] if pushed else None
        elif op.name in _STRINGS:
            pushed.append(value if isinstance(value, str) else value.decode("latin-1"))
        elif op.name in _GETS:
            pushed.append(memo.get(int(value)))
        elif op.name not in _SKIPPED:
            pushed.append(None)
        del pushed[:-4]


def _check_head(head: bytes) -> None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise Unreadable("the file is empty")
    if text.startswith(b"version https://git-lfs"):
        raise Unreadable("it is a pointer of Git LFS, not the weights themselves")
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise Unreadable("it is a web page, not weights")


def _begins_as_pickle(path: Path) -> bool:
    """Whether a file of another name is a pickle of protocol 2 or later."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
            if len(head) < 2 or head[0] != 0x80 or not 2 <= head[1] <= 5:
                return False
            file.seek(0)
            return any(op.name == "STOP" for op, _, _ in pickletools.genops(file))
    except Exception:
        return False


def _check_safetensors(path: Path) -> None:
    """Its head: the length, and JSON with the places of tensors, which lie within the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        _check_head(start)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + length > size or length > _LARGEST:
            raise Unreadable("it is no safetensors file")
        try:
            head = json.loads(file.read(length))
            ends = [int(each["data_offsets"][1]) for name, each in head.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise Unreadable("it is no safetensors file") from error
    if max(ends, default=0) + 8 + length != size:
        raise Unreadable("the safetensors file is cut short, or has more in it than tensors")


def _has_objects(path: Path) -> bool:
    """Whether a NumPy file holds pickled objects."""
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return _is_object_head(file.read(1024))
    try:
        with zipfile.ZipFile(path) as archive:
            heads = []
            for each in archive.infolist():
                with archive.open(each) as entry:
                    heads.append(entry.read(1024))
    except Exception as error:
        raise Unreadable(f"it is a damaged ZIP ({error})") from error
    return any(_is_object_head(head) for head in heads)


def _is_object_head(head: bytes) -> bool:
    return head.startswith(b"\x93NUMPY") and re.search(rb"'descr':\s*('\|O'|\[.*'\|?O)", head) is not None
