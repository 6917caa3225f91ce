"""Where training, validation, inference and metadata say different things of what should be one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.auditing.contents import Contents, Layers, at, has
from pipelines.auditing.findings import Finding
from pipelines.auditing.references import references, resolved

_TRAINING_ONLY = {
    "pretrained",
    "progress",
    "dropout",
    "dropout_prob",
    "dropout_rate",
    "drop_rate",
    "use_checkpoint",
    "weights",
}
# steps that change neither values nor geometry of an image, only what holds it
_NEUTRAL = re.compile(
    r"(EnsureType|ToTensor|ToDevice|CastToType|EnsureChannelFirst|AddChannel|AsChannelFirst|Identity|DeleteItems|"
    r"SelectItems|CopyItems|FgBgToIndices|LoadImage|ToMetaTensor|DataStats|Lambda)(d|D|Dict)?"
)
_CUTS = re.compile(r"\w*(Crop|Pad|Resize|Foreground)\w*")  # what an inferer's windows may stand for
_SILENT = {"keys", "allow_missing_keys", "_desc_", "_disabled_", "_requires_", "device", "image_only", "track_meta"}
_WINDOW_ONLY = {
    "sw_batch_size",
    "batch_size",
    "amp",
    "device",
    "sw_device",
    "progress",
    "cache_roi_weight_map",
    "buffer_steps",
}
_OUT = ("out_channels", "num_classes", "n_classes", "out_chns")
_CHANNELS = ("segmentation", "classification", "probabilities", "labels")
_IN = ("in_channels", "in_chns", "n_input_channels")


def check_drift(contents: Contents) -> Iterator[Finding]:
    """All of these."""
    training, inference = contents.layers("train"), contents.layers("inference")
    yield from _channels(contents, training, inference)
    if training is not None and inference is not None:
        yield from _networks(contents, training, inference)
        if contents.tensor("inputs").get("format") != "latent":  # drawn from numbers: there is no image to prepare
            yield from _labels(contents, training, inference)
            yield from _preprocessing(contents, training, inference)
        yield from _inferers(training, inference)
        yield from _postprocessing(training, inference)


def same_for(key: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two transforms do the same to ``key``; an argument may be written once or as a list, one entry a key."""
    return not _differing(key, one, other)


def for_key(key: str, transforms: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The transforms that touch ``key``."""
    return [each for each in transforms if key in _listed(each.get("keys", key))]


def _differing(key: str, one: Mapping[str, Any], other: Mapping[str, Any], silent: set[str] | None = None) -> list[str]:
    left_out = {"keys"} if silent is None else silent
    return sorted(
        name
        for name in (one.keys() | other.keys()) - left_out
        if name not in one
        or name not in other
        or not any(left == right for left in _choices(key, one, name) for right in _choices(key, other, name))
    )


def _choices(key: str, transform: Mapping[str, Any], name: str) -> list[Any]:
    keys, value = _listed(transform.get("keys", [])), transform[name]
    each = isinstance(value, list) and len(value) == len(keys) and key in keys
    return [value, *([value[keys.index(key)]] if each else [])]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _say(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _networks(contents: Contents, training: Layers, inference: Layers) -> Iterator[Finding]:
    names = [each for each in contents.documents if each.startswith("networks/")]
    for name in ("", *names):
        over = [name] if name else []
        pair = [each for each in (contents.layers("train", *over), contents.layers("inference", *over)) if each]
        if len(pair) < 2:
            continue
        for id in sorted(pair[0].config.keys() & pair[1].config.keys()):
            if id != "network_def" and not id.endswith("_network_def"):
                continue
            one, other = (resolved(each.config, each.config[id]) for each in pair)
            if not isinstance(one, dict) or not isinstance(other, dict):
                if one != other:
                    yield Finding("network-drift", *pair[1].place(id), f"{id} is another one in training")
                continue
            for each in _differing("", one, other):
                if each not in _TRAINING_ONLY:
                    what = f"{id}#{each} is {_say(one.get(each))} in training, {_say(other.get(each))} here"
                    yield Finding("network-drift", *pair[1].place(f"{id}#{each}"), what)


def _channels(contents: Contents, training: Layers | None, inference: Layers | None) -> Iterator[Finding]:
    for side, words in (("inputs", _IN), ("outputs", _OUT)):
        tensor = contents.tensor(side)
        said = tensor.get("num_channels")
        if side == "outputs" and tensor.get("format") not in _CHANNELS:
            continue  # boxes, text, numbers: what its channels are is no matter of the network's
        names = tensor.get("channel_def")
        line = contents.metadata.line(f"network_data_format#{side}")
        if isinstance(said, int) and isinstance(names, dict) and names and len(names) not in _lengths(side, said):
            what = f"{side} have {said} channels and channel_def names {len(names)}"
            yield Finding("channel-drift", contents.metadata.file, line, what)
        for layers in filter(None, (training, inference)):
            network = resolved(layers.config, layers.config.get("network_def"))
            if not isinstance(network, dict) or not isinstance(said, int):
                continue
            for word in words:
                if type(network.get(word)) is int and network[word] not in {said, min(said, 2) - 1 or said}:
                    file, at_line = layers.place(f"network_def#{word}")
                    what = f"network_def#{word} is {network[word]}, and the metadata say {said}"
                    yield Finding("channel-drift", file, at_line, what)


def _lengths(side: str, said: int) -> set[int]:
    return {1, 2} if side == "outputs" and said == 1 else {said}  # one logit is of the one label beside background


def _labels(contents: Contents, training: Layers, inference: Layers) -> Iterator[Finding]:
    ids = [id for id in training.config if id in ("label_names", "class_names", "labels_def")]
    said = contents.tensor("outputs").get("channel_def") or None
    for id in ids:
        one, other = _named(training.config[id]), _named(inference.config.get(id))
        file, line = inference.place(id)
        if one is None:
            continue
        if other is not None and one != other:
            yield Finding("label-drift", file, line, f"{id} is {_say(one)} in training, {_say(other)} here")
        channels = _named(said)
        if channels is not None and len(channels) == 1 < len(one):
            channels = {0: one.get(0, ""), 1: channels.get(0, "")}  # the logit of the one label beside background
        if channels is not None and channels != one:
            where = contents.metadata.line("network_data_format#outputs")
            what = f"channel_def is {_say(channels)}, and {id} in training {_say(one)}"
            yield Finding("label-drift", contents.metadata.file, where, what)


def _named(value: Any) -> dict[int, str] | None:
    if isinstance(value, list):
        value = dict(enumerate(value))
    try:
        return {int(key): str(name) for key, name in value.items()} if isinstance(value, dict) else None
    except (TypeError, ValueError):
        return None


def _steps(config: dict[str, Any], *ids: str) -> list[dict[str, Any]] | None:
    """The transforms of the first of these ids that is there and can be known without evaluating it."""
    for id in ids:
        if has(config, id):
            found = _flat(config, at(config, id))
            if found is not None:
                return found
    return None


def _flat(config: dict[str, Any], value: Any, depth: int = 0) -> list[dict[str, Any]] | None:
    value = resolved(config, value)
    if isinstance(value, dict):
        return _flat(config, value["transforms"], depth + 1) if "transforms" in value and depth < 5 else None
    if isinstance(value, list):
        return [each for each in value if isinstance(each, dict) and "_target_" in each]
    if isinstance(value, str) and re.fullmatch(r"\$\s*@[\w#:]+(\s*\+\s*@[\w#:]+)*\s*", value) and depth < 5:
        parts = [_flat(config, at(config, id), depth + 1) for id in references(value) if has(config, id)]
        return [step for part in parts for step in part] if None not in parts else None  # type: ignore[union-attr]
    return None


def _preparing(config: dict[str, Any], key: str, *ids: str) -> list[dict[str, Any]] | None:
    """Those of an image that are the same each time: up to the first random one."""
    steps = _steps(config, *ids)
    if steps is None:
        return None
    steps = [{**each, "_target_": _name(each)} for each in steps]
    first = next((place for place, each in enumerate(steps) if each["_target_"].startswith("Rand")), len(steps))
    ours = [each for each in steps[:first] if key in _listed(each.get("keys", each.get("image_keys")))]
    return [each for each in ours if not _NEUTRAL.fullmatch(each["_target_"])]


def _name(step: Mapping[str, Any]) -> str:
    return str(step["_target_"]).rpartition(".")[2]


def _preprocessing(contents: Contents, training: Layers, inference: Layers) -> Iterator[Finding]:
    key = contents.image_key
    id = "deterministic_transforms" if "deterministic_transforms" in inference.config else "preprocessing"
    serving = _preparing(inference.config, key, id)
    if serving is None:
        return
    file, line = inference.place(id)
    windows = set(references(f"${json.dumps(inference.config.get('inferer'), default=str)}"))
    for word, ids in (
        ("training", ("train#deterministic_transforms", "train#preprocessing")),
        ("validation", ("validate#deterministic_transforms", "validate#preprocessing")),
    ):
        trained = _preparing(training.config, key, *ids)
        if trained is not None:
            for fault in _faults(key, word, trained, serving, windows):
                yield Finding("preprocessing-drift", file, line, fault)


def _faults(
    key: str, word: str, trained: list[dict[str, Any]], serving: list[dict[str, Any]], windows: set[str]
) -> list[str]:
    found = []
    names = [[each["_target_"] for each in steps] for steps in (trained, serving)]
    for name in dict.fromkeys([*names[0], *names[1]]):
        one, other = ([each for each in steps if each["_target_"] == name] for steps in (trained, serving))
        for left, right in zip(one, other, strict=False):
            found += [
                f"{name}'s {each} is {_say(left.get(each))} in {word}, {_say(right.get(each))} in inference"
                for each in _differing(key, left, right, _SILENT)
            ]
        if len(one) > len(other) and not _CUTS.fullmatch(name):
            said = {id for each in one for id in references(f"${json.dumps(each, default=str)}")}
            if not said or not said <= windows:
                found.append(f"{name} is done in {word} and not in inference")
        if len(other) > len(one) and not _CUTS.fullmatch(name):
            found.append(f"{name} is done in inference and not in {word}")
    orders = [[name for name in each if names[0].count(name) == names[1].count(name) == 1] for each in names]
    if not found and orders[0] != orders[1]:
        found.append(f"the steps have another order in {word} ({', '.join(orders[0])})")
    return found


def _inferers(training: Layers, inference: Layers) -> Iterator[Finding]:
    if not has(training.config, "validate#inferer") or "inferer" not in inference.config:
        return
    one = resolved(training.config, at(training.config, "validate#inferer"))
    other = resolved(inference.config, inference.config["inferer"])
    if not isinstance(one, dict) or not isinstance(other, dict):
        return
    for name in sorted((one.keys() & other.keys()) - _WINDOW_ONLY):
        if one[name] != other[name]:
            what = f"inferer#{name} is {_say(one[name])} in validation, {_say(other[name])} here"
            yield Finding("inferer-drift", *inference.place(f"inferer#{name}"), what)


def _postprocessing(training: Layers, inference: Layers) -> Iterator[Finding]:
    one = _steps(training.config, "validate#postprocessing")
    other = _steps(inference.config, "postprocessing")
    if one is None or other is None:
        return
    key = "pred"
    looked = {"Activations": ("sigmoid", "softmax", "other"), "AsDiscrete": ("argmax", "threshold")}
    for name, arguments in looked.items():
        pair = [
            [each for each in for_key(key, steps) if re.fullmatch(f"{name}(d|D|Dict)?", _name(each))]
            for steps in (one, other)
        ]
        for left, right in zip(*pair, strict=False):
            for each in arguments:
                given = [_choices(key, step, each) if each in step else [None, False] for step in (left, right)]
                if not any(a == b for a in given[0] for b in given[1]):
                    what = f"{name}'s {each} is {_say(left.get(each))} in validation, {_say(right.get(each))} here"
                    yield Finding("postprocessing-drift", *inference.place("postprocessing"), what)
