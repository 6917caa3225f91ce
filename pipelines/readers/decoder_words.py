"""What decoders say and do not raise: that they went on behind damaged data and made up the rest."""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

# Decoded by the libjpeg within gdcm, which prints such a line and returns what it has.
_JPEG = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
_DAMAGE = re.compile(rb"Corrupt JPEG data[^\n]*|Premature end of JPEG file[^\n]*")
_BEHIND = re.compile(rb"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")  # behind a whole picture
# pydicom warns where an RLE segment decodes to more than the slice.
_EXCESS = re.compile(r"RLE segment contains non-conformant padding - (\d+) vs\. (\d+)")
_PADDING_BYTES = 16  # that many may be an encoder's odd padding
_turn = threading.Lock()
# A process that forks meanwhile (a DataLoader's worker) would begin with a lock that nobody gives back.
os.register_at_fork(before=_turn.acquire, after_in_parent=_turn.release, after_in_child=_turn.release)


class DamagedPixels(Exception):
    """Pixel data of which a decoder said that they are damaged."""


@contextmanager
def damage_raised(syntax: UID) -> Iterator[None]:
    """Raises DamagedPixels where a decoder that runs in the block says that the data are damaged.

    libjpeg says so on the process's stderr alone, which is therefore read meanwhile (of JPEG only, and one block at a
    time); what else was written there is written on. Other warnings are dropped.
    """
    with warnings.catch_warnings(record=True) as warned, _stderr(syntax in _JPEG) as said:
        warnings.simplefilter("always")
        yield
    for each in warned:
        if (found := _EXCESS.search(str(each.message))) and int(found[1]) - int(found[2]) > _PADDING_BYTES:
            raise DamagedPixels(f"RLE runs decode to {found[1]} bytes, {found[2]} are due")
    if said:
        raise DamagedPixels(said[0])


@contextmanager
def _stderr(wanted: bool) -> Iterator[list[str]]:
    """Words of damage on stderr, if there are any; what else is written there meanwhile is written on."""
    said: list[str] = []
    if not wanted or not hasattr(os, "memfd_create"):
        yield said
        return
    with _turn:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # a process without stderr
            yield said
            return
        aside = os.memfd_create("stderr")
        os.dup2(aside, 2)
        try:
            yield said
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            text = os.pread(aside, os.fstat(aside).st_size, 0)
            os.close(aside)
            if told := _damage(text):
                said.append(told)
            elif text and not _BEHIND.search(text):
                os.write(2, text)


def _damage(text: bytes) -> str:
    for found in _DAMAGE.finditer(text):
        behind = _BEHIND.match(found[0])
        if behind is None or int(behind[1]) > _PADDING_BYTES:
            return found[0].decode(errors="replace")
    return ""
