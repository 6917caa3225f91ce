"""What all tests share: real images, a store to copy, a warm interpreter, single-threaded torch, and who runs what."""

from __future__ import annotations

import logging
import os
import pkgutil
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

from sharing import share

import pipelines
from pipelines.bundle import ALLOCATOR
from pipelines.tracking.store import checked_uri, open_store
from pipelines.warm import WarmPython

pytest_plugins = ["raw_folders"]  # fixtures: raw data of every task, to be prepared and to be spoilt

PROJECT = Path(__file__).resolve().parent.parent
# what commands import, early or late: the heavy ones that MONAI, ignite and MLflow import late are named
_WARM = ["fire", "monai.bundle", "torch._dynamo", "torch.distributed.run", "torch.onnx", "onnxscript"]
_WARM += ["mlflow.pytorch", "mlflow.store.tracking.sqlalchemy_store", "mlflow.system_metrics.system_metrics_monitor"]
_WARM += ["ignite.distributed", "matplotlib.pyplot", "sklearn.metrics", "scipy.stats", "skimage.measure", "nibabel"]
_MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "RANK")
LISTED = {  # by what they took
    mark: {line for line in (PROJECT / "tests" / f"{mark}.txt").read_text().splitlines() if not line.startswith("#")}
    for mark in ("slow", "thorough")
}


@pytest.hookimpl(tryfirst=True)  # `-m` looks at marks afterwards
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What was measured to be slow is marked so, and what CI leaves out. Files with slow tests come first, what is
    tested as a whole before its parts: no worker is left with one of them at the end."""
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        if name in LISTED["thorough"]:
            item.add_marker(pytest.mark.thorough)
        if name in LISTED["slow"] or name in LISTED["thorough"]:
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent != PROJECT / "tests"))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which `-n` needs
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """One worker runs a whole file, so that its fixtures are made once; in ``tests/bundles`` all of a bundle.

    Networks are shared out there, and in the contract of networks. (Marks of xdist's own ``loadgroup`` have no effect
    under pytest 9.2, in silence.)
    """
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False  # xdist's order, the most tests first; here: the workers collect, not this

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share(nodeid)

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def own_log_handlers() -> Iterator[None]:
    """The command line sets up the root logger; a handler that writes to one test's stderr is of no other test."""
    before = logging.root.handlers[:]
    yield
    logging.root.handlers[:] = before


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's folder."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; tests that need it are skipped without."""
    folder = Path(os.environ.get("IMAGING_BUNDLES_SHARED", PROJECT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"real images are not here ({folder}); set IMAGING_BUNDLES_SHARED to the folder that holds data/")
    return folder


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmPython]:
    """``warm.python``: an interpreter that has imported everything."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "RANK", "LOCAL_RANK"))}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    late = [each for each in _WARM if find_spec(each.partition(".")[0])]  # an extra may not be installed
    ours = [each.name for each in pkgutil.walk_packages(pipelines.__path__, "pipelines.")]
    ours = [name for name in ours if not name.startswith("pipelines.labelling.serving.")]  # of another environment
    if find_spec("tensorboard") is None:  # an environment of before it was an extra
        ours.remove("pipelines.tracking.tensorboard_events")
    modules = [*late, *(name for name in ours if not name.endswith("__main__"))]
    with WarmPython(modules, {**ALLOCATOR, **kept, **threads, "PYTHONPATH": str(PROJECT)}) as started:
        assert started.ready()
        yield started


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Makes an empty tracking store in a folder, ``mlflow.db``, and gives its URI.

    It is a copy: MLflow takes seconds to make the tables.
    """
    template = tmp_path_factory.mktemp("template") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        for name in _MLFLOW:
            patch.delenv(name, raising=False)
        open_store(checked_uri(f"sqlite:///{template}"))

    def make(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(template, folder / "mlflow.db")
        return checked_uri(f"sqlite:///{folder / 'mlflow.db'}")

    return make
