"""What a run records about itself: versions, commit, command, knobs, data, and numbers out of an engine's state."""

from __future__ import annotations

import json
import logging
import math
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mlflow.entities import Dataset

from pipelines.evaluation.case_tables import names_digest
from pipelines.tracking.run_writer import RunWriter

logger = logging.getLogger(__name__)
_DISTRIBUTIONS = {
    "monai": "monai",
    "torch": "torch",
    "numpy": "numpy",
    "mlflow": "mlflow",
    "pipelines": "imaging-bundles",
}


def versions() -> dict[str, str]:
    """Tags ``version_monai`` … ``version_pipelines`` ("unknown" for a package used without being installed)."""
    found = {"version_python": sys.version.split()[0]}
    for name, distribution in _DISTRIBUTIONS.items():
        try:
            found[f"version_{name}"] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            found[f"version_{name}"] = "unknown"
    return found


def commit() -> dict[str, str]:
    """Tags ``git_commit`` and ``git_dirty`` of the checkout that this package is part of; empty if there is none."""
    package = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words],  # noqa: S607 - wherever it is installed
            cwd=package,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # installed inside somebody else's repository: not ours
        head = git("rev-parse", "HEAD")
        dirty = str(bool(git("status", "--porcelain", "--untracked-files=no"))).lower()
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git_commit": head, "git_dirty": dirty, "mlflow.source.git.commit": head}


def command_line() -> str:
    return shlex.join([Path(sys.executable).name, *sys.argv])


def config_files_of(arguments: Sequence[str]) -> list[Path]:
    """The files of ``--config_file`` in a command of ``monai.bundle run``: one, or a list in Python's notation."""
    values = []
    for index, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name.replace("-", "_") == "__config_file":
            values.append(value if equals else arguments[index + 1] if index + 1 < len(arguments) else "")
    if not values:
        return []
    try:
        named = yaml.safe_load(values[-1])
    except yaml.YAMLError:
        named = values[-1]
    names = named if isinstance(named, list) else str(named).split(",")
    return [path for path in (Path(str(name).strip()) for name in names) if path.is_file()]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as a flat one, its keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among ``values``, flat: a vector becomes ``name_0``, ``name_1``…; what is no number is left out.

    A value that is not finite becomes NaN, which says that there is no number; MLflow would store infinity as 1.8e308.
    """
    found: dict[str, float] = {}
    for name, value in flatten(values).items():
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().float().numpy()
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            continue
        if array.size == 1:
            found[name] = float(array.reshape(()))
        elif array.ndim == 1:
            found.update({f"{name}_{index}": float(each) for index, each in enumerate(array)})
    return {name: value if math.isfinite(value) else math.nan for name, value in found.items()}


def parameter_count(network: torch.nn.Module) -> int:
    """How many numbers are trained or could be (buffers such as running means are not counted)."""
    return sum(each.numel() for each in network.parameters())


def describe_data(datalist: Path) -> tuple[dict[str, Any], Dataset]:
    """Parameters and MLflow's dataset entity for a prepared ``datalist.json``.

    Raises:
        OSError, ValueError: the file cannot be read as JSON with a head.
    """
    head = json.loads(datalist.read_text(encoding="utf-8"))
    if not isinstance(head, dict):
        raise ValueError("a datalist is a mapping")
    splits = {key: len(head[key]) for key in ("training", "validation", "test") if isinstance(head.get(key), list)}
    name, fingerprint = str(head.get("name", datalist.parent.name)), str(head.get("fingerprint", ""))
    params = {
        "data_name": name,
        "data_fingerprint": fingerprint,
        "data_phantom": head.get("phantom", False),
        "data_split": json.dumps(head.get("split", {}), sort_keys=True),
        **{f"data_{key}_cases": count for key, count in splits.items()},
    }
    tested = [str(each.get("case", "")) for each in head.get("test") or [] if isinstance(each, dict)]
    if tested:  # two folds of one set have equal heads, and other test cases
        params["data_test_digest"] = names_digest(tested)
    digest = fingerprint.rpartition(":")[2][:36] or "unknown"  # 36 characters are what MLflow takes; all are a param
    source = json.dumps({"uri": str(datalist.resolve())})
    return params, Dataset(name[:500], digest, "local", source, profile=json.dumps(splits))


def log_data(writer: RunWriter, datalist: Path, context: str) -> None:
    """A run's parameters and data set from a prepared ``datalist.json``; warned of if it cannot be read."""
    try:
        about, dataset = describe_data(datalist)
    except (OSError, ValueError) as error:
        logger.warning("%s: the data are not recorded with the run (%s)", datalist, error)
        return
    writer.params(about)
    writer.dataset(dataset, context)
