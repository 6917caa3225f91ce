"""Metrics that are asked for by name, and those that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.auditing.contents import Contents, Layers
from pipelines.auditing.documents import items
from pipelines.auditing.findings import Finding
from pipelines.auditing.references import resolved

_DEFINING = re.compile(r"(^|#)(key_metric|additional_metrics|key_(val|train)_metric)$")
_ASKED = re.compile(r"\.metrics(?:\[|\.get\()\s*['\"]([^'\"]+)['\"]")
_ATTACHED = re.compile(r"\.attach\([^)]*['\"]([^'\"]+)['\"]")
_SAVER = re.compile(r"(\w+\.)*CheckpointSaver")


def check_metrics(contents: Contents) -> Iterator[Finding]:
    """Score functions, savers and schedulers that ask for what is not defined; savers by a key metric without one."""
    for name, document in contents.documents.items():
        if not isinstance(document.data, dict):
            continue
        ways = [sorted(set(_check(each)), key=repr) for each in contents.combinations(name)]
        yield from min(ways, key=lambda way: (sum(each.file == document.file for each in way), len(way)))


def _check(layers: Layers) -> Iterator[Finding]:
    defined = {name for document in layers.documents for name in _defined(document.data, layers.config)}
    for id, value in layers.items:
        for place, name in _asked(id, value):
            if name not in defined:
                there = f"; there are {', '.join(sorted(defined))}" if defined else ""
                yield Finding("undefined-metric", *layers.place(place), f"{place} asks for {name!r}{there}")
        if _by_key_metric(value) and not any(_key_metric(each) for _, each in layers.items):
            yield Finding("key-metric-missing", *layers.place(id), f"{id} keeps weights by a key metric")


def _by_key_metric(value: Any) -> bool:
    if not isinstance(value, dict) or not _SAVER.fullmatch(str(value.get("_target_"))):
        return False
    return value.get("save_key_metric") is True


def _key_metric(value: Any) -> bool:
    return isinstance(value, dict) and any(value.get(key) for key in ("key_val_metric", "key_train_metric"))


def _defined(data: Any, whole: dict[str, Any]) -> Iterator[str]:
    for id, value in items(data):
        if _DEFINING.search(id):
            value = resolved(whole, value)
            if isinstance(value, dict):
                yield from (str(key) for key in value if not str(key).startswith("_"))
        if isinstance(value, str) and value.startswith("$"):
            yield from _ATTACHED.findall(value)


def _asked(id: str, value: Any) -> Iterator[tuple[str, str]]:
    """(id, name) of what a value asks for."""
    if isinstance(value, str) and value.startswith("$"):
        yield from ((id, name) for name in _ASKED.findall(value))
    if not isinstance(value, dict) or not isinstance(value.get("_target_"), str):
        return
    keys = ["key_metric_name"]
    if value["_target_"].rpartition(".")[2] == "MetricsSaver":
        keys += ["metrics", "metric_details"]
    for key in keys:
        said = value.get(key)
        for word in said if isinstance(said, list) else [said]:
            if isinstance(word, str) and word not in ("*", "None") and word[:1] not in "$@%":
                yield f"{id}#{key}", word
