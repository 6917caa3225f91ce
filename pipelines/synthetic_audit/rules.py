"""How an audit was made and what weakens it, in sentences for its page."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.errors import PipelinesError
from pipelines.generation import read_record
from pipelines.synthetic_audit.pictures import Pictures, counted
from pipelines.synthetic_audit.plan import Audit, Training

_UNEVEN = 0.1  # of the steps of no augmentation
_SEEDS = 3
_SMALL = 1000  # test pictures; training steps


def rules(audit: Audit, pictures: Pictures, trainings: Sequence[Training]) -> list[str]:
    """What was trained and measured, on which pictures, from which weights."""
    training, test = (_numbers(pictures.names, counted(pictures.chosen[name])) for name in ("training", "test"))
    patients = {name: len({item["patient"] for item in items}) for name, items in pictures.chosen.items()}
    least, most = (min(each.steps for each in trainings), max(each.steps for each in trainings))
    said = [
        f"Real pictures: {training} of {patients['training']} patients in training, {test} of {patients['test']} other "
        "patients in test. Generated pictures are in training only, of each class the same part of its real ones, so "
        "that being generated says nothing of the class.",
        f"Each network was trained in each arm with {len(audit.seeds)} seeds "
        f"({', '.join(map(str, audit.seeds))}); a seed sets the first weights and the order of the pictures.",
        _equal(audit, least, most),
        "The weights of the last epoch were measured, and the likeliest class is what was predicted: nothing was "
        "chosen on validation or test cases.",
        "Intervals and p values are over patients, and do not know that other seeds would have made other networks: so "
        "better and worse are said only where every seed agrees.",
        "Classical augmentation is the bundle's own random transforms; the other arms have none, unless they are "
        "called classical too.",
        _size(pictures, trainings[0]),
        f"Starts: {'; '.join(f'{name} from {_start(audit, name, trainings)}' for name in audit.networks)}.",
    ]
    return said


def weaknesses(audit: Audit, pictures: Pictures, trainings: Sequence[Training]) -> list[str]:
    """What a reader must hold against the figures."""
    found = list(pictures.warnings)
    learnt = _learnt_from(audit)
    real = pictures.real
    unequal = [name for number, name in pictures.names.items() if learnt.get(name, 0) > real[number]]
    if unequal:
        shown = ", ".join(f"{learnt[name]} of class {name}" for name in unequal)
        found.append(
            f"The generators learnt from more real pictures ({shown}) than the networks here were trained on "
            f"({_numbers(pictures.names, real)}): what they add may come from pictures that no augmentation had no "
            "part in. This flatters generated pictures."
        )
    base = next(each.steps for each in trainings if not each.arm.share and not each.arm.augmented)
    uneven = sorted({each.arm.name for each in trainings if abs(each.steps / base - 1) > _UNEVEN})
    if uneven:
        found.append(f"More or fewer optimiser steps than no augmentation by over 10 %: {', '.join(uneven)}.")
    if len(audit.seeds) < _SEEDS:
        found.append(f"{len(audit.seeds)} seeds: chance of a single training is hardly seen. Three or more are due.")
    small = len(pictures.chosen["test"])
    if small < _SMALL or base < _SMALL:
        found.append(
            f"It is small: {small} test pictures, and trainings of {base} steps. A difference that it does not show "
            "may be there, and longer trainings on more pictures may end otherwise."
        )
    return found


def _equal(audit: Audit, least: int, most: int) -> str:
    if audit.equal == "steps":
        return (
            "Every arm has as many optimiser steps as no augmentation, rounded to whole epochs, so that none wins by "
            f"training longer: {least} to {most}. An arm with more pictures sees each less often; classical "
            "augmentation sees as many pictures, each time altered, as any arm with generated ones."
        )
    return (
        f"Every arm has as many epochs, so that more pictures are more optimiser steps ({least} to {most}), and an arm "
        "may win by training longer; classical augmentation has as many epochs more that it sees as many pictures as "
        "the arm with the most generated ones."
    )


def _size(pictures: Pictures, training: Training) -> str:
    rows, columns = pictures.size
    shown = training.plan.value("image_size")
    wanted = ast.literal_eval(shown) if isinstance(shown, str) else shown
    said = f"Generated pictures have {rows}x{columns} pixels. "
    if isinstance(wanted, list) and math.prod(wanted) > rows * columns:
        return said + (
            f"The networks see {wanted[1]}x{wanted[0]}: generated pictures are enlarged and blurred, real ones are "
            "not, so that sharpness tells them apart, and test pictures look like the real ones alone."
        )
    return said + (
        "All pictures, real ones in training and test too, are brought to that size before the networks, so that "
        "sharpness does not tell generated from real; the texture of a generator may. Figures are lower than at full "
        "size."
    )


def _start(audit: Audit, network: str, trainings: Sequence[Training]) -> str:
    plan = next(each.plan for each in trainings if each.network == network)
    value = str(plan.value("encoder_weights"))
    return {"False": "random weights", "True": "ImageNet's weights (torchvision)"}.get(value, Path(value).name)


def _learnt_from(audit: Audit) -> dict[str, int]:
    """Real pictures that each class's generator learnt from, where its record says so."""
    found: dict[str, int] = {}
    for path in audit.generators:
        try:
            record = {} if path.is_dir() else read_record(path)
        except PipelinesError:
            record = {}
        pictures = (record.get("data") or {}).get("pictures")
        if isinstance(pictures, int):
            found[str(record["class"])] = pictures
    return found


def _numbers(names: Mapping[int, str], counts: Mapping[int, int]) -> str:
    return " and ".join(f"{counts.get(number, 0)} {name}" for number, name in names.items())
