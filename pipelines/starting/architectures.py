"""The networks of a new bundle: those of its kind, or of the bundle it is like, for other channels and classes."""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import ConfigError
from pipelines.starting.kinds import Kind

_COUNT = re.compile(r"[:,]? *[\d,]+ parameters.*")
_DEFAULT_DROPOUT = 0.2


@dataclass(frozen=True)
class Architecture:
    """A network as an overlay chooses it.

    Attributes:
        name: of the overlay.
        about: a sentence.
        definition: ``network_def``.
        dropout: the knob's value that goes with it; None where the network has none.
        parameters: how many there are.
    """

    name: str
    about: str
    definition: Mapping[str, Any]
    dropout: float | None
    parameters: int

    @property
    def yaml(self) -> str:
        """``network_def`` as text."""
        return yaml.safe_dump(dict(self.definition), sort_keys=False).rstrip()

    @property
    def overlay(self) -> str:
        """The overlay's file."""
        lines = [f"# {self.about}: {self.parameters:,} parameters.", f"network_name: {self.name}"]
        if self.dropout is not None:
            lines.append(f"dropout: {self.dropout}")
        body = self.yaml.replace("\n", "\n  ")
        return "\n".join([*lines, "network_def:", f"  {body}", ""])


def architectures(kind: Kind, out_channels: int, templates: Path, bundle: Path | None) -> list[Architecture]:
    """The networks, the default first.

    Args:
        kind: of the new bundle.
        out_channels: that its networks give.
        templates: the kind's folder, with networks of its own.
        bundle: the one it is like; where no network of it fits, the kind's own are taken.

    Raises:
        ConfigError: a network's config cannot be read.
    """
    for root in (bundle, templates):
        if root is None:
            continue
        found = [_adapted(path, kind, out_channels) for path in sorted((root / "configs" / "networks").glob("*.yaml"))]
        fitting = [each for each in found if each is not None]
        if fitting:
            default = kind.network if root == templates else _default(root)
            return sorted(fitting, key=lambda each: (each.name != default, each.parameters))
    raise ConfigError("no network fits", where=templates)


def _default(bundle: Path) -> str:
    return str(_read(bundle / "configs" / "train.yaml").get("network_name"))


def _adapted(path: Path, kind: Kind, out_channels: int) -> Architecture | None:
    """A network with the channels that are due; None where it cannot have them."""
    import torch  # here: a name that is refused is refused at once
    from monai.bundle import ConfigParser
    from monai.bundle.config_item import ComponentLocator, ConfigComponent

    content = _read(path)
    given = content.get("network_def")
    if not isinstance(given, dict) or "_target_" not in given:
        raise ConfigError("there is no network_def", where=path)
    found = pydoc.locate(str(ConfigComponent(given, locator=ComponentLocator()).resolve_module_name()))
    takes = inspect.signature(found).parameters if callable(found) else {}
    if not {"in_channels", "out_channels"} <= takes.keys() or set(_references(given)) - {"dropout"}:
        return None
    definition = {"_target_": given["_target_"]}
    if "spatial_dims" in takes:
        definition["spatial_dims"] = kind.spatial_dims
    channels = {"in_channels": kind.in_channels, "out_channels": out_channels}
    rest = {key: value for key, value in given.items() if key not in (*definition, *channels)}
    if rest.pop("as_two_classes", False) and out_channels == 2:
        channels["out_channels"], rest["as_two_classes"] = 1, True
    definition |= channels | rest
    uses = "dropout" in takes
    if uses:
        definition.setdefault("dropout", "@dropout")
    dropout = float(content.get("dropout", _DEFAULT_DROPOUT))
    try:
        with torch.device("meta"):
            network = ConfigParser({"network_def": definition, "dropout": dropout}).get_parsed_content("network_def")
    except (ValueError, TypeError, RuntimeError, NotImplementedError):  # not for so many channels, or not for volumes
        return None
    about = _COUNT.sub("", path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")).rstrip(". ")
    parameters = sum(each.numel() for each in network.parameters())
    return Architecture(path.stem, about, definition, dropout if uses else None, parameters)


def _references(definition: Mapping[str, Any]) -> list[str]:
    return re.findall(r"[@%]([\w#]+)", str(dict(definition)))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError("the config cannot be read", where=path) from error
    return content if isinstance(content, dict) else {}
