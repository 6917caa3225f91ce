"""Under which licence a bundle and its data are, and whether that is said once."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.auditing.contents import METADATA, Contents, texts_of
from pipelines.auditing.findings import Finding

LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "docs/LICENSE")
DATA = ("docs/data_license.txt", "docs/data_licence.txt", "docs/license.txt", "docs/data_license.md")
WEIGHTS = (".pt", ".pth", ".ckpt", ".ts", ".safetensors", ".onnx")
_SAID_BY = {
    "apache-2.0": r"Apache License\s+Version 2\.0",
    "mit": r"MIT License|Permission is hereby granted, free of charge",
    "bsd-3-clause": r"Redistribution and use in source and binary forms",
    "gpl-3.0": r"GNU GENERAL PUBLIC LICENSE\s+Version 3",
    "cc-by-4.0": r"Attribution 4\.0 International",
}


def check_licences(contents: Contents) -> Iterator[Finding]:
    """LICENSE, ``license`` of the metadata, and the data's licence beside weights."""
    text = next((text for _, text in texts_of(contents, ("",), LICENCES)), "")
    if not text.strip():
        yield Finding("licence-missing", "LICENSE", 0, "the bundle has no licence: nobody may use it")
    said = contents.about.get("license")
    if isinstance(said, str) and text.strip():
        pattern = _SAID_BY.get(said.strip().lower().removesuffix("-or-later").removesuffix("-only"))
        if pattern is not None and not re.search(pattern, " ".join(text.split())):
            yield Finding(
                "licence-differs",
                METADATA,
                contents.metadata.line("license"),
                f"license is {said}, which LICENSE is not",
            )
    shipped = [name for name in contents.files if name.startswith("models/") and name.endswith(WEIGHTS)]
    if shipped and not any(name in contents.files for name in DATA):
        yield Finding(
            "data-licence-missing", shipped[0], 0, "weights are shipped, and their data's licence is not said"
        )
