"""Puts a run's weights into MLflow's registry under an alias, and fetches them from there."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from monai.bundle import ConfigParser
from safetensors.torch import save_file

from pipelines.comparison.runs import Run, Store
from pipelines.errors import TrackingError, UnreadableFileError, UsageError
from pipelines.prediction import network_overlays
from pipelines.tracking.store import redact
from pipelines.transforms import calibration_path
from pipelines.weights import load_weights, read_weights

logger = logging.getLogger(__name__)

ALIASES = ("champion", "challenger")
_MODELS = "models:/"
_SIZES = ("image_size", "slice_size", "patch_size", "roi_size")
_FOREIGN = 64  # pixels a side of the example where the config names no size


@dataclass(frozen=True)
class Promotion:
    """What was put into the registry.

    Attributes:
        model: the registered model's name, the bundle's.
        version: of it.
        alias: that now points to it.
        run: whose weights they are.
        before: version and run id that the alias pointed to before; None if to none.
    """

    model: str
    version: str
    alias: str
    run: Run
    before: tuple[str, str] | None

    @property
    def uri(self) -> str:
        """What ``predict --checkpoint`` and ``mlflow.pytorch.load_model`` take."""
        return f"{_MODELS}{self.model}@{self.alias}"


def promote(uri: str, wanted: str, bundles: Path, alias: str = "champion", *, untested: bool = False) -> Promotion:
    """Register the best weights of a run as a new version of its bundle's model, and point an alias at it.

    The run's checkpoint becomes one of MLflow's logged models: the network, exported (``torch.export``: a file without
    pickled code), with the signature of its tensors and an example; beside it the weights as ``.safetensors`` and their
    calibration, from which ``predict --checkpoint models:/BUNDLE@ALIAS`` works. The network is built from this
    project's configs, and holds the weights, or nothing is registered. A run that was promoted before keeps its
    version.

    Args:
        uri: the store.
        wanted: a run's id, the beginning of one (six characters or more), or its name.
        bundles: the folder of bundles.
        alias: ``champion`` (what is used) or ``challenger`` (what may become it).
        untested: take a run without test metrics.

    Raises:
        UsageError: no such run, or several; it did not finish, was not tested, or is of no bundle here.
        UnreadableFileError, WeightsError: the checkpoint is gone, damaged, or another network's.
        TrackingError: the store cannot be read or written.
    """
    if alias not in ALIASES:
        raise UsageError(f"there is no alias {alias!r}", how=f"choose {' or '.join(ALIASES)}")
    with Store(uri) as store:
        run = find_run(store, wanted)
        checkpoint = _checkpoint_of(store, run)
    _check(run, bundles, untested)
    network, example = _build(bundles / run.experiment, run, checkpoint)
    client = MlflowClient(tracking_uri=uri)
    try:
        before = _version_at(client, run.experiment, alias)
        found = _version_of(client, run)
        version = found or _register(client, uri, run, network, example, checkpoint)
        client.set_registered_model_alias(run.experiment, alias, version)
        if alias == "champion":
            _leave(client, run.experiment, "challenger", version)
        client.set_tag(run.run_id, "promoted", alias)
    except (MlflowException, OSError) as error:
        raise TrackingError(f"the registry cannot be written ({_reason(error)})", where=redact(uri)) from error
    earlier = None if before is None else (str(before.version), str(before.run_id or ""))
    return Promotion(run.experiment, version, alias, run, earlier)


def find_run(store: Store, wanted: str) -> Run:
    """The run of an id, the beginning of an id, or a name.

    Raises:
        UsageError: there is none, or more than one.
        TrackingError: the store cannot be read.
    """
    runs = store.runs()
    for alike in (
        [run for run in runs if run.run_id == wanted],
        [run for run in runs if run.name == wanted],
        [run for run in runs if len(wanted) >= 6 and run.run_id.startswith(wanted)],
    ):
        if len(alike) == 1:
            return alike[0]
        if alike:
            names = ", ".join(f"{run.run_id} ({run.experiment})" for run in alike[:5])
            raise UsageError(
                f"{len(alike)} runs are called {wanted!r}", where=store.shown_uri, how=f"give an id: {names}"
            )
    latest = ", ".join(run.name for run in runs[:5]) or "none"
    raise UsageError(f"there is no run {wanted!r}", where=store.shown_uri, how=f"the latest are: {latest}")


def fetch_checkpoint(uri: str, model: str, folder: Path) -> Path:
    """The weights of a registered model, its calibration beside them.

    Args:
        uri: the store.
        model: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
        folder: where they are put.

    Raises:
        TrackingError: the registry has no such model, or cannot be read.
        UnreadableFileError: it was not registered by ``promote``.
    """
    try:
        place = Path(mlflow.artifacts.download_artifacts(artifact_uri=model, dst_path=str(folder), tracking_uri=uri))
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"the registry has no {model} ({_reason(error)})", where=redact(uri),
            how="see the Models page of the MLflow UI, or promote a run",
        ) from error  # fmt: skip
    weights = sorted((place / "extra_files").glob("*.safetensors"))
    if len(weights) != 1:
        raise UnreadableFileError(
            "this registered model has no weights as .safetensors", where=model, how="register it by `promote`"
        )
    return weights[0]


def _check(run: Run, bundles: Path, untested: bool) -> None:
    if run.status != "FINISHED":
        raise UsageError(f"the run {run.name} is {run.status}", how="promote a run that is FINISHED")
    if not (bundles / run.experiment / "configs" / "inference.yaml").is_file():
        raise UsageError(f"the run {run.name} is of {run.experiment}, and there is no such bundle", where=bundles)
    if not untested and not any(name.startswith("test_") for name in run.metrics):
        raise UsageError(
            f"the run {run.name} was never tested", how="run the bundle's evaluate.yaml on it, or give --untested"
        )


def _checkpoint_of(store: Store, run: Run) -> Path:
    recorded = run.tags.get("best_checkpoint", "")
    if recorded and Path(recorded).is_file():
        return Path(recorded)
    kept = store.file(run, f"checkpoint/{Path(recorded).name}") if recorded else None
    if kept is None:
        what = f"its checkpoint {recorded} is gone" if recorded else "it recorded no checkpoint"
        raise UnreadableFileError(f"{what}", where=run.name, how="train it again")
    return kept


def _build(bundle: Path, run: Run, checkpoint: Path) -> tuple[torch.nn.Module, np.ndarray]:
    """The network with the run's weights, and an example of two inputs."""
    files = [str(bundle / "configs" / "inference.yaml")]
    overlays = network_overlays(bundle)
    if run.network in overlays:
        files.append(str(overlays[run.network]))
    config = ConfigParser()
    config.read_config(files)
    if config.get("network_name") != run.network:
        raise UsageError(f"the bundle has no network {run.network}", where=bundle)
    network = config.get_parsed_content("network_def")
    load_weights(network, checkpoint)
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    channels = int(metadata["network_data_format"]["inputs"]["image"]["num_channels"])
    size = next((_sizes(run.params.get(name, "")) for name in _SIZES if _sizes(run.params.get(name, ""))), None)
    return network.eval(), np.zeros((2, channels, *(size or (_FOREIGN, _FOREIGN))), dtype=np.float32)


def _register(
    client: MlflowClient, uri: str, run: Run, network: torch.nn.Module, example: np.ndarray, checkpoint: Path
) -> str:
    with torch.inference_mode():
        answer = network(torch.from_numpy(example)).numpy()
    signature = ModelSignature(
        Schema([TensorSpec(example.dtype, (-1, *example.shape[1:]), "image")]),
        Schema([TensorSpec(answer.dtype, (-1, *answer.shape[1:]))]),
    )
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / f"{run.network}.safetensors"
        save_file(read_weights(checkpoint), weights, metadata={"run": run.run_id, "experiment": run.experiment})
        files = [str(weights)]
        if calibration_path(checkpoint).is_file():
            target = calibration_path(weights)
            target.write_bytes(calibration_path(checkpoint).read_bytes())
            files.append(str(target))
        earlier = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(uri)
        try:
            with mlflow.start_run(run_id=run.run_id):
                info = mlflow.pytorch.log_model(
                    network, name=run.network, signature=signature, input_example=example, extra_files=files,
                    pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
                    registered_model_name=run.experiment,
                    tags=_described(run),
                )  # fmt: skip
        finally:
            mlflow.set_tracking_uri(earlier)
    version = str(info.registered_model_version)
    for key, value in _described(run).items():
        client.set_model_version_tag(run.experiment, version, key, value)
    return version


def _described(run: Run) -> dict[str, str]:
    """What a version's page shall say of it without opening the run."""
    tested = {name: f"{value:.4f}" for name, value in run.metrics.items() if name.startswith("test_")}
    facts = {"network": run.network, "data_fingerprint": run.params.get("data_fingerprint", "")}
    return {key: value for key, value in {**facts, **_first(tested, 20)}.items() if value and value != "nan"}


def _first(values: Mapping[str, str], number: int) -> dict[str, str]:
    return dict(list(values.items())[:number])


def _version_of(client: MlflowClient, run: Run) -> str | None:
    versions = client.search_model_versions(f"name = '{run.experiment}'") if _there(client, run.experiment) else []
    return next((str(each.version) for each in versions if each.run_id == run.run_id), None)


def _version_at(client: MlflowClient, model: str, alias: str) -> ModelVersion | None:
    if not _there(client, model) or alias not in client.get_registered_model(model).aliases:
        return None
    return client.get_model_version_by_alias(model, alias)


def _leave(client: MlflowClient, model: str, alias: str, version: str) -> None:
    """A champion is its own challenger no longer."""
    if str(client.get_registered_model(model).aliases.get(alias, "")) == version:
        client.delete_registered_model_alias(model, alias)


def _there(client: MlflowClient, model: str) -> bool:
    return bool(client.search_registered_models(f"name = '{model}'"))


def _sizes(text: str) -> tuple[int, ...]:
    try:
        found: Any = json.loads(text.replace("(", "[").replace(")", "]"))
    except ValueError:
        return ()
    good = isinstance(found, list) and all(isinstance(each, int) and each > 0 for each in found)
    return tuple(found) if good else ()


def _reason(error: Exception) -> str:
    return redact(str(error).strip().partition("\n")[0])[:200]
