"""What a command left that was killed: its files, and what the tracking store says."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import nibabel as nib
import torch
from mlflow import MlflowClient
from PIL import Image
from safetensors import safe_open

from pipelines.files import file_digest

TIME = re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d")


def unreadable(path: Path) -> bool:
    """Whether a file that is there is no whole file of its kind."""
    kind = "".join(path.suffixes[-2:]) if path.name.endswith(".nii.gz") else path.suffix
    try:
        if kind == ".json":
            json.loads(path.read_text())
        elif kind == ".jsonl":
            [json.loads(line) for line in path.read_text().splitlines()]
        elif kind == ".csv":
            with path.open(newline="") as file:
                return len({len(row) for row in csv.reader(file)}) > 1
        elif kind == ".pt":
            torch.load(path, weights_only=True, map_location="cpu")
        elif kind == ".safetensors":
            with safe_open(path, "pt") as file:
                [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 - no mapping
        elif kind == ".ts":
            torch.jit.load(str(path))
        elif kind == ".nii.gz":
            nib.load(path).get_fdata()
        elif kind == ".png":
            with Image.open(path) as picture:
                picture.load()
    except Exception:
        return True
    return False


def shown(folder: Path) -> list[Path]:
    """The files below a folder that a user sees: names that begin with a dot are of what is being written."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and "mlflow.db" not in path.name)
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def digests(folder: Path) -> dict[str, str]:
    """The digest of each file below a folder, hidden ones too, but for the store's own, and for the time on a page."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and "mlflow.db" not in path.name]
    pages = (".html", ".md")
    return {
        str(path.relative_to(folder)): TIME.sub("", path.read_text()) if path.suffix in pages else file_digest(path)
        for path in found
    }


class Store:
    """What the tracking store says."""

    def __init__(self, uri: str, bundle: str) -> None:
        self.bundle = bundle
        self.client = MlflowClient(tracking_uri=uri)

    def runs(self) -> list:
        places = [each.experiment_id for each in self.client.search_experiments()]
        return list(self.client.search_runs(places))

    def figures(self) -> dict[str, float]:
        """The metrics of the run that has the checkpoint, but for times and what the machine did."""
        done = [run for run in self.runs() if run.info.status == "FINISHED"]
        metrics = done[0].data.metrics if done else {}
        timed = ("second", "system/", "_ms", "memory", "megabytes", "gflops")
        return {key: value for key, value in metrics.items() if not any(word in key for word in timed)}

    def registered(self) -> tuple[int, str, str]:
        """How many versions the bundle's model has, the champion's run, and its key metric."""
        versions = self.client.search_model_versions(f"name='{self.bundle}'")
        champion = self.client.get_model_version_by_alias(self.bundle, "champion")
        return len(versions), champion.run_id, champion.tags.get("key_metric", "")


def alike(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(
        math.isclose(value, other[key], rel_tol=1e-6) or (math.isnan(value) and math.isnan(other[key]))
        for key, value in one.items()
    )
