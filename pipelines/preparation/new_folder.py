"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.errors import OutputError
from pipelines.files import held_beside

_HOW = "choose another --out, or remove it first"


def check_target(out: Path, replaceable: Callable[[Path], bool], force: bool) -> None:
    """Raise OutputError unless `out` is free (absent or an empty folder), or `replaceable` and replacing it is asked
    for."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise OutputError("the output exists and is no folder", where=out, how=_HOW)
    if not out.exists() or not any(out.iterdir()):
        return
    if not replaceable(out):
        raise OutputError("the output folder exists and was not written by this command", where=out, how=_HOW)
    if not force:
        raise OutputError(
            "the output folder exists", where=out, how="give --force to replace it, or choose another --out"
        )


@contextmanager
def new_folder(out: Path, replaceable: Callable[[Path], bool], force: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `out` that takes its name when the block ends well, and is removed when it does not.

    What a killed run left beside `out` is removed by the next one. Two at once refuse each other.

    Raises:
        OutputError: the target is taken (see `check_target`), read-only, full, or another run is writing it.
    """
    out = out.absolute()
    check_target(out, replaceable, force)
    with held_beside(out):
        check_target(out, replaceable, force)  # another run may have ended meanwhile
        yield from _appearing(out, replaceable, force)


def _appearing(out: Path, replaceable: Callable[[Path], bool], force: bool) -> Iterator[Path]:
    partial, former = (out.with_name(f".{out.name}.{word}-{os.getpid()}") for word in ("partial", "former"))
    try:
        _sweep(out)
        partial.mkdir()
    except OSError as error:
        raise OutputError(f"cannot write here ({error.strerror})", where=out, how="choose another --out") from None
    try:
        yield partial
        check_target(out, replaceable, force)
        if out.exists():
            out.rename(former)
        try:
            partial.rename(out)
        except OSError:
            if former.exists():
                former.rename(out)
            raise
    except OSError as error:
        if error.filename is not None and not _inside(error.filename, partial, out, former):
            raise
        raise OutputError(
            f"the output cannot be written ({error.strerror or error})", where=out, how="free space or rights"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def _inside(name: object, *folders: Path) -> bool:
    return any(str(name).startswith(str(folder)) for folder in folders)


def _sweep(out: Path) -> None:
    for left in out.parent.glob(f".{out.name}.*-*"):
        word, _, pid = left.name.removeprefix(f".{out.name}.").partition("-")
        if word not in ("partial", "former") or not pid.isdigit():
            continue
        if word == "former" and not out.exists():  # killed between the two renamings: the old folder is the good one
            with suppress(OSError):
                left.rename(out)
        else:
            shutil.rmtree(left, ignore_errors=True)
