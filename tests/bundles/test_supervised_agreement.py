"""Supervised bundles train, evaluate and serve by the same machinery: where they may differ is said here, and why.

A configuration cannot refer into another bundle's, so the same lists stand in each of them. What is mended in one is
mended in all, or this fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
from bundle_under_test import OURS, Bundle
from kinds import has_trait

from pipelines.auditing.contents import at
from pipelines.bundle import bundles_in

# by config, what is held together; "" is all that an overlay says
HELD = {
    "train": (
        "bundle_root", "root", "datalist", "ckpt_dir", "output_dir", "resume", "pretrained", "seed", "device", "amp",
        "channels_last", "compile", "accumulate",
        "tracking_uri", "run_name", "loss_function", "optimizer", "lr_scheduler", "train#dataloader", "train#inferer",
        "train#handlers", "train#trainer", "validate#preprocessing", "validate#sampler", "validate#dataloader",
        "validate#early_stopping", "validate#handlers", "validate#evaluator", "main_process", "initialize", "run",
        "finalize",
    ),
    "inference": (
        "bundle_root", "root", "input", "datalist", "checkpoint", "output_dir", "device", "amp", "network",
        "preprocessing", "dataset", "dataloader", "handlers", "evaluator", "initialize", "run", "finalize",
    ),
    "evaluate": ("",),
    "multi_gpu_train": ("",),
}  # fmt: skip
# what may differ, by the ids as `flat` writes them; a difference that is no more must be taken off
DIFFERENCES = {
    r"train: train#handlers#CalibrationFit(#.*)?": "probabilities are calibrated, masks are not",
    r"train: train#handlers#(CodeStatistics|FamiliarityFit)(#.*)?": "what is unlike the training pictures is told",
    r"train: train#inferer#.*": "what is learnt from may be an encoder's features",
    r"(train|evaluate): validate#dataloader#batch_size": "features are all of one size, pictures are not",
    r"train: train#handlers#RunTracker#params#.*": "each has its knobs; a test of their own looks for them",
    r"train: train#handlers#StepSchedule#(epoch_level|step_transform)": "a schedule by epochs can be laid over",
    r"train: train#handlers#TrainingCheckpoint#(network|state#average)": "an average is kept",
    r"train: validate#evaluator#network": "weights averaged over steps are what is validated",
    r"evaluate: validate#handlers#WeightsLoader#network": "and what is measured",
    r"train: train#dataloader#drop_last": "batch norm over one picture is no training",
    r"train: validate#early_stopping#score_function": "each has its own key metric",
    r"train: optimizer#params": "parts of a network may be frozen, or learn at a rate of their own",
    r"train: lr_scheduler#max_lr": "one for each group of parameters",
    r"inference: handlers#Writer#(?!output_dir|provenance).*": "what is written of a case is the task's",
    r"evaluate: (calibration|network|track|keep_masks|group)": "of classes; a training may fetch weights; of masks",
    r"evaluate: validate#(dataset|key_metric).*": "the labels and the key metric are the task's",
    r"evaluate: validate#handlers#Report#(?!output_dir|prefix).*": "what is measured is the task's",
    r"evaluate: validate#handlers#EvaluationTracker#(_disabled_|label_rule|shown)": "what is tracked of it, too",
    r"multi_gpu_train: (imports|network#module|train#sampler).*": "how the network begins, and how items are drawn",
}
ONE_HAS = ("$@averaged.attach(@train#trainer)",)  # what one runs beside what all do
ROLES = re.compile(r"\w*(Writer|Report)$")


def flat(value: Any, id: str) -> Iterator[tuple[str, Any]]:
    """(id, value) of every plain value. Members of a list of components are called by their class, not their place;
    those that write or report, by what they do. The order of the members is an entry too."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from flat(each, f"{id}#{key}" if id else key)
    elif isinstance(value, list) and any(isinstance(each, dict) and "_target_" in each for each in value):
        names = [
            ROLES.sub(r"\1", each["_target_"].rsplit(".")[-1]) if isinstance(each, dict) else each for each in value
        ]
        yield f"{id}#order", names
        for name, each in zip(names, value, strict=True):
            yield from flat(each, f"{id}#{name}")
    else:
        yield id, [each for each in value if each not in ONE_HAS] if isinstance(value, list) else value


@cache
def held(bundle: Bundle) -> dict[str, Any]:
    """All that is held together, by "CONFIG: ID"."""
    found: dict[str, Any] = {}
    for name, ids in HELD.items():
        config = bundle.written(name)
        for id in ids:
            found |= {f"{name}: {where}": value for where, value in flat(at(config, id), id)}
    for where, names in found.items():
        if where.endswith("#order"):
            found[where] = [each for each in names if not stated(f"{where.removesuffix('#order')}#{each}")]
    return found


def stated(where: str) -> str | None:
    """The entry of ``DIFFERENCES`` that lets this id differ."""
    return next((pattern for pattern in DIFFERENCES if re.fullmatch(pattern, where)), None)


@cache
def ours() -> list[Bundle]:
    """The project's own supervised bundles."""
    return [each for each in map(Bundle, bundles_in(OURS).values()) if has_trait(each, "supervised")]


def differing(left: dict[str, Any], right: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What two bundles say otherwise, by "CONFIG: ID"; "absent" where one says nothing."""
    pairs = {where: (left.get(where, "absent"), right.get(where, "absent")) for where in {**left, **right}}
    return {where: pair for where, pair in pairs.items() if pair[0] != pair[1]}


@pytest.mark.contract("supervised")
def test_supervised_bundles_agree_outside_the_stated_differences(bundle: Bundle) -> None:
    pairs = differing(held(ours()[0]), held(bundle))
    assert {where: pair for where, pair in pairs.items() if not stated(where)} == {}


def test_each_stated_difference_is_one() -> None:
    found = {stated(where) for each in ours()[1:] for where in differing(held(ours()[0]), held(each))}
    assert DIFFERENCES.keys() - found == set(), "they are the same in all: take these off the list"


def test_most_of_a_training_is_held_together() -> None:
    """Or an entry of ``DIFFERENCES`` lets through what it should not."""
    for each in ours():
        kept = [where for where in held(each) if where.startswith("train: ") and not stated(where)]
        assert len(kept) > 100, (each, len(kept))


def test_what_is_out_of_step_is_found() -> None:
    one, other = ours()[:2]
    changed = deepcopy(held(other))
    changed["train: train#trainer#amp"] = True
    changed["train: train#handlers#order"] = changed["train: train#handlers#order"][::-1]
    del changed["inference: handlers#WeightsLoader#path"]
    found = {where for where in differing(held(one), changed) if not stated(where)}
    wanted = {"train: train#trainer#amp", "train: train#handlers#order", "inference: handlers#WeightsLoader#path"}
    assert found == wanted
