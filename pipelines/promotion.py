"""Puts a run's weights into MLflow's registry under an alias, and fetches them from there."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import _model_registry, _tracking_service
from monai.bundle import ConfigParser

from pipelines import registered
from pipelines.bundle import description, input_shape, network_config, network_of_run, refuse_generating
from pipelines.comparison.runs import Run, Store
from pipelines.errors import TrackingError, UnreadableFileError, UsageError
from pipelines.files import held
from pipelines.tracking.entries import INCOMPLETE
from pipelines.tracking.store import redact, sqlite_path, without_traces
from pipelines.transforms import calibration_path, confidence_path
from pipelines.weights import load_weights, read_weights, save_weights

logger = logging.getLogger(__name__)

ALIASES = ("champion", "challenger")
_MODELS = "models:/"
_FOREIGN = 64  # pixels a side of the example where run and config name no size
_METRICS = 20  # as tags of a version
_USUAL = ("_dice", "_auc", "_balanced_accuracy", "test_accuracy")  # ends of names, where no checkpoint was chosen
_SET_HERE = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR")


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
        """What ``predict --checkpoint``, ``mlflow.pyfunc.load_model`` and ``mlflow models serve`` take."""
        return f"{_MODELS}{self.model}@{self.alias}"


def promote(uri: str, wanted: str, bundles: Path, alias: str = "champion", *, untested: bool = False) -> Promotion:
    """Register the best weights of a run as a new version of its bundle's model, and point an alias at it.

    The run's checkpoint becomes one of MLflow's logged models (see ``registered``): the network, without pickled code,
    with the signature of its tensors and an example; its weights as ``.safetensors`` and their calibration, from which
    ``predict --checkpoint models:/BUNDLE@ALIAS`` works. The network is built from this project's configs, and holds the
    weights, or nothing is registered. A run that was promoted before keeps its version. The run keeps its times.

    Args:
        uri: the store.
        wanted: a run's id, the beginning of one (six characters or more), or its name.
        bundles: the folder of bundles.
        alias: ``champion`` (what is used) or ``challenger`` (what may become it).
        untested: take a run without test metrics.

    Raises:
        UsageError: no such run, or several; it did not finish, was not tested, or is of no bundle here.
        UnreadableFileError, WeightsError: the checkpoint is gone, damaged, or another network's.
        ConfigError: the network cannot be exported.
        TrackingError: the store cannot be read or written. Whatever fails, no model without a version is left.
        OutputError: another call promotes a run of this store, where that is a SQLite file, or its folder is read-only.
    """
    if alias not in ALIASES:
        raise UsageError(f"there is no alias {alias!r}", how=f"choose {' or '.join(ALIASES)}")
    with Store(uri) as store:
        run = find_run(store, wanted)
        checkpoint = _checkpoint_of(store, run)
    _check(run, bundles, untested)
    bundle = bundles / run.experiment
    network, definition, example = _build(bundles, run, checkpoint)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    path = sqlite_path(uri)
    alone = nullcontext() if path is None else held(path.parent, ".promoting.lock", option="--tracking_uri")
    with alone, without_traces():
        return _promote(client, uri, run, bundle, alias, network, definition, example, checkpoint)


def _promote(
    client: MlflowClient,
    uri: str,
    run: Run,
    bundle: Path,
    alias: str,
    network: torch.nn.Module,
    definition: dict[str, Any],
    example: np.ndarray,
    checkpoint: Path,
) -> Promotion:
    try:
        before = _version_at(client, run.experiment, alias)
        version = _version_of(client, uri, run) or _register(client, uri, run, network, definition, example, checkpoint)
        _describe_model(client, run.experiment, bundle)
        for key, value in key_facts(run).items():
            client.set_model_version_tag(run.experiment, version, key, value)
        client.update_model_version(run.experiment, version, _words(run))
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
    with Store(uri):  # MLflow would make a store that is not there
        pass
    try:
        with the_store(uri):
            place = Path(mlflow.artifacts.download_artifacts(artifact_uri=model, dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"the registry has no {model} ({_reason(error)})", where=redact(uri),
            how="see the Models page of the MLflow UI, or promote a run",
        ) from error  # fmt: skip
    return registered.weights_in(place / registered.FILES)


@contextmanager
def the_store(uri: str) -> Iterator[None]:
    """MLflow resolves ``models:/`` in the store that is set for the whole process, whatever it is told: this one.

    What was set before, and the environment that MLflow sets with it, is put back.
    """
    tracking, registry = _tracking_service.utils, _model_registry.utils
    earlier = tracking._tracking_uri, registry._registry_uri
    variables = {name: os.environ.get(name) for name in _SET_HERE}
    try:
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield
    finally:
        mlflow.set_tracking_uri(earlier[0])  # type: ignore[arg-type]  # None: nothing was set
        mlflow.set_registry_uri(earlier[1])  # type: ignore[arg-type]
        for name, value in variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _check(run: Run, bundles: Path, untested: bool) -> None:
    if run.status != "FINISHED":
        how = "promote a run that is FINISHED"
        if INCOMPLETE in run.tags:
            how += f"; this one is incomplete: {run.tags[INCOMPLETE]}"
        raise UsageError(f"the run {run.name} is {run.status}", how=how)
    if not (bundles / run.experiment / "configs" / "inference.yaml").is_file():
        raise UsageError(f"the run {run.name} is of {run.experiment}, and there is no such bundle", where=bundles)
    refuse_generating(bundles / run.experiment, "promote")
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


def _build(bundles: Path, run: Run, checkpoint: Path) -> tuple[torch.nn.Module, dict[str, Any], np.ndarray]:
    """The network with the run's weights, its definition, and an example of two inputs."""
    content = network_config(bundles, run.experiment, run.network)
    definition = registered.definition_of(ConfigParser(network_of_run(content, run.params)))
    network = registered.build(definition)
    load_weights(network, checkpoint)
    channels, *size = input_shape(bundles / run.experiment, content, run.params)
    return network.eval(), definition, np.zeros((2, channels, *(size or (_FOREIGN, _FOREIGN))), dtype=np.float32)


def _register(
    client: MlflowClient,
    uri: str,
    run: Run,
    network: torch.nn.Module,
    definition: dict[str, Any],
    example: np.ndarray,
    checkpoint: Path,
) -> str:
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / f"{run.network}.safetensors"
        save_weights(read_weights(checkpoint), weights, metadata={"run": run.run_id, "experiment": run.experiment})
        files = [weights]
        for beside in (calibration_path, confidence_path):
            if beside(checkpoint).is_file():
                files.append(beside(weights))
                files[-1].write_bytes(beside(checkpoint).read_bytes())
        experiment = client.get_run(run.run_id).info.experiment_id
        _sweep(client, run, experiment)
        # `mlflow.start_run` would begin the run anew, and move its end: the run is named, not begun
        made = client.create_logged_model(experiment, run.network, run.run_id, key_facts(run), dict(run.params))
        with the_store(uri), _or_nothing(client, run.experiment, made.model_id):
            info = Model.log(
                None, registered, name=run.network, run_id=run.run_id, model_id=made.model_id,
                registered_model_name=run.experiment,
                network=network, definition=definition, example=example, files=files,
            )  # fmt: skip
    return str(info.registered_model_version)


@contextmanager
def _or_nothing(client: MlflowClient, model: str, logged: str) -> Iterator[None]:
    """What fails in here leaves neither the logged model ``logged``, nor a registered model without a version."""
    there = _there(client, model)
    try:
        yield
    except BaseException:  # Ctrl-C too
        with suppress(MlflowException, OSError):  # the store is away: what failed first is told
            client.delete_logged_model(logged)
            if not there and _there(client, model) and not client.search_model_versions(f"name = '{model}'"):
                client.delete_registered_model(model)
        raise


def key_facts(run: Run) -> dict[str, str]:
    """What a version's page shall say of it without opening the run: the metric that counts first, with its interval.

    Their names are in this order by the alphabet too, since a store gives them back in an order of its own.
    """
    names = _tested(run)
    values = {name: _figure(run, name) for name in names[:_METRICS]}
    facts = {"key_metric": f"{names[0]}: {values[names[0]]}"} if names else {}
    facts |= {"network": run.network, **values, "trained_on": run.params.get("data_name", "")}
    facts |= {"trained_on_fingerprint": run.params.get("data_fingerprint", "")}
    if run.params.get("data_phantom") == "True":
        facts["trained_on_phantoms"] = "figures of phantoms are no results"
    facts["uses"] = registered.__name__
    return {key: value for key, value in facts.items() if value}


def _tested(run: Run) -> list[str]:
    """Test metrics that are numbers, without the ends of their intervals and how many cases they are over.

    The one that chose the checkpoint comes first, then those that share a word with it, then the others.
    """
    there = [name for name, value in sorted(run.metrics.items()) if name.startswith("test_") and value == value]
    there = [name for name in there if not name.endswith(("_ci_low", "_ci_high", "_n"))]
    chosen = [name.replace("best_val_", "test_") for name in run.metrics if name.startswith("best_val_")]
    usual = [next((name for name in there if name.endswith(end)), "") for end in _USUAL]
    key = next((name for name in [*chosen, *usual] if name in there), there[0] if there else "")
    words = set(key.split("_")) - {"test"}
    return sorted(there, key=lambda name: (name != key, -len(words & set(name.split("_"))), name not in usual, name))


def _figure(run: Run, name: str) -> str:
    low, high = (run.metrics.get(f"{name}_ci_{end}", float("nan")) for end in ("low", "high"))
    interval = f" (95 % interval {low:.4f} to {high:.4f})" if low == low and high == high else ""
    return f"{run.metrics[name]:.4f}{interval}"


def _words(run: Run) -> str:
    """The description of a version, in Markdown."""
    facts = key_facts(run)
    data = facts.get("trained_on", "data without a name") + (" (phantoms)" if "trained_on_phantoms" in facts else "")
    measured = f"**{facts['key_metric']}**" if "key_metric" in facts else "Never tested"
    return (
        f"{measured}. {run.network}, trained on {data} by the run {run.name}. In: preprocessed pictures, B x C x H x "
        "W, float32, as the bundle's `inference.yaml` makes them. Out: the network's answer before softmax. For "
        "research only; not for diagnosis or treatment."
    )


def _describe_model(client: MlflowClient, model: str, bundle: Path) -> None:
    """Describe the registered model if nobody has."""
    if not client.get_registered_model(model).description:
        client.update_registered_model(model, description(bundle))


def _version_of(client: MlflowClient, uri: str, run: Run) -> str | None:
    """The version that a run has; one of before this package's own loader, which cannot be served, is not counted."""
    mine = [each for each in _versions(client, run) if _served(uri, each)]
    return str(mine[0].version) if mine else None


def _versions(client: MlflowClient, run: Run) -> list[ModelVersion]:
    versions = client.search_model_versions(f"name = '{run.experiment}'") if _there(client, run.experiment) else []
    return [each for each in versions if each.run_id == run.run_id]


def _served(uri: str, version: ModelVersion) -> bool:
    """Whether this package's loader serves a version. It has no tag yet where its promotion was killed."""
    if "uses" in version.tags:
        return bool(version.tags["uses"] == registered.__name__)
    with suppress(MlflowException, OSError), the_store(uri):
        flavours = mlflow.models.get_model_info(f"{_MODELS}{version.name}/{version.version}").flavors
        return bool(flavours.get("python_function", {}).get("loader_module") == registered.__name__)
    return False


def _sweep(client: MlflowClient, run: Run, experiment_id: str) -> None:
    """Delete the logged models that promotions of this run left that were killed before they had a version."""
    kept = " ".join(str(each.source) for each in _versions(client, run))  # models:/ID, or a path with the id in it
    for model in client.search_logged_models([experiment_id], f"source_run_id = '{run.run_id}'"):
        if model.name == run.network and model.model_id not in kept:
            client.delete_logged_model(model.model_id)


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


def _reason(error: Exception) -> str:
    return redact(str(error).strip().partition("\n")[0])[:200]
