"""What things are called in DICOM: coded concepts that configs give, and codes of our own for what they leave out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from highdicom.sr import CodedConcept

from pipelines.errors import ConfigError

OWN_SCHEME = "99IMGBUNDLES"  # DICOM PS3.16 section 8.2: private schemes begin with 99
_LONGEST_VALUE, _LONGEST_MEANING = 16, 64


def concept(given: Sequence[str] | None, name: str) -> CodedConcept:
    """A coded concept.

    Args:
        given: value, scheme (SCT, DCM, UCUM, 99…) and meaning; None for a code of our own.
        name: what the own code is made of.

    Raises:
        ConfigError: it is not three words, or one of them is longer than DICOM allows.
    """
    if given is None:
        return CodedConcept(_own_value(name), OWN_SCHEME, name[:_LONGEST_MEANING])
    words = [str(each) for each in given] if isinstance(given, Sequence) and not isinstance(given, str) else []
    if len(words) != 3 or not all(words) or max(map(len, words[:2])) > _LONGEST_VALUE or len(words[2]) > 64:
        raise ConfigError(f"{given!r} is no code for {name}", how="give [value, scheme, meaning], 16, 16 and 64 long")
    return CodedConcept(*words)


def _own_value(name: str) -> str:
    """At most 16 letters, digits and underscores; different names have different ones."""
    value = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    if value and len(value) <= _LONGEST_VALUE:
        return value
    return f"{value[:7]}_{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
