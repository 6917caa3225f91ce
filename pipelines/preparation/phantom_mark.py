"""What marks a raw folder as phantoms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PHANTOM_MARK = "phantom.json"


def write_mark(folder: Path, seed: int, cases: dict[str, dict[str, Any]]) -> None:
    """Write phantom.json, which marks a raw folder as phantoms and states what is known of each case."""
    content = {"phantom": True, "seed": seed, "cases": cases}
    (folder / PHANTOM_MARK).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
