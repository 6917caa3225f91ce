"""Configs read without being run: ids, references, components, overlays, and what MONAI is known to trip over."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import pytest
import torch
from bundle_under_test import Bundle
from config_reading import (
    MACRO_OF_A_FILE,
    broken_components,
    broken_expressions,
    broken_references,
    items,
    references,
)
from kinds import schedules
from monai.bundle import ConfigParser
from torch.optim.lr_scheduler import OneCycleLR

from pipelines.auditing.contents import at, has

TRAIN_IDS = [
    "bundle_root", "device", "dataset_dir", "train#trainer", "train#trainer#max_epochs", "train#dataset",
    "train#dataset#data", "train#inferer", "train#handlers", "train#preprocessing", "train#postprocessing",
    "train#key_metric", "validate#evaluator", "validate#handlers", "validate#dataset", "validate#dataset#data",
    "validate#inferer", "validate#preprocessing", "validate#postprocessing", "validate#key_metric", "val_interval",
    "network_def", "network", "initialize", "run", "finalize",
]  # fmt: skip
INFERENCE_IDS = [
    "bundle_root", "device", "dataset_dir", "dataset", "dataset#data", "dataloader", "evaluator", "network_def",
    "network", "inferer", "handlers", "preprocessing", "postprocessing", "initialize", "run", "finalize",
]  # fmt: skip
# what whole configs say alike, and each id of a network (``network_def``, ``autoencoder_def``) or of labels
SHARED = {"bundle_root", "root", "dataset_dir", "datalist", "device", "amp", "network_name"}
# what a bundle lets a user turn, whatever it is for
KNOBS = {
    "train": [
        "epochs", "batch_size", "accumulate", "learning_rate", "workers", "seed", "device", "amp", "channels_last",
        "compile", "ckpt_dir", "resume",
    ],
    "inference": ["input", "checkpoint", "output_dir", "workers", "device", "amp"],
}  # fmt: skip


def overlays(bundle: Bundle) -> list[str]:
    """Configs that change another: those beside train and inference, and the networks."""
    return [*bundle.overlays, *bundle.networks]


def combinations(bundle: Bundle) -> dict[str, list[str]]:
    """Lists of configs that are run together: each overlay as the command in its own head says, a network on both."""
    found = {name: [name] for name in bundle.whole}
    for name in overlays(bundle):
        if name in bundle.networks:
            found |= {f"{whole}+{name}": [whole, name] for whole in bundle.whole if bundle.has(whole, "network_def")}
            continue
        _, files = bundle.shown(name)
        assert name in files and files[0] in bundle.whole, f"{name}.yaml: the command in its head does not run it"  # noqa: PT018
        found["+".join(files)] = files
    return found


def every(bundle: Bundle) -> list[tuple[str, dict[str, Any]]]:
    return [(label, bundle.config(*names)) for label, names in combinations(bundle).items()]


@pytest.mark.contract("supervised")
@pytest.mark.parametrize(
    ("name", "ids"), [("train", TRAIN_IDS), ("inference", INFERENCE_IDS)], ids=["train", "inference"]
)
def test_ids_that_monai_looks_for(bundle: Bundle, name: str, ids: list[str]) -> None:
    assert name in bundle.whole, f"the command in the head of {name}.yaml does not run it alone"
    config = bundle.config(name)
    assert [id for id in ids if not has(config, id)] == []
    assert all(isinstance(config[id], list) for id in ("initialize", "run", "finalize"))


@pytest.mark.contract("supervised")
def test_knobs(bundle: Bundle) -> None:
    for name, knobs in KNOBS.items():
        config = bundle.config(name)
        assert [knob for knob in knobs if knob not in config] == [], name


def test_whole_configs_can_be_run(bundle: Bundle) -> None:
    """Each, however many there are: MONAI runs three lists, of which the middle one does something."""
    assert bundle.whole, "no config stands alone"
    for name in bundle.whole:
        config = bundle.config(name)
        assert [id for id in ("initialize", "run", "finalize") if not isinstance(config.get(id), list)] == [], name
        assert config["run"], f"{name}.yaml runs nothing"


def test_whole_configs_agree_in_what_they_share(bundle: Bundle) -> None:
    """Where the data are, what runs it, and each network that more than one of them has."""
    configs = {name: bundle.config(name) for name in bundle.whole}
    ids = {id for config in configs.values() for id in config}
    shared = {id for id in ids if id in SHARED or id.endswith("_def") or id.endswith("_names")}
    said = {id: {name: config[id] for name, config in configs.items() if id in config} for id in shared}
    assert {id: values for id, values in said.items() if any(v != [*values.values()][0] for v in values.values())} == {}  # noqa: RUF015


def test_bundle_root_is_here(bundle: Bundle) -> None:
    for label, config in every(bundle):
        assert config["bundle_root"] == ".", label


def test_no_absolute_path(bundle: Bundle) -> None:
    """A text that is a path from the root, or in an expression a text that is not added to another one."""
    problems = []
    for label, config in every(bundle):
        for id, value in items(config):
            if not isinstance(value, str):
                continue
            texts = [value]
            if value.startswith("$"):
                nodes = list(ast.walk(ast.parse(re.sub(r"@[\w#:]+", "_r", value[1:]).strip())))
                added = [node.right for node in nodes if isinstance(node, ast.BinOp)]
                loose = [node for node in nodes if isinstance(node, ast.Constant) and node not in added]
                texts = [node.value for node in loose if isinstance(node.value, str)]
            problems += [f"{label} {id}: {text}" for text in texts if re.match(r"(/|~|[A-Za-z]:\\)", text)]
    assert problems == []


def test_references_resolve(bundle: Bundle) -> None:
    assert {label: broken for label, config in every(bundle) if (broken := broken_references(config))} == {}


def test_components_import_and_take_their_arguments(bundle: Bundle) -> None:
    assert {label: broken for label, config in every(bundle) if (broken := broken_components(config))} == {}


def test_expressions_use_what_is_there(bundle: Bundle) -> None:
    assert {label: broken for label, config in every(bundle) if (broken := broken_expressions(config))} == {}


def test_overlays_merge_onto_what_exists(bundle: Bundle) -> None:
    """An overlay's id is in what it is laid over; a new one is a knob at the top that the overlay itself refers to.

    So a misspelt id, which MONAI would add in silence, is found: nothing refers to it. A network's overlay is laid over
    training and inference alike, and may turn a knob that one of them has.
    """
    problems, wholes = [], [bundle.config(name) for name in bundle.whole]
    for label, names in combinations(bundle).items():
        for position, name in enumerate(names[1:], start=1):
            base, overlay = bundle.config(*names[:position]), bundle.written(name)
            for key in overlay:
                id = key.removeprefix("+")
                used = references({other: value for other, value in overlay.items() if other != key})
                known = has(base, id) or (name in bundle.networks and any(id in whole for whole in wholes))
                if not known and ("#" in id or key.startswith("+") or id not in used):
                    problems.append(f"{label}: {name}.yaml has {key}")
    assert problems == []


def test_overlays_name_no_place_in_a_list(bundle: Bundle) -> None:
    """``train#handlers#2`` is another handler as soon as one is added."""
    places = {name: [key for key in bundle.written(name) if re.search(r"#\d+(#|$)", key)] for name in overlays(bundle)}
    assert {name: keys for name, keys in places.items() if keys} == {}


def test_no_config_refers_into_another_file(bundle: Bundle) -> None:
    """MONAI looks for ``%file#id`` in the working directory."""
    for name in [*bundle.whole, *overlays(bundle)]:
        texts = [value for _, value in items(bundle.written(name)) if isinstance(value, str)]
        assert [text for text in texts if MACRO_OF_A_FILE.search(text)] == [], name


@pytest.mark.contract("supervised")
def test_key_metrics_have_ids_of_their_own(bundle: Bundle) -> None:
    """check_properties crashes on one that is written in line."""
    for label, config in every(bundle):
        if has(config, "train#trainer"):
            assert at(config, "train#trainer#key_train_metric") == "@train#key_metric", label
            assert at(config, "validate#evaluator#key_val_metric") == "@validate#key_metric", label
        elif has(config, "evaluator#key_val_metric"):
            assert at(config, "evaluator#key_val_metric") == "@key_metric", label


@pytest.mark.contract("supervised")
def test_handlers_are_switched_off_by_what_they_are(bundle: Bundle) -> None:
    """Of several processes one prints, saves and tracks: ``_disabled_`` or ``save`` asks ``@main_process``."""
    config = bundle.config("train", "multi_gpu_train")
    assert bundle.config("train")["main_process"] is True
    assert "get_rank" in config["main_process"]
    talkative = re.compile(r"Stats|ProgressBar|Tracker|Checkpoint|Saver|TensorBoard|MLFlow|Report$|Writer$")
    handlers = [*at(config, "train#handlers"), *at(config, "validate#handlers")]
    for handler in handlers:
        handler = at(config, handler.removeprefix("@")) if isinstance(handler, str) else handler
        if talkative.search(handler["_target_"]):
            asks = references([handler.get("_disabled_"), handler.get("save")])
            assert "main_process" in asks, f"{handler['_target_']} works in every process"
    validation = next(h for h in handlers if isinstance(h, dict) and h["_target_"].endswith("ValidationHandler"))
    assert "_disabled_" not in validation, "one process that does not validate leaves the others waiting for ever"


@pytest.mark.contract("schedule")
def test_one_cycle_can_begin_however_few_its_steps(bundle: Bundle) -> None:
    """OneCycleLR divides by zero where its rise is one step exactly: a small set and few epochs would not train."""
    for scheduler in schedules(bundle):
        assert scheduler["_target_"] == "torch.optim.lr_scheduler.OneCycleLR"
        share = scheduler.get("pct_start", inspect.signature(OneCycleLR).parameters["pct_start"].default)
        for steps in range(2, 300):
            OneCycleLR(torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0), 1.0, steps, pct_start=share)


@pytest.mark.contract("supervised")
def test_norm_layers_are_held_only_where_their_statistics_come_from_somewhere(bundle: Bundle) -> None:
    """With its norm layers held at their first values, a network of random weights does not learn."""
    weights = "encoder_weights" if "encoder_weights" in bundle.written("train") else None
    if weights is None:
        pytest.skip("no network on weights from elsewhere")
    for given, start, held in ((False, None, False), (True, None, True), ("a.pth", None, True), (False, "b.pt", True)):
        config = bundle.config("train")
        config |= {weights: given, "pretrained": start}
        assert ConfigParser(config).get_parsed_content("hold_norm") is held


@pytest.mark.contract("classification")
def test_monai_label_can_end_a_classification(bundle: Bundle) -> None:
    transforms = at(bundle.config("inference"), "postprocessing#transforms")
    names = [each["_target_"].rsplit(".", 1)[-1] for each in transforms[-2:]]
    assert names == ["Activationsd", "DeleteItemsd"]
    assert transforms[-2].get("softmax") is True
    assert transforms[-1]["keys"] == ["image", "image_meta_dict"]
