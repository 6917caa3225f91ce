"""From the values that masks hold to labels 0, 1, 2, ... with their names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import LabelError, UsageError
from pipelines.tasks.general.tables import check_names

BACKGROUND = "background"
WHITE = 255  # what a picture of a single label holds in the place of 1


@dataclass(frozen=True)
class Labels:
    """`names` of the labels 0, 1, ...; `numbers`: the label of each value that masks hold; `notes` for the report."""

    names: Mapping[int, str]
    numbers: Mapping[int, int]
    notes: tuple[str, ...] = ()


def number_labels(
    masks: Collection[Collection[int]],
    where: Path,
    *,
    named: Mapping[int, str] | None = None,
    given: Sequence[str] | None = None,
) -> Labels:
    """Number the labels in the order of the masks' values. Masks of 0 and 255 count as 0 and 1.

    Args:
        masks: the values of each mask.
        where: the raw folder, for messages.
        named: names by value, of labels.json; 0 is background where it has no name.
        given: names in the order of values, background first; they count before `named`.

    Raises:
        LabelError: all masks are empty, 255 beside other values, or a value without a name where others have one.
        UsageError: other names than there are values.
    """
    values = sorted({0}.union(*masks))
    if values == [0]:
        raise LabelError("no mask holds a label: all are background", where=where, how="check what the masks hold")
    notes = []
    white = WHITE in values and set(values) <= {0, 1, WHITE} and not any({1, WHITE} <= set(each) for each in masks)
    if white and named is not None and WHITE in named:
        named = {1 if value == WHITE else value: name for value, name in named.items()}
    if white:
        values = [0, 1]
    elif WHITE in values and given is None and WHITE not in (named or {}):
        raise LabelError(
            f"the masks hold 255 beside other values ({_few(values)}): a label, or a border that counts for nothing",
            where=where,
            how="give it a name in labels.json, or make it 0",
        )
    names = _names(values, where, named, given)
    numbers = {value: number for number, value in enumerate(sorted(names))}
    if any(value != number for value, number in numbers.items()):
        pairs = ", ".join(f"{value} became {number}" for value, number in numbers.items() if value != number)
        notes.append(f"The values of the masks were renumbered in their order: {pairs}.")
    if named is None and given is None:
        notes.append("The labels have no names of their own: give --labels, or labels.json beside the images.")
    notes += [f"No mask holds {names[value]}." for value in sorted(set(names) - set(values))]
    if white:
        numbers[WHITE] = 1
    return Labels({numbers[value]: names[value] for value in sorted(names)}, numbers, tuple(notes))


def _names(
    values: list[int], where: Path, named: Mapping[int, str] | None, given: Sequence[str] | None
) -> dict[int, str]:
    """The name of each value; of more than there are where more are named."""
    if given is not None:
        check_names(given, "--labels")
        if len(given) > values[-1]:
            return dict(enumerate(given))
        if len(given) != len(values):
            raise UsageError(
                f"{len(given)} names are given, and the masks hold {len(values)} values ({_few(values)})",
                where=where,
                how="give --labels a name for each, background first",
            )
        return dict(zip(values, given, strict=True))
    if named is not None:
        found = {0: BACKGROUND, **named}
        if without := [value for value in values if value not in found]:
            raise LabelError(
                f"the masks hold the values {_few(without)}, which labels.json does not name",
                where=where,
                how="name them, or correct the masks",
            )
        return found
    return {value: f"label {value}" if value else BACKGROUND for value in values}


def _few(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
