"""A thin door to a bundle's inference: a file or folder in, masks and a manifest out; one bad case stops no other."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from pipelines.datasets.inference import look_for_cases
from pipelines.errors import ConfigError, OutputError, PipelinesError, SeriesError, UnreadableFileError, UsageError
from pipelines.handlers import CaseWriter, WeightsLoader

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Outcome:
    """One line of the manifest; ``mask`` (null for a classifier) and ``report`` are absolute paths, so that they hold
    from any directory."""

    input: str
    status: str  # done | refused (the input is at fault) | skipped (no case of its own) | failed (we, or the machine)
    error: str | None
    mask: str | None
    report: str | None


def network_overlays(bundle: Path) -> dict[str, Path]:
    """The networks a bundle offers: name -> ``configs/networks/NAME.yaml``."""
    return {path.stem: path for path in sorted((bundle / "configs" / "networks").glob("*.yaml"))}


def inference_overlays(bundle: Path) -> dict[str, Path]:
    """The configs that may be laid over ``inference.yaml``: those whose ids with ``#`` (or, without such, all of whose
    ids) it has. Training's are not."""
    base = ConfigParser.load_config_file(str(bundle / "configs" / "inference.yaml"))
    found = {}
    for path in sorted((bundle / "configs").glob("*.yaml")):
        overlay = ConfigParser.load_config_file(str(path))
        ids = [key.lstrip("+") for key in overlay if "#" in key]
        own = ids or [key for key in overlay if key not in ("imports", "run", "initialize", "finalize")]
        if path.stem not in ("inference", "train") and all(key.split("#")[0] in base for key in own):
            found[path.stem] = path
    return found


def predict(
    bundle: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    network: str | None = None,
    overlays: Sequence[str] = (),
    report: Callable[[Outcome | None, int, int], None] | None = None,
    series: str | None = None,
    **overrides: Any,
) -> list[tuple[Outcome, int]]:
    """Runs ``configs/inference.yaml`` of a bundle on each case at ``source`` and writes ``out/manifest.jsonl``.

    Args:
        bundle: the bundle's folder.
        source: a picture, a volume, a DICOM series folder, an archive, or a folder of many.
        out: where masks, overlays, reports and the manifest go.
        network: an overlay of ``configs/networks``; None for the bundle's default.
        overlays: further configs of the bundle by name (``severity``), laid over ``inference.yaml`` in this order.
        report: called with the outcome of each case, how many are done, and how many there are, before the next case is
            begun; and before the first one, without an outcome.
        series: only the DICOM series with this SeriesInstanceUID or SeriesNumber.
        overrides: top-level ids of the config (``checkpoint``, ``device``, ``flips``, …).

    Returns:
        (outcome, exit code) of each case, in order.

    Raises:
        UsageError: there is no such bundle, network or overlay.
        ConfigError: the bundle's config cannot be used.
        WeightsError, UnreadableFileError: the weights or the source cannot be used.
        OutputError: ``out`` cannot be written.
    """
    bundle, source, out = Path(bundle), Path(source), Path(out)
    try:
        items, passed = look_for_cases(source, series)
    except PipelinesError as error:
        if not source.is_file() or isinstance(error, SeriesError):
            raise
        items, unusable = [], [(Outcome(str(source), "refused", str(error), None, None), error.exit_code)]
    else:
        here, root = out.resolve(), source.resolve()
        if here == root and source.is_dir():
            what = "results would lie among the inputs, and be inputs of the next call"
            raise OutputError(what, where=out, how="choose a folder of its own for --out, in this one if you like")
        if here != root and here.is_relative_to(root):  # what an earlier call has written there is no input
            items = [item for item in items if not Path(item["image"]).resolve().is_relative_to(here)]
            passed = [each for each in passed if not each.file.resolve().is_relative_to(here)]
        unusable = [
            (Outcome(str(each.path), each.status, str(each.fault), None, None), each.fault.exit_code)
            for each in passed
            if each.fault is not None
        ]
        if not items and not unusable:
            raise UnreadableFileError(
                "the folder holds nothing but results of an earlier call", where=source, how="give the folder of images"
            )
    workflow = open_inference(
        bundle, network, overlays, input=str(source.absolute()), output_dir=str(out.absolute()), **overrides
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        manifest = (out / MANIFEST).open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OutputError(
            f"the folder cannot be written ({error.strerror})", where=out, how="choose another --out"
        ) from error
    total = len(unusable) + len(items)
    with manifest:
        outcomes: list[tuple[Outcome, int]] = []
        if report is not None:
            report(None, 0, total)
        for outcome, code in chain(unusable, (_predict_case(workflow, item) for item in items)):
            manifest.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
            manifest.flush()
            outcomes.append((outcome, code))
            if report is not None:
                report(outcome, len(outcomes), total)
    return outcomes


def fast_options(bundle: Path) -> dict[str, Any]:
    """Ids of the bundle's inference that make it average over nothing: those of flips and scales that it has."""
    config = bundle / "configs" / "inference.yaml"
    known = ConfigParser.load_config_file(str(config)) if config.is_file() else {}
    return {key: value for key, value in {"flips": False, "scales": [1.0]}.items() if key in known}


def open_inference(
    bundle: Path, network: str | None = None, overlays: Sequence[str] = (), **overrides: Any
) -> ConfigWorkflow:
    """A bundle's inference workflow, parsed, its weights loaded.

    Raises:
        UsageError, ConfigError, WeightsError, UnreadableFileError: as ``predict``.
    """
    config = bundle / "configs" / "inference.yaml"
    if not config.is_file():
        raise UsageError(
            "this is not a bundle with configs/inference.yaml", where=bundle, how="give the bundle's folder"
        )
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
    unknown = sorted(set(overrides) - set(ConfigParser.load_config_files(configs)))
    if unknown:
        raise ConfigError(f"{unknown} are not ids of the config", where=config)
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)  # it warns of overlays in a folder of their own
    workflow = ConfigWorkflow(
        config_file=configs, workflow_type="infer", logging_file=False, bundle_root=str(bundle.absolute()), **overrides
    )
    workflow.initialize()
    for handler in workflow.handlers:
        if isinstance(handler, WeightsLoader):
            if "checkpoint" not in overrides and not Path(handler.path).is_file():
                raise _no_weights(bundle, Path(handler.path))
            handler.load()  # a fault in the weights is not a fault of the first case
        if isinstance(handler, CaseWriter):
            handler.check_weights()
    return workflow


def _no_weights(bundle: Path, path: Path) -> UnreadableFileError:
    """What to do where a bundle ships no weights of the network that was asked for."""
    shipped = [name for name in network_overlays(bundle) if path.with_name(f"{name}.safetensors").is_file()]
    others = f", or choose --network {' or '.join(shipped)}, whose weights are here" if shipped else ""
    return UnreadableFileError(
        f"no weights are shipped for the network {path.stem}",
        where=path,
        how=f"train it and give --checkpoint models/{path.stem}/model.pt{others}",
    )


def _predict_case(workflow: ConfigWorkflow, item: dict[str, Any]) -> tuple[Outcome, int]:
    writer = next(handler for handler in workflow.handlers if isinstance(handler, CaseWriter))
    try:
        # Preprocessed here and not by the evaluator's loader: a refused input must not leave the engine half-way.
        workflow.dataset.data, workflow.dataset.transform = [workflow.preprocessing(item)], _as_it_is
    except Exception as error:
        return _not_done(item, error)
    try:
        workflow.evaluator.run()
    except Exception as error:
        workflow.initialize()  # a failed engine is not run again
        return _not_done(item, error)
    finally:
        workflow.dataset.data = []
    files = writer.written[item["case"]]
    mask = str(files["mask"]) if "mask" in files else None
    return Outcome(item["image"], "done", None, mask, str(files["report"])), 0


def _not_done(item: dict[str, Any], error: Exception) -> tuple[Outcome, int]:
    fault = _fault(error)
    if fault is None:
        logger.debug("the case failed", exc_info=error)
        return Outcome(item["image"], "failed", f"{type(error).__name__}: {error}", None, None), 1
    status = "failed" if isinstance(fault, OutputError) else "refused"
    return Outcome(item["image"], status, str(fault), None, None), fault.exit_code


def _as_it_is(item: dict[str, Any]) -> dict[str, Any]:
    return item


def _fault(error: BaseException | None) -> PipelinesError | None:
    """The user's fault behind an error: MONAI's transforms wrap what they raise."""
    while error is not None and not isinstance(error, PipelinesError):
        error = error.__cause__
    return error
