"""Training and serving do not drift apart: what both state is the same, for every network."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml
from bundle_under_test import Bundle
from config_reading import reach, references, target
from monai.bundle import ConfigParser
from monai.transforms import Randomizable

from pipelines.auditing.contents import at
from pipelines.auditing.drift import for_key, same_for

pytestmark = pytest.mark.contract("supervised")
DETERMINISTIC = "deterministic_transforms"

SAYS_HOW_SURE = {
    f"pipelines.transforms.{name}" for name in ("SplitProbabilitiesd", "KeepProbabilitiesd", "MaskCertaintyd")
}


def test_network_is_the_same(bundle: Bundle) -> None:
    for name in ("", *bundle.networks):
        overlay = [name] if name else []
        train, inference = bundle.config("train", *overlay), bundle.config("inference", *overlay)
        assert train["network_def"] == inference["network_def"], name
        assert train["network_name"] == inference["network_name"] == (name or train["network_name"])


def test_default_network_is_one_of_the_overlays(bundle: Bundle) -> None:
    default = bundle.config("train")
    assert bundle.written(default["network_name"])["network_def"] == default["network_def"]


def channels(bundle: Bundle) -> dict[Any, str]:
    """The labels that the output's channels stand for: one channel is the logit of the one label beside background."""
    said = bundle.metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    if bundle.kind == "segmentation" and len(said) == 1:
        return {0: "background", 1: said["0"]}
    return said


def test_labels_are_the_same_everywhere(bundle: Bundle) -> None:
    said = {
        "train.yaml": bundle.config("train")["label_names"],
        "inference.yaml": bundle.config("inference")["label_names"],
        "the dataset's card": bundle.card_labels,
        "metadata.json": channels(bundle),
    }
    said = {where: [(int(value), name) for value, name in labels.items()] for where, labels in said.items()}
    assert len({str(labels) for labels in said.values()}) == 1, said


def test_validation_prepares_an_image_as_inference_does(bundle: Bundle) -> None:
    validation = for_key("image", at(bundle.config("train"), f"validate#{DETERMINISTIC}"))
    inference = at(bundle.config("inference"), DETERMINISTIC)
    assert [each["_target_"] for each in validation] == [each["_target_"] for each in inference]
    for one, other in zip(validation, inference, strict=True):
        assert same_for("image", one, other), f"{one} is not {other}"


def test_training_prepares_an_image_as_inference_does(bundle: Bundle) -> None:
    """It begins as inference does. Steps after that stand for what the inferer does, and obey the same knobs."""
    config, serving = bundle.config("train"), bundle.config("inference")
    training = for_key("image", at(config, f"train#{DETERMINISTIC}"))
    inference = at(serving, DETERMINISTIC)
    assert len(training) >= len(inference)
    for one, other in zip(training, inference, strict=False):
        assert same_for("image", one, other), f"{one} is not {other}"
    for extra in training[len(inference) :]:
        knobs = references(extra)
        assert knobs, f"{extra} is done in training only"
        assert knobs <= references(serving["inferer"]), f"{extra} is done in training only"


def test_what_both_depend_on_has_the_same_value(bundle: Bundle) -> None:
    train, inference = bundle.config("train"), bundle.config("inference")
    used = reach(inference, "network_def", DETERMINISTIC, "inferer") & train.keys() - {"network_def", DETERMINISTIC}
    used |= {"bundle_root", "dataset_dir", "datalist", "device", "label_names", "network_name"}
    differing = {id: (train[id], inference[id]) for id in used if id in train and train[id] != inference[id]}
    assert differing == {}


def test_validation_infers_as_inference_does(bundle: Bundle) -> None:
    validation, inference = at(bundle.config("train"), "validate#inferer"), bundle.config("inference")["inferer"]
    shared = validation.keys() & inference.keys()
    assert "_target_" in shared
    assert {key: validation[key] for key in shared} == {key: inference[key] for key in shared}


def test_validation_finishes_a_mask_as_inference_does(bundle: Bundle) -> None:
    """What is left on top of an argmax (stray islands, the way back to the grid) is measured as it is served.

    Inference says beside it how sure the mask is, and behind it may give it the form that it is written in; neither
    changes a value."""
    validation = at(bundle.config("train"), "validate#postprocessing")
    served = deepcopy(bundle.config("inference")["postprocessing"])
    served["transforms"] = [each for each in served["transforms"] if each["_target_"] not in SAYS_HOW_SURE]
    for each in served["transforms"]:
        if each["keys"] == ["pred", "part_certainty"]:
            each["keys"] = "pred"
    while served["transforms"][-1]["_target_"] in ("CastToTyped", "SqueezeDimd"):
        step = served["transforms"].pop()
        assert step.get("dim", 0) == 0
        assert step.get("dtype", "$torch.uint8") == "$torch.uint8"
    assert yaml.safe_dump(validation).replace("@validate#", "@") == yaml.safe_dump(served)


def test_preprocessing_is_made_of_the_deterministic_transforms(bundle: Bundle) -> None:
    train, inference = bundle.config("train"), bundle.config("inference")
    assert at(inference, "preprocessing#transforms") == f"$@{DETERMINISTIC} + @image_checks"
    targets = [each["_target_"] for each in at(inference, "image_checks")]
    assert targets == ["pipelines.transforms.KnownLooksd"], "it refuses, and changes nothing"
    assert at(train, "validate#preprocessing#transforms") == f"@validate#{DETERMINISTIC}"
    assert f"train#{DETERMINISTIC}" in references(at(train, "train#preprocessing"))


def test_deterministic_transforms_are_deterministic(bundle: Bundle) -> None:
    for name, id in (("train", "train#"), ("train", "validate#"), ("inference", "")):
        for transform in at(bundle.config(name), f"{id}{DETERMINISTIC}"):
            assert not issubclass(target(transform), Randomizable), f"{name}: {transform['_target_']} is random"


def test_random_transforms_come_after_what_is_cached(bundle: Bundle) -> None:
    """A cache keeps what is done before the first random transform, and no more."""
    parser = ConfigParser(bundle.config("train") | {"bundle_root": str(bundle.root)})
    steps = parser.get_parsed_content("train#preprocessing").transforms
    assert isinstance(steps[len(at(bundle.config("train"), f"train#{DETERMINISTIC}"))], Randomizable)
