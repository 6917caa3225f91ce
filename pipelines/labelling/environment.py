"""MONAI Label's own environment: where it is, and how its server is started in it."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.browser import HOST
from pipelines.bundle import REQUIRE, run_environment
from pipelines.errors import UsageError

PYTHON = "PIPELINES_LABEL_PYTHON"  # environment: the Python of MONAI Label's environment
_CHECKOUT = Path(__file__).resolve().parents[2]
_MADE = _CHECKOUT / ".venv-label" / "bin" / "python"  # what `make label-env` makes
# MONAI Label's own list lacks .jpeg, the usual ending of chest X-rays, and much that our readers take
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def label_python() -> Path:
    """The Python that MONAI Label runs with.

    The first that is there: the one that ``PIPELINES_LABEL_PYTHON`` names, that of the checkout's ``.venv-label``, this
    one if MONAI Label is installed beside it.

    Raises:
        UsageError: there is none.
    """
    how = "make MONAI Label's environment with `make label-env`"
    named = os.environ.get(PYTHON, "").strip()
    if named:
        path = Path(named).expanduser()
        if not os.access(path, os.X_OK):
            raise UsageError(f"{PYTHON} names no Python that can be run", where=path, how=how)
        return path.absolute()
    if os.access(_MADE, os.X_OK) and _MADE.parents[1].joinpath(".installed").is_file():
        return _MADE
    if importlib.util.find_spec("monailabel") is not None:
        return Path(sys.executable)
    raise UsageError("MONAI Label is not installed", where=_MADE.parents[1], how=how)


def server_command(
    python: Path, app: Path, names: Sequence[str], studies: str, port: int, tracking_uri: str
) -> list[str]:
    """The command that starts MONAI Label over an app folder, on this machine's own address alone.

    Args:
        python: see ``label_python``.
        app: what ``prepare_app`` made.
        names: of the bundles.
        studies: a folder, or the address of a DICOMweb server.
        port: to listen on.
        tracking_uri: the store that trainings are recorded in.
    """
    conf = {"models": ",".join(names), "tracking_uri": tracking_uri}
    return [
        str(python), "-m", "monailabel.main", "start_server",
        "--app", str(app), "--studies", studies,
        *(word for key, value in conf.items() for word in ("--conf", key, value)),
        "--uvicorn_app", "pipelines.labelling.serving.server:app",
        "--host", HOST, "--port", str(port),
    ]  # fmt: skip


def server_environment(app: Path, cache: Path | None = None) -> dict[str, str]:
    """The environment variables of that command: what MONAI Label would else write outside the app folder, or fetch.

    Args:
        app: the app folder.
        cache: where series that come by DICOMweb are kept.
    """
    given = {
        "MONAI_LABEL_SESSION_PATH": str(app / "sessions"),
        "MONAI_LABEL_DATASTORE_FILE_EXT": json.dumps([f"*{ending}" for ending in _ENDINGS]),
        # the strict reader of series takes the files themselves
        "MONAI_LABEL_DICOMWEB_CONVERT_TO_NIFTI": "false",
    }
    if cache is not None:
        given["MONAI_LABEL_DICOMWEB_CACHE_PATH"] = str(cache)
    if (_CHECKOUT / "setup.cfg").is_file():  # this checkout's code, whichever that environment was made from
        others = os.environ.get("PYTHONPATH", "")
        given["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_CHECKOUT), others]))
    environment = {**run_environment(**given), **({"PYTHONPATH": given["PYTHONPATH"]} if "PYTHONPATH" in given else {})}
    if REQUIRE in environment:  # of the originals it was seen to; nobody has signed the copies, which are trained
        words = environment[REQUIRE].split(",")
        environment[REQUIRE] = ",".join(word for word in words if word.strip().lower() != "signed")
    return environment
