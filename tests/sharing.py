"""Which tests one of several workers runs together, so that what they share is made once."""

from __future__ import annotations

import re
from pathlib import Path

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"


def share(nodeid: str) -> str:
    """The name of what one worker does, by a test's id: its file, its bundle, or its network."""
    file, _, rest = nodeid.partition("::")
    params = rest.partition("[")[2].removesuffix("]")
    if file == "tests/networks/test_contract.py":
        return f"{file} {params.partition('-')[0]}"
    if file == "tests/starting/test_begun_bundles.py":  # each of these is the whole contract of a bundle
        return f"{file} {params}".strip()
    if file.startswith("tests/bundles/"):
        for configs in BUNDLES.glob("*/configs/networks"):
            bundle = configs.parents[1].name
            if re.search(rf"\b{bundle}\b", params):
                names = [path.stem for path in configs.glob("*.yaml")]
                of = next((name for name in names if re.search(rf"\b{bundle}-{name}\b", params)), "")
                return f"{bundle} {of}".strip()
    return file
