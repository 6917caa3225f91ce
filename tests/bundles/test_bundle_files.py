"""What lies in a bundle's folder, and what its metadata promise."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from pathlib import Path

import pytest
from bundle_under_test import BUNDLES, PROJECT, Bundle, listing
from kinds import demand, has_trait
from safetensors import safe_open

from pipelines.auditing.audit import audit
from pipelines.model_card import render
from pipelines.transforms.looks import Looks
from pipelines.weights import weights_digest

LARGEST = 25_000_000  # bytes
SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
REQUIRED = (
    "schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version", "required_packages_version",
    "task", "description", "authors", "copyright", "network_data_format",
)  # fmt: skip
TENSOR = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "channel_def")
# each with the traits of the bundles that must have it
FILES = {
    "LICENSE": (),
    "configs/metadata.json": (),
    "configs/logging.conf": (),
    "configs/train.yaml": ("supervised",),
    "configs/inference.yaml": ("supervised",),
    "configs/evaluate.yaml": ("supervised",),
    "configs/multi_gpu_train.yaml": ("supervised",),
    "docs/README.md": (),
    "docs/data_license.txt": (),
    "docs/model_card.json": ("card",),
    "docs/model_card.yaml": ("card",),
    "docs/model_card.md": ("card",),
}


def git(*words: str) -> str | None:
    """What git says; None where this is no checkout, or git refuses."""
    done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def delivered(bundle: Bundle) -> list[Path]:
    """The bundle's files without what is ignored (trainings, exports)."""
    words = ("ls-files", "--cached", "--others", "--exclude-standard", "--", str(bundle.root))
    found = git(*words)
    names = sorted(str(bundle.root / each) for each in listing(bundle.root)) if found is None else found.splitlines()
    return [path for path in (PROJECT / name for name in names) if path.is_file()]


def order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def tensors(bundle: Bundle) -> dict[str, dict]:
    layout = bundle.metadata["network_data_format"]
    return {f"{side}.{name}": each for side in ("inputs", "outputs") for name, each in layout[side].items()}


def test_there_are_bundles() -> None:
    assert BUNDLES, "a suite over no bundle passes whatever is broken"


@pytest.mark.parametrize("name", FILES)
def test_file_is_there(bundle: Bundle, name: str) -> None:
    demand(bundle, *FILES[name])
    path = bundle.root / name
    assert path.is_file(), f"{path} is missing"
    assert path.stat().st_size > 0, f"{path} is empty"


@pytest.mark.contract("supervised")
def test_there_is_a_folder_for_weights(bundle: Bundle) -> None:
    assert (bundle.root / "models").is_dir()
    assert bundle.networks, "configs/networks offers no network"


def test_no_file_is_too_large(bundle: Bundle) -> None:
    sizes = {str(path.relative_to(bundle.root)): path.stat().st_size for path in delivered(bundle)}
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}


def test_shipped_weights_are_safe_tensors_that_say_what_made_them(bundle: Bundle) -> None:
    for path in delivered(bundle):
        assert path.suffix not in {".pt", ".pth", ".ckpt", ".pkl", ".bin"}, f"{path}: ship .safetensors"
        if path.suffix != ".safetensors":
            continue
        if path == bundle.root / "configs" / "looks.safetensors":  # not a network's
            Looks.read(path)
        else:
            assert path.parent == bundle.root / "models"
        if has_trait(bundle, "supervised") and path.parent.name == "models":
            assert path.stem in bundle.networks, f"{path} belongs to no network of configs/networks"
        with safe_open(path, "pt") as file:
            note = file.metadata() or {}
        assert note.keys() >= {"data", "use"}, f"{path} does not say what it was trained on and may be used for"


def test_a_network_without_weights_says_how_to_train_it(bundle: Bundle) -> None:
    text = (bundle.root / "docs" / "README.md").read_text(encoding="utf-8")
    for network in bundle.networks:
        assert network in text, f"docs/README.md does not name {network}"
    if any(not (bundle.root / "models" / f"{network}.safetensors").is_file() for network in bundle.networks):
        assert "configs/train.yaml" in text


def test_data_licence_says_source_licence_and_citation(bundle: Bundle) -> None:
    text = (bundle.root / "docs" / "data_license.txt").read_text(encoding="utf-8").lower()
    assert re.search(r"source|https?://", text)
    assert "licen" in text
    assert re.search(r"cit(e|ation)", text)


def test_logging_goes_to_stderr(bundle: Bundle) -> None:
    parser = configparser.RawConfigParser()
    parser.read(bundle.configs / "logging.conf", encoding="utf-8")
    handlers = [f"handler_{name.strip()}" for name in parser["handlers"]["keys"].split(",")]
    assert parser.has_section("logger_root")
    assert any("sys.stderr" in parser[name]["args"] for name in handlers), "results alone belong on stdout"


def test_metadata_have_what_the_schema_requires(bundle: Bundle) -> None:
    missing = [key for key in REQUIRED if not bundle.metadata.get(key)]
    assert missing == []
    assert bundle.metadata["schema"] == SCHEMA
    assert "optional_packages_version" not in bundle.metadata, "the schema calls it required_packages_version"


def test_version_is_the_last_of_the_changelog(bundle: Bundle) -> None:
    versions = list(bundle.metadata["changelog"])
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", each) for each in versions), versions
    assert all(bundle.metadata["changelog"].values()), "a version without a word on what changed"
    assert bundle.metadata["version"] == max(versions, key=order)


def test_version_goes_up_when_the_bundle_changes(bundle: Bundle) -> None:
    if not bundle.root.is_relative_to(PROJECT):
        pytest.skip("the bundle is none of this project's: its versions are told elsewhere")
    tag = (git("describe", "--tags", "--abbrev=0") or "").strip()
    if not tag:
        pytest.skip("nothing was released (no git tag): there is no version to be above")
    relative = bundle.root.relative_to(PROJECT).as_posix()
    before = git("show", f"{tag}:{relative}/configs/metadata.json")
    changed = git("diff", "--name-only", tag, "--", f"{relative}/configs", f"{relative}/models")
    if before is None or not changed:
        pytest.skip(f"new or unchanged since {tag}")
    released = json.loads(before)["version"]
    assert order(bundle.metadata["version"]) > order(released), f"{changed.split()} changed since {tag}"


def test_versions_are_those_that_are_tested(bundle: Bundle) -> None:
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;+]+)", (PROJECT / "constraints.txt").read_text(), re.MULTILINE))
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    pins[setup["metadata"]["name"]] = setup["metadata"]["version"]
    said = {
        "monai": bundle.metadata["monai_version"],
        "torch": bundle.metadata["pytorch_version"],
        "numpy": bundle.metadata["numpy_version"],
        **bundle.metadata["required_packages_version"],
    }
    assert said == {name: pins.get(name) for name in said}


def test_tensors_are_described_in_full(bundle: Bundle) -> None:
    named = tensors(bundle).keys()
    assert "outputs.pred" in named if has_trait(bundle, "supervised") else {name.split(".")[0] for name in named}
    for name, tensor in tensors(bundle).items():
        assert [key for key in TENSOR if key not in tensor] == [], name
        # one channel of a segmentation tells two values apart, and MONAI Label numbers its labels by these
        binary = name == "outputs.pred" and bundle.kind == "segmentation" and tensor["num_channels"] == 1
        described = 2 if binary else tensor["num_channels"]
        assert list(tensor["channel_def"]) == [str(channel) for channel in range(described)], name


@pytest.mark.contract("supervised")
def test_metadata_say_how_large_each_network_is(bundle: Bundle) -> None:
    """``pipelines list`` reads it from there, without building a network; the card and the configs say the same."""
    assert bundle.metadata["network_parameters"] == bundle.sizes
    if has_trait(bundle, "card"):
        record = json.loads((bundle.root / "docs" / "model_card.json").read_text(encoding="utf-8"))
        assert record["parameters"] == bundle.sizes[record["network"]]


def test_check_finds_nothing(bundle: Bundle) -> None:
    assert audit(bundle.root, look_at_readiness=False).findings == []


def test_kind_in_the_name_is_the_kind_of_the_output(bundle: Bundle) -> None:
    """MONAI Label reads the kind from the folder's name."""
    if bundle.kind not in {"segmentation", "classification", "detection"}:
        pytest.skip(f"MONAI Label has no kind for {bundle.kind}")
    assert bundle.kind in bundle.name


@pytest.mark.contract("card")
def test_model_card_is_in_step_with_its_record(bundle: Bundle) -> None:
    """By hand neither the card nor its numbers can be changed unseen, and they are of the weights that are shipped."""
    docs = bundle.root / "docs"
    card = (docs / "model_card.md").read_text(encoding="utf-8")
    assert card == render(bundle.root), f"python -m pipelines card --bundle {bundle.root.name}"
    assert "(model_card.md)" in (docs / "README.md").read_text(encoding="utf-8"), (
        "docs/README.md does not link the card"
    )
    record = json.loads((docs / "model_card.json").read_text(encoding="utf-8"))
    assert record["network"] in bundle.networks
    shipped = sorted(path.name for path in delivered(bundle) if path.suffix == ".safetensors")
    if record["weights"] is None:
        assert f"{record['network']}.safetensors" not in shipped
    else:
        assert record["weights"]["file"] == f"{record['network']}.safetensors"
        assert record["weights"]["digest"] == weights_digest(bundle.root / "models" / record["weights"]["file"])
    for name, each in record["metrics"].items():
        assert each["low"] is None or each["low"] <= each["estimate"] <= each["high"], name
