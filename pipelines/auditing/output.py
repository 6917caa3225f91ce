"""An audit as text, as JSON, and as SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/)."""

from __future__ import annotations

import json
import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import quote

from pipelines.auditing.audit import PURPOSES, Audit
from pipelines.auditing.findings import Finding
from pipelines.auditing.rules import LEVELS, RULES

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_text(found: Audit) -> str:
    """A line a finding, and how many there are."""
    lines = [
        f"{_place(each)}: {each.level} [{each.rule}]: {_printable(each.what)}; {each.way_out}"
        for each in found.findings
    ]
    counts = [
        f"{found.count(level)} {level}{'' if found.count(level) == 1 else 's'}"
        for level in LEVELS
        if found.count(level)
    ]
    lines.append(f"{found.bundle.name}: {', '.join(counts) or 'nothing found'} in {found.files} files")
    for purpose, (word, _) in PURPOSES.items():
        missing = len(found.readiness[purpose])
        said = f"not ready ({missing} found; --for {purpose} names them)" if missing else "nothing in the way"
        lines.append(f"  {word}: {said}")
    return "\n".join(lines) + "\n"


def as_json(found: Audit) -> str:
    """For programs: the counts, the findings, and readiness."""
    content = {
        "bundle": found.bundle.name,
        "files": found.files,
        "counts": {level: found.count(level) for level in LEVELS},
        "findings": [_plain(each) for each in found.findings],
        "readiness": {purpose: [_plain(each) for each in missing] for purpose, missing in found.readiness.items()},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def as_sarif(found: Audit) -> str:
    """For code scanning: files are below the bundle's folder, which is the base ``BUNDLE``."""
    used = sorted({each.rule for each in found.findings})
    rules = [
        {
            "id": id,
            "shortDescription": {"text": RULES[id].what},
            "help": {"text": RULES[id].how},
            "defaultConfiguration": {"level": RULES[id].level},
        }
        for id in used
    ]
    run = {
        "tool": {"driver": {"name": "pipelines check", "version": _version(), "rules": rules}},
        "originalUriBaseIds": {"BUNDLE": {"uri": f"{found.bundle.resolve().as_uri()}/"}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, used.index(each.rule)) for each in found.findings],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


FORMATS = {"text": as_text, "json": as_json, "sarif": as_sarif}


def rules_as_text() -> str:
    """The rules: id, level, and what each finds."""
    width = max(map(len, RULES))
    lines = [
        f"{rule.id:{width}}  {rule.level:7}  {rule.what}{f' (--for {rule.purpose})' if rule.purpose else ''}"
        for rule in RULES.values()
    ]
    return "\n".join(lines) + "\n"


def _result(each: Finding, index: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(each.file), "uriBaseId": "BUNDLE"}}
    if each.line:
        place["region"] = {"startLine": each.line}
    return {
        "ruleId": each.rule,
        "ruleIndex": index,
        "kind": "fail",
        "level": each.level,
        "message": {"text": f"{_printable(each.what)}; {each.way_out}"},
        "locations": [{"physicalLocation": place}],
    }


def _plain(each: Finding) -> dict[str, Any]:
    return {
        "rule": each.rule, "level": each.level, "file": each.file, "line": each.line or None, "what": each.what,
        "how": each.way_out,
    }  # fmt: skip


def _place(each: Finding) -> str:
    return _printable(f"{each.file}:{each.line}" if each.line else each.file)


def _printable(content: str) -> str:
    """Names and texts of a bundle, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "�" for letter in content)


def _uri(name: str) -> str:
    return quote(os.fsencode(name)) or "./"  # names need not be UTF-8; a finding of the folder itself has none


def _version() -> str:
    try:
        return version("imaging-bundles")
    except PackageNotFoundError:
        return "0"
