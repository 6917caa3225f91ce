"""Faults to plant in a bundle: what is done to it, the rule that must find it, and where."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import foreign_bundles as foreign
from foreign_bundles import tensors

ZOO, YAML = foreign.zoo_bundle, foreign.yaml_bundle
TRAIN, INFERENCE, ABOUT = "configs/train.json", "configs/inference.json", "configs/metadata.json"


@dataclass(frozen=True)
class Planted:
    """A fault.

    Attributes:
        rule: that finds it.
        begin: makes the bundle.
        plant: does it.
        file: in which it is found.
        text: what stands in the line that is named; "" where no line is.
        says: a part of the finding.
    """

    rule: str
    begin: Callable[[Path], Path]
    plant: Callable[[Path], object]
    file: str
    text: str = ""
    says: str = ""


class Runs:
    """A pickle that runs a program when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/it-ran",)


class Starts:
    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.Popen, (["true"],)


def put(name: str, old: str, new: str) -> Callable[[Path], object]:
    """The first ``old`` in a file becomes ``new``."""

    def plant(bundle: Path) -> None:
        path = bundle / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return plant


def everywhere(name: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda bundle: (bundle / name).write_text((bundle / name).read_text().replace(old, new))


def add(name: str, content: str | bytes) -> Callable[[Path], object]:
    """A file, or more of one that is text and there."""

    def plant(bundle: Path) -> None:
        path = bundle / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text((path.read_text() if path.exists() else "") + content, encoding="utf-8")

    return plant


def drop(name: str) -> Callable[[Path], object]:
    return lambda bundle: (bundle / name).unlink()


def value(name: str, key: str, content: Any) -> Callable[[Path], object]:
    """A key of a JSON file, at its top."""

    def plant(bundle: Path) -> None:
        data = json.loads((bundle / name).read_text())
        (bundle / name).write_text(json.dumps(data | {key: content}, indent=4))

    return plant


def says(expression: str, rule: str, begin: Callable[[Path], Path] = ZOO) -> Planted:
    """An expression in the place of one that is there."""
    return Planted(
        rule, begin, value(INFERENCE, "output_dtype", expression), INFERENCE, '"output_dtype": ', "output_dtype"
    )


def listed(bundle: Path) -> None:
    (bundle / "manifest.json").write_text(json.dumps({"files": {"LICENSE": "0" * 64}}))


def large(**changes: str) -> Callable[[Path], object]:
    entry = {"path": "models/other.pt", "url": "https://host.example/a", "hash_type": "sha256", "hash_val": "0" * 64}
    lines = [f"{key}: '{each}'" for key, each in (entry | changes).items() if each]
    return add("large_files.yml", "large_files:\n- " + "\n  ".join(lines) + "\n")


def linked(bundle: Path) -> None:
    (bundle / "docs" / "passwords.txt").symlink_to("/etc/passwd")


FAULTS: dict[str, Planted] = {
    "no metadata": Planted("metadata-missing", ZOO, drop(ABOUT), ABOUT),
    "half a JSON": Planted("config-unreadable", ZOO, put(INFERENCE, '"run": [', '"run": '), INFERENCE, "]"),
    "YAML that makes an object": Planted(
        "yaml-tag",
        YAML,
        add("configs/inference.yaml", "bad: !!python/object/apply:os.system [id]\n"),
        "configs/inference.yaml",
        "bad: !!python",
    ),
    "a key twice": Planted(
        "duplicate-key", YAML, add("configs/train.yaml", "val_interval: 7\n"), "configs/train.yaml", "val_interval: 7"
    ),
    "an id that is misspelt": Planted(
        "undefined-id", ZOO, put(INFERENCE, '"@inferer"', '"@infferer"'), INFERENCE, '"@infferer"', "infferer"
    ),
    "a macro of nothing": Planted(
        "undefined-id",
        ZOO,
        put(TRAIN, '"%train#postprocessing"', '"%train#post"'),
        TRAIN,
        '"%train#post"',
        "train#post",
    ),
    "a macro of another file": Planted(
        "macro-of-a-file", ZOO, value(INFERENCE, "output_dtype", "%other.json#dtype"), INFERENCE, '"output_dtype": '
    ),
    "another network": Planted(
        "network-drift",
        ZOO,
        put(INFERENCE, '"strides": [\n            2', '"strides": [\n            4'),
        INFERENCE,
        '"strides"',
        "strides",
    ),
    "another window": Planted(
        "preprocessing-drift",
        ZOO,
        put(INFERENCE, '"a_min": -57', '"a_min": -175'),
        INFERENCE,
        '"preprocessing"',
        "-175",
    ),
    "a step that training lacks": Planted(
        "preprocessing-drift",
        YAML,
        put(
            "configs/inference.yaml", "  - _target_: ScaleI", "  - {_target_: Flipd, keys: image}\n  - _target_: ScaleI"
        ),
        "configs/inference.yaml",
        "preprocessing:",
        "Flipd",
    ),
    "other windows": Planted(
        "inferer-drift", ZOO, put(INFERENCE, '"overlap": 0.5', '"overlap": 0.25'), INFERENCE, '"overlap"', "0.25"
    ),
    "another activation": Planted(
        "postprocessing-drift",
        ZOO,
        put(INFERENCE, '"softmax": true', '"sigmoid": true'),
        INFERENCE,
        '"postprocessing"',
        "softmax",
    ),
    "labels the other way round": Planted(
        "label-drift",
        YAML,
        put("configs/inference.yaml", "{0: round, 1: long}", "{0: long, 1: round}"),
        "configs/inference.yaml",
        "label_names",
        "long",
    ),
    "a channel without a name": Planted("channel-drift", ZOO, put(ABOUT, '"0": "background",', ""), ABOUT, '"outputs"'),
    "a metric that is called otherwise": Planted(
        "undefined-metric",
        ZOO,
        put("configs/evaluate.json", "val_mean_dice", "val_dice"),
        "configs/evaluate.json",
        '"metrics": ',
        "val_dice",
    ),
    "a score of no metric": Planted(
        "undefined-metric",
        ZOO,
        put(TRAIN, "metrics['val_mean_dice']", "metrics['val_dice']"),
        TRAIN,
        "score_function",
        "there are train_accuracy, val_mean_dice",
    ),
    "the best by nothing": Planted(
        "key-metric-missing",
        ZOO,
        lambda bundle: [
            put(TRAIN, '"key_val_metric": "@validate#key_metric",', "")(bundle),
            put(TRAIN, '"key_train_metric": "@train#key_metric",', "")(bundle),
        ],
        TRAIN,
        "{",
    ),
    "a path from the root": Planted(
        "absolute-path", ZOO, put(INFERENCE, '"data/organs"', '"/workspace/data"'), INFERENCE, "/workspace/data"
    ),
    "a path in an expression": Planted(
        "absolute-path", ZOO, value(INFERENCE, "output_dtype", "$os.path.join('/mnt/out', 'a')"), INFERENCE, "/mnt/out"
    ),
    "somebody's home": Planted(
        "personal-path",
        ZOO,
        put("docs/README.md", "configs/train", "/home/somebody/configs/train"),
        "docs/README.md",
        "somebody",
    ),
    "a link out of it": Planted("linked-outside", ZOO, linked, "docs/passwords.txt"),
    "no licence": Planted("licence-missing", ZOO, drop("LICENSE"), "LICENSE"),
    "another licence": Planted("licence-differs", ZOO, put(ABOUT, '"Apache-2.0"', '"MIT"'), ABOUT, '"license"'),
    "data of no licence": Planted("data-licence-missing", ZOO, drop("docs/data_license.txt"), "models/model.pt"),
    "half an expression": says("$numpy.float32(", "expression-syntax"),
    "a name of nothing": says("$nunpy.float32", "expression-name"),
    "a program": says("$os.system('id')", "expression-danger"),
    "a program by a detour": says("$torch.os.system('id')", "expression-danger"),
    "text as code": says("$eval('1')", "expression-danger"),
    "Python's inside": says("$().__class__.__base__.__subclasses__()", "dunder-access"),
    "an import": says("$import subprocess", "import-outside"),
    "an import of a part": says("$from os import system", "import-outside"),
    "a target": Planted(
        "target-outside",
        ZOO,
        value(INFERENCE, "bad", {"_target_": "subprocess.Popen", "args": ["id"]}),
        INFERENCE,
        '"_target_": "subprocess.Popen"',
    ),
    "a target laid over another": Planted(
        "target-outside",
        ZOO,
        value("configs/evaluate.json", "validate#inferer#_target_", "os.system"),
        "configs/evaluate.json",
        "os.system",
    ),
    "a target by reference": Planted(
        "target-outside",
        YAML,
        add("configs/inference.yaml", "name: os.system\nbad: {_target_: '@name'}\n"),
        "configs/inference.yaml",
        "bad:",
    ),
    "a target that is computed": Planted(
        "target-computed", ZOO, value(INFERENCE, "bad", {"_target_": "$'os.' + 'system'"}), INFERENCE, '"_target_": "$'
    ),
    "code for the log": Planted(
        "logging-config",
        ZOO,
        put("configs/logging.conf", "args=(sys.stdout,)", "args=(__import__('os').system('id'),)"),
        "configs/logging.conf",
        "__import__",
    ),
    "a class for the log": Planted(
        "logging-config",
        ZOO,
        put("configs/logging.conf", "class=StreamHandler", "class=os.system"),
        "configs/logging.conf",
        "class=os.system",
    ),
    "a module that starts programs": Planted(
        "own-code-danger",
        YAML,
        add("scripts/network.py", "import os as o\n\no.system('id')\n"),
        "scripts/network.py",
        "o.system",
    ),
    "a module that is called as Python's": Planted(
        "own-code-danger",
        ZOO,
        add("subprocess/__init__.py", "x = 1\n"),
        "subprocess/__init__.py",
        says="takes the place of the module subprocess",
    ),
    "a module that unpickles": Planted(
        "own-code-danger",
        YAML,
        add("scripts/network.py", "state = torch.load('a.pt', weights_only=False)\n"),
        "scripts/network.py",
        "torch.load",
    ),
    "code of its own": Planted("own-code", ZOO, add("scripts/new.py", "x = 1\n"), "scripts/new.py"),
    "compiled code": Planted("binary-code", ZOO, add("scripts/fast.so", b"\x7fELF"), "scripts/fast.so"),
    "a pickle that runs a program": Planted(
        "pickle-danger", ZOO, add("models/model.pt", tensors(Runs())), "models/model.pt", says="posix.system"
    ),
    "a bare pickle": Planted(
        "pickle-danger",
        ZOO,
        add("models/old.ckpt", pickle.dumps(Starts(), protocol=4)),
        "models/old.ckpt",
        says="subprocess.Popen",
    ),
    "a pickle of another name": Planted(
        "pickle-danger", ZOO, add("models/data.dat", pickle.dumps(Starts())), "models/data.dat", says="subprocess.Popen"
    ),
    "pickled NumPy": Planted(
        "pickle-danger",
        ZOO,
        add("models/a.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, }"),
        "models/a.npy",
    ),
    "weights that are a page": Planted(
        "weights-unreadable",
        ZOO,
        add("models/model.pt", b"<!DOCTYPE html><html>"),
        "models/model.pt",
        says="a web page",
    ),
    "weights that are a pointer": Planted(
        "weights-unreadable",
        ZOO,
        add("models/model.pt", b"version https://git-lfs.github.com/spec/v1"),
        "models/model.pt",
        says="Git LFS",
    ),
    "half a safetensors": Planted(
        "weights-unreadable", ZOO, add("models/a.safetensors", b"\x40\0\0\0\0\0\0\0{}"), "models/a.safetensors"
    ),
    "another file than the hash": Planted(
        "hash-differs", YAML, add("models/model.pt", tensors()), "large_files.yml", "- path", "models/model.pt"
    ),
    "another hash in the metadata": Planted(
        "hash-differs", ZOO, value(ABOUT, "weights", {"model.pt": f"sha256:{'0' * 64}"}), ABOUT, '"model.pt"'
    ),
    "no hash": Planted("hash-missing", ZOO, large(hash_val="", hash_type=""), "large_files.yml", "- path"),
    "a weak hash": Planted("hash-weak", ZOO, large(hash_type="md5", hash_val="0" * 32), "large_files.yml", "- path"),
    "a file for elsewhere": Planted("fetched-outside", ZOO, large(path="../../.bashrc"), "large_files.yml", "- path"),
    "a file in the open": Planted(
        "fetched-openly", ZOO, large(url="http://host.example/a"), "large_files.yml", "- path"
    ),
    "another manifest": Planted("manifest-differs", ZOO, listed, "LICENSE", says="changed"),
    "an old torch": Planted(
        "version-runs-code", ZOO, put(ABOUT, '"2.10.0"', '"2.5.1"'), ABOUT, '"pytorch_version"', "CVE-2025-32434"
    ),
    "an old pydicom": Planted(
        "version-with-hole",
        ZOO,
        put(ABOUT, '"nibabel": "5.4.0"', '"pydicom": "3.0.1"'),
        ABOUT,
        '"pydicom"',
        "CVE-2026-32711",
    ),
    "no README": Planted("zoo-files", ZOO, drop("docs/README.md"), "docs/README.md"),
    "a large file": Planted(
        "zoo-large-file", ZOO, lambda bundle: os.truncate(bundle / "docs" / "README.md", 30_000_000), "docs/README.md"
    ),
    "metadata of another form": Planted("zoo-metadata", ZOO, put(ABOUT, '"task"', '"tusk"'), ABOUT, says="'task'"),
    "a version without a word": Planted("zoo-version", ZOO, put(ABOUT, '"0.1.0": "first"', ""), ABOUT, '"version"'),
    "an id that the zoo names": Planted(
        "zoo-ids", ZOO, everywhere(TRAIN, "val_interval", "interval"), TRAIN, says="val_interval"
    ),
    "a version that cannot be": Planted("zoo-packages", ZOO, put(ABOUT, '"5.4.0"', '">=5.4"'), ABOUT, '"nibabel"'),
    "no preprocessing for MONAI Label": Planted(
        "label-config",
        YAML,
        lambda bundle: (bundle / "configs" / "inference.yaml").rename(bundle / "configs" / "inference.yml"),
        "configs/inference.json",
    ),
    "no weights for MONAI Label": Planted("label-weights", YAML, drop("large_files.yml"), "models/model.pt"),
    "labels of no name": Planted(
        "label-labels",
        ZOO,
        put(ABOUT, '"channel_def": {\n                    "0": "background",', '"channels": {'),
        ABOUT,
        '"network_data_format"',
    ),
}
