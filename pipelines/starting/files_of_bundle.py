"""The files of a new bundle, made of its kind's templates and of what is known about its data."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import yaml

from pipelines.starting.architectures import Architecture
from pipelines.starting.kinds import Kind
from pipelines.starting.volume_sizes import volume_knobs

TEMPLATES = Path(__file__).resolve().parent / "templates"
_SHARED = "every_kind"
_SUFFIX = ".j2"
_SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"


@dataclass(frozen=True)
class Facts:
    """What is known of a new bundle.

    Attributes:
        name, kind, networks: of it; the default network first.
        names: what values or classes stand for.
        dataset_dir: where its data are, as its configs say it.
        like: what it was begun like.
        images: training images, where there are data.
        knobs: values of ids at the top of configs that the templates' give way to.
    """

    name: str
    kind: Kind
    names: Mapping[int, str]
    networks: Sequence[Architecture]
    dataset_dir: str
    like: str
    images: Sequence[Path]
    knobs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def single(self) -> bool:
        """Whether there is one label beside background: its networks give one logit then."""
        return self.kind.names_kind == "labels" and len(self.names) == 2

    @property
    def spoken(self) -> str:
        """The labels or classes in a sentence."""
        words = [name for value, name in self.names.items() if value or self.kind.names_kind == "classes"]
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

    @property
    def shown(self) -> list[str]:
        """The metrics that ``compare`` shows, the first of which ranks."""
        if self.kind.names_kind == "classes":
            return ["balanced_accuracy", "auc", "accuracy", "ece"]
        key = self.names[max(self.names)]
        others = [f"{name}_dice" for value, name in self.names.items() if value and name != key]
        return [f"{key}_dice", f"{key}_iou", f"{key}_hd95_{'mm' if self.kind.spatial_dims == 3 else 'px'}", *others]

    @cached_property
    def context(self) -> dict[str, Any]:
        """What templates may name."""
        key_value, masks = max(self.names), self.kind.names_kind == "labels"
        title = self.name.replace("_", " ").strip()
        return {
            "name": self.name,
            "title": title[:1].upper() + title[1:],
            "kind": self.kind,
            "names": dict(self.names),
            "names_kind": self.kind.names_kind,
            "names_in_a_line": in_a_line(self.names),
            "values": str(list(self.names)),
            "spoken": self.spoken,
            "single": self.single,
            "key": self.names[key_value],
            "key_value": key_value,
            "validation_key": f"val_{self.names[key_value]}_dice" if masks else "val_log_likelihood",
            "shown": self.shown,
            "networks": list(self.networks),
            "default": self.networks[0],
            "dataset_dir": self.dataset_dir,
            "data": re.sub(r"^.*\+ '/(.*)'$", r"\1", self.dataset_dir),
            "dataset": self.dataset_dir.rstrip("'").rsplit("/", 1)[-1],
            "like": self.like,
            "phantoms": _phantoms(self),
            **volume_knobs(self.images if self.kind.spatial_dims == 3 else []),
            "example_input": "volume.nii.gz" if self.kind.spatial_dims == 3 else "picture.jpg",
        }


def write_files(facts: Facts, folder: Path) -> None:
    """Fill the folder of a new bundle.

    Raises:
        OSError: it cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - no page; names are letters, digits and underscores
        keep_trailing_newline=True,
    )
    for path, template in _templates(facts.kind):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if template.suffix == _SUFFIX:
            relative = template.relative_to(TEMPLATES).as_posix()
            text = environment.get_template(relative).render(facts.context).lstrip("\n")
            target.write_text(
                with_values(text, facts.knobs) if path.parent.name == "configs" else text, encoding="utf-8"
            )
        else:
            shutil.copyfile(template, target)
    overlays = folder / "configs" / "networks"
    overlays.mkdir(parents=True)
    for network in facts.networks:
        (overlays / f"{network.name}.yaml").write_text(network.overlay, encoding="utf-8")
    text = json.dumps(metadata(facts), indent=4, ensure_ascii=False) + "\n"
    (folder / "configs" / "metadata.json").write_text(text, encoding="utf-8")


def with_values(text: str, knobs: Mapping[str, Any]) -> str:
    """A config with other values of ids at its top; its comments stay."""

    def line(match: re.Match[str]) -> str:
        if match[1] not in knobs:
            return match[0]
        value = yaml.safe_dump(knobs[match[1]], default_flow_style=True, width=10_000).removesuffix("...\n").strip()
        return f"{match[1]}: {value}{match[3] or ''}"

    return re.sub(r"^(\w+): ([^#\n]*?)( +#.*)?$", line, text, flags=re.MULTILINE)


def _templates(kind: Kind) -> Iterator[tuple[Path, Path]]:
    """(path in a bundle, template) of each file; a kind's own stand for those that all share."""
    found: dict[Path, Path] = {}
    for root in (TEMPLATES / _SHARED, TEMPLATES / kind.name):
        for path in sorted(each for each in root.rglob("*") if each.is_file()):
            relative = path.relative_to(root)
            if relative.parent != Path() or path.suffix != _SUFFIX:  # those beside the folders are parts of templates
                name = relative.name.removesuffix(_SUFFIX)
                found[relative.with_name(name)] = path
    networks = Path("configs") / "networks"
    return ((path, template) for path, template in sorted(found.items()) if path.parent != networks)


def in_a_line(names: Mapping[int, str]) -> str:
    """``{0: background, 1: mole}``; a name that YAML takes for something else (``no``) is quoted."""
    return yaml.safe_dump(dict(names), default_flow_style=True, sort_keys=False, width=10_000).strip()


def metadata(facts: Facts) -> dict[str, Any]:
    """``configs/metadata.json``."""
    kind, names = facts.kind, facts.names
    title = facts.context["title"]
    values = ", ".join(f"{value} {name}" for value, name in names.items())
    volumes = kind.spatial_dims == 3
    out_channels = {"0": names[1]} if facts.single else {str(value): name for value, name in names.items()}
    shape = ["16*n"] * 3 if volumes else ["32*n"] * 2
    image = {
        "type": "image",
        "format": "magnitude" if kind.in_channels == 1 else "rgb",
        "num_channels": kind.in_channels,
        "spatial_shape": ["64*n"] * 2 if kind.task == "classification" else shape,
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": volumes,
        "channel_def": {"0": "image"} if kind.in_channels == 1 else {"0": "red", "1": "green", "2": "blue"},
    }
    pred = {
        "type": "image" if kind.task == "segmentation" else "probabilities",
        "format": kind.task,
        "num_channels": len(out_channels),
        "spatial_shape": shape if kind.task == "segmentation" else [],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": volumes,
        # MONAI Label numbers labels by these, also where one channel tells two values apart
        "channel_def": {str(v): name for v, name in names.items()} if kind.task == "segmentation" else out_channels,
    }
    where = {"segmentation": f"Segmentation of {facts.spoken}", "classification": f"Classification as {facts.spoken}"}
    things = "volumes" if volumes else "pictures"
    return {
        "schema": _SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"Begun like {facts.like}"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {name: _version(name) for name in ("imaging-bundles", *sorted(kind.packages))},
        "name": title,
        "license": "Apache-2.0",
        "huggingface_url": "",  # the place on the hub, once there is one
        "task": f"{where[kind.task]} in {things}",
        "description": f"A network for {kind.about}, begun with python -m pipelines new; see docs/README.md",
        "authors": "FILL IN: who made it",
        "copyright": "FILL IN: whose it is",
        "data_source": "your own; see docs/data_card.yaml",
        "data_type": "nibabel" if volumes else "JPEG, PNG, BMP, TIFF",
        "image_classes": "one channel, any values" if volumes else "three channels, RGB",
        "label_classes": values if kind.task == "classification" else f"single channel, {values}",
        "pred_classes": f"{len(out_channels)} channels, logits of {', '.join(out_channels.values())}",
        "eval_metrics": {},
        "intended_use": "Research only. Not a medical device, not for diagnosis or treatment.",
        "references": [],
        "begun_by": "python -m pipelines new",
        "phantoms": _phantoms(facts),
        "network_parameters": {each.name: each.parameters for each in sorted(facts.networks, key=lambda n: n.name)},
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }


def _phantoms(facts: Facts) -> str:
    """What ``data phantom`` is told to draw such data: the contract runs on them."""
    names = shlex.join(facts.names.values())
    return (
        f"pairs --dims {facts.kind.spatial_dims} --labels {names}"
        if facts.kind.layout == "pairs"
        else f"classes --names {names}"
    )


def _version(package: str) -> str:
    """The installed version, without what says how it was built (``+cpu``)."""
    return version(package).partition("+")[0]
