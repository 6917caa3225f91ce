"""Every test that names ``bundle`` runs for every bundle; one that names ``network`` too, for each of its networks; one
that names ``training_overlay`` too, for each overlay that trains in another way. A test's mark ``contract`` says what a
bundle must be or have for it (``kinds``); for another bundle it is skipped before anything is made for it.

One phantom folder and one tiny training a bundle, made by the commands a user types, serve most tests.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import monai
import numpy as np
import pytest
import torch
from bundle_under_test import BUNDLES, SIDE, Bundle, environment, listing, python
from kinds import demand, has_trait
from mlflow import MlflowClient
from mlflow.entities import Run

from pipelines.warm import WarmPython

_BUNDLES = [Bundle(path) for path in BUNDLES]
_SUPERVISED = [each for each in _BUNDLES if has_trait(each, "supervised")]
EVENTS = {"tensorboard": True} if find_spec("tensorboard") is not None else {}  # a knob of trainings
MORE = (pytest.mark.slow, pytest.mark.thorough)
KILLED, PROCESSES = "killed", ("test_bundle_processes.py", "test_bundle_overlays.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "network" in metafunc.fixturenames:
        pairs = [
            pytest.param(bundle, network, marks=() if network in (bundle.default, bundle.smallest) else MORE)
            for bundle in _SUPERVISED
            for network in bundle.networks
        ]
        names = [f"{bundle}-{network}" for bundle, network in (pair.values for pair in pairs)]
        metafunc.parametrize(("bundle", "network"), pairs, ids=names, indirect=["bundle"], scope="session")
    elif "training_overlay" in metafunc.fixturenames:
        pairs = [pytest.param(bundle, overlay) for bundle in _SUPERVISED for overlay in bundle.training_overlays]
        names = [f"{bundle}-{overlay}" for bundle, overlay in (pair.values for pair in pairs)]
        metafunc.parametrize(("bundle", "training_overlay"), pairs, ids=names, indirect=["bundle"], scope="session")
    elif "bundle" in metafunc.fixturenames:
        metafunc.parametrize("bundle", _BUNDLES, ids=str, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a training is a slow test. Of the bundles of a kind the one with the most networks stands for the
    others where a test needs several: those of the others are thorough ones, which CI leaves out."""
    stand = {max(each, key=lambda bundle: len(bundle.networks)) for each in _of_a_kind(_BUNDLES)}
    for item in items:
        bundle = getattr(item, "callspec", None) and item.callspec.params.get("bundle")  # type: ignore[attr-defined]
        if isinstance(bundle, Bundle) and bundle.kind == "segmentation" and item.name.startswith("test_commands_run"):
            for mark in MORE:  # the longest README of them; that of the X-rays is run
                item.add_marker(mark)
        needs = getattr(item, "fixturenames", ())
        if isinstance(bundle, Bundle) and "trained" in needs:
            item.add_marker(pytest.mark.slow)
        if not isinstance(bundle, Bundle) or bundle in stand:
            continue
        if KILLED in needs or item.path.name in PROCESSES or item.name.startswith("test_commands_run"):
            for mark in MORE:
                item.add_marker(mark)


def _of_a_kind(bundles: Sequence[Bundle]) -> list[list[Bundle]]:
    kinds = dict.fromkeys(bundle.kind for bundle in bundles)
    return [[bundle for bundle in bundles if bundle.kind == kind] for kind in kinds]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    bundle = getattr(item, "callspec", None) and item.callspec.params.get("bundle")  # type: ignore[attr-defined]
    if isinstance(bundle, Bundle):
        for mark in item.iter_markers("contract"):
            demand(bundle, *mark.args)


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Bundle:
    """The bundle that is tested."""
    return request.param


@pytest.fixture(scope="session")
def store(new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of a store that these tests share; the project's own is never touched."""
    return new_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(autouse=True)
def as_before(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests' store; and what a workflow in this process changes (seeds, determinism, sys.path) is put back."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    path, threads = list(sys.path), torch.get_num_threads()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - the global one is meant
    torch.set_num_threads(1)  # as in the commands: sums in another order would give other weights
    yield
    monai.utils.set_determinism(None)
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    torch.set_num_threads(threads)
    sys.path[:] = path


@pytest.fixture(scope="session")
def env(store: str, warm: WarmPython) -> dict[str, str]:
    """The environment of commands. ``PYTHON_EXEC`` is their interpreter: torchrun takes it for its processes too."""
    return environment(store, PYTHON_EXEC=warm.python)


@pytest.fixture(scope="session")
def phantoms(bundle: Bundle, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of eight phantoms of the bundle's dataset (of many classes four each), two of them or more for
    validation: one for each process.

    Of a dataset without phantoms it is the prepared folder that lies beside the bundles, ``data/NAME``.
    """
    prepared = bundle.root.parents[1] / "data" / bundle.dataset
    if not has_trait(bundle, "phantoms"):
        assert (prepared / "datalist.json").is_file(), f"no phantoms of {bundle.dataset!r}, and nothing in {prepared}"
        return prepared
    folder = tmp_path_factory.mktemp("phantoms")
    words = ["-m", "pipelines", "data", "phantom", *bundle.phantoms, "--out", str(folder / bundle.dataset)]
    cases = max(8, 4 * len(bundle.output.get("channel_def", ()))) if bundle.kind == "classification" else 8
    cases = 32 if has_trait(bundle, "generative") else cases  # it learns from one class at a time, several batches
    python([*words, "--cases", str(cases), "--size", str(SIDE), "--validation", "0.3"], folder, env)
    return folder / bundle.dataset


@dataclass(frozen=True)
class Chain:
    """What the three commands of a user left: train, evaluate, inference, each started from ``cwd``."""

    cwd: Path
    ckpt_dir: Path
    evaluation: Path
    predictions: Path
    in_bundle_before: set[str]

    @property
    def checkpoint(self) -> Path:
        """The best weights."""
        return self.ckpt_dir / "model.pt"


@pytest.fixture(scope="session")
def trained(bundle: Bundle, phantoms: Path, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A training of two epochs of the smallest network, from a folder that has nothing to do with the bundle; with
    events for TensorBoard, where that is installed."""
    folder = tmp_path_factory.mktemp("chain")
    chain = Chain(
        folder / "elsewhere", folder / "ckpt", folder / "evaluation", folder / "predictions", listing(bundle.root)
    )
    chain.cwd.mkdir()
    words = bundle.command("train", bundle.smallest, dataset_dir=phantoms, ckpt_dir=chain.ckpt_dir, **EVENTS)
    python(words, chain.cwd, env)
    return chain


@pytest.fixture(scope="session")
def evaluated(bundle: Bundle, phantoms: Path, env: dict[str, str], trained: Chain) -> Chain:
    """The training's best weights, measured on the test cases; in float32, whose answers do not depend on how many
    slices are answered at once, as those in bfloat16 do (half a percent of a probability)."""
    knobs = {"dataset_dir": phantoms, "ckpt_dir": trained.ckpt_dir, "output_dir": trained.evaluation, "amp": False}
    python(bundle.command("train", bundle.smallest, "evaluate", **knobs), trained.cwd, env)
    return trained


@pytest.fixture(scope="session")
def predicted(bundle: Bundle, phantoms: Path, env: dict[str, str], trained: Chain) -> Chain:
    """The training's best weights, used on the test cases; in float32, as `evaluated`."""
    knobs = {
        "dataset_dir": phantoms, "checkpoint": trained.checkpoint, "output_dir": trained.predictions, "amp": False
    }  # fmt: skip
    python(bundle.command("inference", bundle.smallest, **knobs), trained.cwd, env)
    return trained


class Runs:
    """The runs in the tests' store."""

    def __init__(self, uri: str) -> None:
        self.client = MlflowClient(tracking_uri=uri)

    def all(self) -> dict[str, Run]:
        """Every run by its id."""
        experiments = [each.experiment_id for each in self.client.search_experiments()]
        return {run.info.run_id: run for run in self.client.search_runs(experiments)}

    def files(self, run_id: str, folder: str | None = None) -> set[str]:
        """Paths of the artefacts, in subfolders too."""
        found: set[str] = set()
        for each in self.client.list_artifacts(run_id, folder):
            found |= self.files(run_id, each.path) if each.is_dir else {each.path}
        return found


@pytest.fixture
def runs(store: str) -> Runs:
    """The runs that the commands have left."""
    return Runs(store)
