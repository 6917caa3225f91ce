"""Names of patients as people write them: P1, p1 and "P1 " are one person, and so are the two forms of an é."""

from __future__ import annotations

import logging
import unicodedata

logger = logging.getLogger(__name__)


def patient_key(name: str) -> str:
    """What a patient's name is compared by: its letters without case, in one Unicode form (NFKC), and single spaces.

    Two names with one key are taken as one patient. Where they are two, each of them is still in one split only;
    taken as two, one person could stand on both sides of a split.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


class Spellings:
    """Gives each patient the spelling that was met first, so that sets with one spelling each stay as they are."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self.joined: dict[str, list[str]] = {}

    def __call__(self, name: str) -> str:
        """The first spelling of this patient. A further one is warned of, without the name: it may say who it is."""
        first = self._first.setdefault(patient_key(name), name)
        others = self.joined.setdefault(first, []) if name != first else []
        if name != first and name not in others:
            others.append(name)
            logger.warning("a patient is written in several ways (case, spaces or Unicode form), and is taken as one")
        return first
