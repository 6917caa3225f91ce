"""The few figures of a case that a list shows: what its report says, whatever wrote it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

KINDS = ("share", "ml", "word", "number")  # 0..1 shown in percent, millilitres, a word, a number
_MOST_FIGURES = 20


def figures(report: Mapping[str, Any], facts: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Figures ``{"key", "title", "text", "value"}`` of a report; ``value`` is what they are sorted by.

    A report says which they are: ``"figures": [{"key", "title", "kind"}, ...]``. The key is that of the report, as
    "severity.class" or ["severity", "class"]; the kind is one of `KINDS`. The probability that decides stands beside
    them.
    """
    found = [
        {"key": title, "title": title, "text": text, "value": value}
        for key, title, kind in _shown(report)
        if (value := _value(report, key)) is not None and (text := _text(value, kind)) is not None
    ]
    deciding = probability(report)
    if deciding is not None:
        name, value = deciding
        title = f"p({name})"
        found.append({"key": "probability", "title": title, "text": f"{title} {value:.2f}", "value": value})
    found += [{"key": key, "title": key, "text": text, "value": text} for key, text in (facts or {}).items()]
    return found


def probability(report: Mapping[str, Any]) -> tuple[str, float] | None:
    """The class whose probability decides, and that: an operating point's positive one, or else the predicted one."""
    chances = report.get("probabilities")
    if not isinstance(chances, dict):
        return None
    point = report.get("operating_point")
    name = point.get("positive") if isinstance(point, dict) else report.get("class")
    value = _number(chances.get(name)) if isinstance(name, str) else None
    return None if value is None else (str(name), value)


def classes(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """A classifier's ``prediction``, ``probabilities`` [{name, value}], ``threshold`` {name, value} or None."""
    chances = report.get("probabilities")
    if not isinstance(chances, dict):
        return None
    point = report.get("operating_point")
    threshold = None
    if isinstance(point, dict) and (limit := _number(point.get("threshold"))) is not None:
        threshold = {"name": str(point.get("positive")), "value": limit}
    return {
        "prediction": report.get("class"),
        "probabilities": [
            {"name": str(name), "value": value}
            for name, given in chances.items()
            if (value := _number(given)) is not None
        ],
        "threshold": threshold,
    }


def warnings(report: Mapping[str, Any]) -> list[str]:
    """What a person should know before the figures are believed."""
    found = [str(report["doubt"])] if report.get("doubt") else []
    if report.get("refer"):
        found.append(f"to be seen by a person: {report.get('reason') or 'the network is not sure'}")
    return found


def _shown(report: Mapping[str, Any]) -> Iterator[tuple[list[str], str, str]]:
    """Key, title and kind of each figure; what is none is passed over, for the file may be anybody's."""
    own = report.get("figures")
    for each in own[:_MOST_FIGURES] if isinstance(own, list) else []:
        if not isinstance(each, dict):
            continue
        key, title, kind = each.get("key"), each.get("title"), each.get("kind")
        parts = key.split(".") if isinstance(key, str) else key
        known = isinstance(parts, list) and all(isinstance(part, str) for part in parts)
        if isinstance(parts, list) and known and isinstance(title, str) and title and kind in KINDS:
            yield parts, title, kind


def _value(report: Mapping[str, Any], key: list[str]) -> Any:
    value: Any = report
    for part in key:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of 400 digits
        return None
    return number if math.isfinite(number) else None


def _text(value: Any, kind: str) -> str | None:
    if kind == "word":
        return str(value)
    number = _number(value)
    if number is None:
        return None
    return {"share": f"{100 * number:.1f} %", "ml": _millilitres(number), "number": f"{number:g}"}[kind]


def _millilitres(value: float) -> str:
    """Whole millilitres, below 10 two significant digits: 0.36 mL, 3.0 mL, and 0 mL for none at all."""
    if value == 0 or abs(value) >= 9.95:
        return f"{value:.0f} mL"
    digits = 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:.{max(1 - math.floor(math.log10(abs(rounded))), 1)}f} mL"
