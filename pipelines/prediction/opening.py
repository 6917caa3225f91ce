"""A bundle's inference, opened: its config with what is laid over it, its weights loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from pipelines.bundle import meet_demands, named_from_here
from pipelines.errors import ConfigError, PipelinesError, UnreadableFileError, UsageError
from pipelines.handlers import CaseWriter, WeightsLoader


def network_overlays(bundle: Path) -> dict[str, Path]:
    """The networks a bundle offers: name -> ``configs/networks/NAME.yaml``."""
    return {path.stem: path for path in sorted((bundle / "configs" / "networks").glob("*.yaml"))}


def inference_overlays(bundle: Path) -> dict[str, Path]:
    """The configs that may be laid over ``inference.yaml``: those whose ids with ``#`` or ``+`` (or, without such,
    all of whose ids) it has. Training's are not, nor is one that runs something else (``export.yaml``)."""
    base = ConfigParser.load_config_file(str(bundle / "configs" / "inference.yaml"))
    found = {}
    for path in sorted((bundle / "configs").glob("*.yaml")):
        overlay = ConfigParser.load_config_file(str(path))
        ids = [key.lstrip("+") for key in overlay if "#" in key or key.startswith("+")]
        own = ids or [key for key in overlay if key not in ("imports", "run", "initialize", "finalize")]
        if (
            path.stem not in ("inference", "train")
            and "run" not in overlay
            and all(key.split("#")[0] in base for key in own)
        ):
            found[path.stem] = path
    return found


def fast_options(bundle: Path) -> dict[str, Any]:
    """What ``--fast`` lays over the bundle's inference: its id ``fast``, which holds other ids and their values.

    Raises:
        ConfigError: ``fast`` names what is no id of the config.
    """
    config = bundle / "configs" / "inference.yaml"
    known = ConfigParser.load_config_file(str(config)) if config.is_file() else {}
    options = known.get("fast") or {}
    strangers = sorted(set(options) - set(known)) if isinstance(options, dict) else [options]
    if strangers:
        raise ConfigError(f"`fast` names {strangers}, which are not ids of the config", where=config)
    return dict(options)


def open_inference(
    bundle: Path,
    network: str | None = None,
    overlays: Sequence[str] = (),
    *,
    more: Mapping[str, Any] | None = None,
    beyond: Sequence[Path] = (),
    **overrides: Any,
) -> ConfigWorkflow:
    """A bundle's inference workflow, parsed, its weights loaded.

    Args:
        bundle: its folder.
        network: an overlay of ``configs/networks``; None for the bundle's default.
        overlays: further configs of the bundle by name (``severity``), laid over ``inference.yaml`` in this order.
        beyond: further config files, laid over all of these.
        more: ids of the config that are no top-level ones, such as ``dataset#data``, and their values.
        overrides: top-level ids of the config (``checkpoint``, ``device``, ``flips``, …).

    Raises:
        UsageError: there is no such bundle, network or overlay.
        ConfigError: the bundle's config cannot be used.
        WeightsError, UnreadableFileError: the weights cannot be used.
        UntrustedBundleError: it is not what ``PIPELINES_REQUIRE`` demands.
    """
    config = bundle / "configs" / "inference.yaml"
    if not config.is_file():
        raise UsageError(
            "this is not a bundle with configs/inference.yaml", where=bundle, how="give the bundle's folder"
        )
    meet_demands(bundle)
    configs = [str(config)]
    if network is not None:
        networks = network_overlays(bundle)
        if network not in networks:
            raise UsageError(f"there is no network {network!r}", where=bundle, how=f"choose from {', '.join(networks)}")
        configs.append(str(networks[network]))
    known = inference_overlays(bundle)
    for name in overlays:
        if name not in known:
            how = f"choose from {', '.join(known)}" if known else "this bundle has none"
            raise UsageError(f"there is no overlay {name!r} for inference", where=bundle, how=how)
        configs.append(str(known[name]))
    configs += map(str, beyond)
    unknown = sorted(set(overrides) - set(ConfigParser.load_config_files(configs)))
    if unknown:
        raise ConfigError(f"{unknown} are not ids of the config", where=config)
    warner = logging.getLogger("monai.bundle.workflows")  # it warns of overlays in a folder of their own
    level = warner.level
    warner.setLevel(logging.ERROR)
    try:
        workflow = ConfigWorkflow(
            config_file=configs,
            workflow_type="infer",
            logging_file=False,
            bundle_root=str(bundle.absolute()),
            **overrides,
            **(more or {}),
        )
    finally:
        warner.setLevel(level)
    try:
        workflow.initialize()
        handlers = workflow.handlers
    except RuntimeError as error:
        if (fault := fault_behind(error)) is not None:
            raise fault from None
        raise
    for handler in handlers:
        if isinstance(handler, WeightsLoader):
            if "checkpoint" not in overrides and not Path(handler.path).is_file():
                raise _no_weights(bundle, Path(handler.path))
            handler.load()  # a fault in the weights is not a fault of the first case
        if isinstance(handler, CaseWriter):
            handler.check_weights()
    return workflow


def fault_behind(error: BaseException | None) -> PipelinesError | None:
    """The user's fault behind an error: MONAI's configs and transforms wrap what is raised
    in them."""
    while error is not None and not isinstance(error, PipelinesError):
        error = error.__cause__
    return error


def _no_weights(bundle: Path, path: Path) -> UnreadableFileError:
    """What to do where a bundle ships no weights of the network that was asked for, and none were trained."""
    network = path.stem
    shipped = [name for name in network_overlays(bundle) if path.with_name(f"{name}.safetensors").is_file()]
    folder = named_from_here(bundle)
    configs, chosen = f"{folder}/configs", f"'{folder}/configs/networks/{network}.yaml'"
    default = ConfigParser.load_config_file(str(bundle / "configs" / "inference.yaml")).get("network_name")
    file = f"{configs}/train.yaml" if network == default else f"\"['{configs}/train.yaml',{chosen}]\""
    named = " or ".join(filter(None, [", ".join(shipped[:-1]), *shipped[-1:]]))
    others = f"; or choose --network {named}, whose weights are here" if shipped else ""
    what = f"no weights are shipped for the network {network}, and it is not trained yet"
    return UnreadableFileError(
        what if shipped else "the bundle is not trained yet",
        where=path if shipped else bundle,
        how=f"train it: python -m monai.bundle run --config_file {file}{others}",
    )
