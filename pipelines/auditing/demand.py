"""What a bundle must be before it is run, where a user demands it: audited without a fault, or signed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipelines.auditing.audit import audit
from pipelines.auditing.contents import Contents
from pipelines.auditing.findings import Finding
from pipelines.auditing.rules import ERROR, WARNING
from pipelines.errors import UntrustedBundleError, UsageError

REQUIRE, PUBLIC_KEY, ALLOW = "PIPELINES_REQUIRE", "PIPELINES_PUBLIC_KEY", "PIPELINES_ALLOW"  # environment
WORDS = ("clean", "strict", "signed")
_OF_KEYS = ("signature-wrong", "manifest-differs", "linked-outside")
_met: set[object] = set()  # what was found to be as demanded, in this process


def demanded() -> frozenset[str]:
    """The words of the environment's ``PIPELINES_REQUIRE``: "clean" (no error), "strict" (nor a warning), "signed".

    Raises:
        UsageError: it has another word.
    """
    words = frozenset(filter(None, (word.strip() for word in os.environ.get(REQUIRE, "").lower().split(","))))
    unknown = sorted(words - {*WORDS})
    if unknown:
        raise UsageError(f"{REQUIRE} has {unknown[0]!r}", how=f"give {', '.join(WORDS)}, with commas between them")
    return words


def meet_demands(bundle: str | os.PathLike[str]) -> None:
    """See to it that a bundle is what the environment demands; nothing where it demands nothing.

    Of a bundle that was looked at already nothing is read again, unless a file in it has changed.

    Raises:
        UntrustedBundleError: it is not.
        UsageError, UnreadableFileError: the demand, or the key, cannot be used.
    """
    words = demanded()
    if not words:
        return
    folder = Path(bundle).resolve()
    key = os.environ.get(PUBLIC_KEY, "").strip()
    if "signed" in words:
        if not key:
            raise UsageError(
                "a signed bundle is demanded, and no key",
                how=f"name the public key's file by --trusted-key, or in {PUBLIC_KEY}",
            )
        sys.dont_write_bytecode = True  # else Python adds files to what is signed
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    allow = tuple(filter(None, (word.strip() for word in os.environ.get(ALLOW, "").split(","))))
    unlisted = _bytecode(folder) if "signed" in words else []
    mark = (folder, words, key, allow, _stamp(folder), *unlisted)
    if mark in _met:
        return
    public = Path(key).expanduser() if "signed" in words else None
    found = audit(folder, allow=allow, public_key=public, look_at_readiness=False).findings
    levels = {level for level, word in ((ERROR, "clean"), (ERROR, "strict"), (WARNING, "strict")) if word in words}
    faults = [each for each in found if each.level in levels or ("signed" in words and each.rule in _OF_KEYS)]
    faults += [_pyc(name) for name in unlisted]
    if faults:
        raise _refusal(folder, faults)
    _met.add(mark)


def _refusal(folder: Path, faults: list[Finding]) -> UntrustedBundleError:
    first = faults[0]
    place = f"{first.file}:{first.line}" if first.line else first.file
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return UntrustedBundleError(
        f"the bundle is not run: {place}: {first.what}{more}",
        where=folder,
        how=f"python -m pipelines check {folder} says all of it; {REQUIRE} demands it",
    )


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    found = []
    for name, path in Contents(folder).files.items():
        try:
            state = path.stat()
            found.append((name, state.st_size, state.st_mtime_ns))
        except OSError:
            found.append((name, -1, -1))
    return tuple(found)


def _bytecode(folder: Path) -> list[str]:
    """Compiled modules of the bundle's own, which Python would take in the place of the source that is signed."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("__pycache__/*.pyc"))


def _pyc(name: str) -> Finding:
    return Finding("manifest-differs", name, 0, "the compiled module is not listed", "delete the folder __pycache__")
