"""Many faults of a raw folder, as one error."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import PipelinesError

MAX_SHOWN_FAULTS = 20


def joined(faults: list[PipelinesError], cases: int, raw: Path) -> PipelinesError:
    """One error for all faults, of the first one's kind."""
    if len(faults) == 1:
        return faults[0]
    shown = " | ".join(str(fault) for fault in faults[:MAX_SHOWN_FAULTS])
    more = f" | and {len(faults) - MAX_SHOWN_FAULTS} more" if len(faults) > MAX_SHOWN_FAULTS else ""
    what = f"{len(faults)} faults in a dataset of {cases} cases: {shown}{more}"
    return type(faults[0])(what, where=raw, how="mend them, or leave these cases out with --skip-bad")
