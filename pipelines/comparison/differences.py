"""What else differs between the rows of a ranking, by what their runs recorded: a score may be due to any of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.comparison.ranking import Row, choices, trained_on

# What readers look for first; the other knobs follow by their names.
_FIRST = (
    "pretrained", "encoder_weights", "freeze_encoder", "epochs", "training data",
    "number of seeds", "learning_rate", "batch_size",
)  # fmt: skip
_WORDS = {
    "pretrained": "fine-tuned from other weights",
    "encoder_weights": "encoder pretrained on ImageNet",
}
_WITH_WEIGHTS = frozenset(_WORDS)
_SHOWN = 8  # entries, the others being in the table of origins
_VALUES = 4  # different values of an entry that are told one by one
_NAMES = 3  # of the rows that share a value
_NOT_RECORDED = "not recorded"


def differences(rows: Sequence[Row]) -> list[str]:
    """One entry for each thing that differs, such as ``epochs: 120 (basic_unet), 60 (tiny_unet)``.

    The network itself is no such thing. Rows of which only an evaluation is recorded are named in an entry of their
    own. Empty where nothing differs, or there is nothing to compare.
    """
    if len(rows) < 2:
        return []
    alone = [row for row in rows if "evaluation_only" in row.first.tags]
    known = [row for row in rows if row not in alone]
    said = []
    if len(known) > 1:
        of_rows = [_recorded(row) for row in known]
        names = [name for name in _ordered(of_rows) if len({each.get(name, _NOT_RECORDED) for each in of_rows}) > 1]
        values = {name: [each.get(name, _NOT_RECORDED) for each in of_rows] for name in names}
        said = [f"{_WORDS.get(name, name.replace('_', ' '))}: {_told(values[name], known)}" for name in names[:_SHOWN]]
        if len(names) > _SHOWN:
            rest = ", ".join(name.replace("_", " ") for name in names[_SHOWN:])
            said.append(f"{rest}: see the origin of the rows")
    if alone:
        named = _few([row.label for row in alone])
        said.append(f"not known, since only an evaluation is recorded: how {named} was trained")
    return said


def _recorded(row: Row) -> dict[str, str]:
    """All that makes a row what it is, beside its network."""
    first = row.first
    found = {name: _weights(value) if name in _WITH_WEIGHTS else value for name, value in choices(first.params).items()}
    if any(trained_on(first)):
        data, digest = first.params.get("data_name", "?"), first.params.get("data_fingerprint", "").rpartition(":")[2]
        counts = (first.params.get(f"data_{part}_cases", "?") for part in ("training", "validation"))
        split = "" if not first.params.get("data_test_digest") else f", split {first.params['data_test_digest'][:8]}"
        found["training data"] = f"{data} {digest[:8]}, {' + '.join(counts)} cases{split}"
    found["number of seeds"] = str(len(row.runs))
    found["configs laid over it"] = row.overlays or "none"
    commits = sorted({run.tags["git_commit"][:8] for run in row.runs if run.tags.get("git_commit")})
    if commits:
        found["commit of the code"] = ", ".join(commits)
    return found


def _weights(value: str) -> str:
    """``yes``, ``no``, or the file's name with its folder: which weights a training began with."""
    return {"None": "no", "False": "no", "": "no", "True": "yes"}.get(value, "/".join(value.rsplit("/", 2)[-2:]))


def _ordered(of_rows: Sequence[Mapping[str, str]]) -> list[str]:
    every = {name for each in of_rows for name in each}
    return [*(name for name in _FIRST if name in every), *sorted(every - set(_FIRST))]


def _told(values: Sequence[str], rows: Sequence[Row]) -> str:
    """Each value with the rows that have it; of many different ones their range or their number."""
    groups: dict[str, list[str]] = {}
    for value, row in zip(values, rows, strict=True):
        groups.setdefault(value, []).append(row.label)
    if len(groups) <= _VALUES:
        return "; ".join(f"{value} ({_few(labels)})" for value, labels in groups.items())
    try:
        ordered = sorted(groups, key=float)
    except ValueError:
        return f"{len(groups)} different values"
    return f"{ordered[0]} to {ordered[-1]}"


def _few(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _NAMES} more" if len(labels) > _NAMES else ""
    return ", ".join(labels[:_NAMES]) + more
