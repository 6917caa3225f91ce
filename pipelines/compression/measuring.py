"""The bundle's own evaluation of any form of its network, and its paired difference from the reference."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.compression.plan import Compression
from pipelines.errors import ConfigError
from pipelines.evaluation import PairedDifference, paired_difference
from pipelines.evaluation.case_tables import CASES, ITEMS
from pipelines.prediction import fault_behind
from pipelines.runtimes import open_session

_LOGITS = 1  # an exported graph gives its answer, and then the logits


class SessionNetwork(torch.nn.Module):
    """An exported ONNX graph in the place of its network: (B, C, …) to the logits, by onnxruntime.

    Args:
        graph: ONNX, with the outputs of ``exporting.AnsweringNetwork``.
    """

    def __init__(self, graph: bytes) -> None:
        super().__init__()
        self._run = open_session("onnxruntime", graph)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, …), float32."""
        return torch.from_numpy(self._run(image.detach().numpy())[_LOGITS])


@dataclass(frozen=True)
class Measured:
    """What the evaluation of the test part found.

    Attributes:
        metric: the bundle's key metric; of all cases or items, with its interval over patients.
        estimate, low, high: NaN where undefined.
        n: cases or items.
        values: by case what ``difference`` compares: the metric, where it is one of cases; else 1 for an item whose
            class is right and 0 for another.
        compared: what that is called.
        patients: of each.
    """

    metric: str
    estimate: float
    low: float
    high: float
    n: int
    values: Mapping[str, float]
    compared: str
    patients: Mapping[str, str]

    def difference(self, reference: Measured) -> PairedDifference:
        """What this has more than the reference, on the same cases.

        Raises:
            ConfigError: the cases are not the same.
        """
        if self.values.keys() != reference.values.keys():
            raise ConfigError("two evaluations of one list measured other cases", how="prepare the data again")
        names = list(self.values)
        first, second = (_array(each.values, names) for each in (self, reference))
        return paired_difference(first, second, [self.patients[name] for name in names])


def measure(plan: Compression, network: torch.nn.Module, checkpoint: str, folder: Path) -> Measured:
    """Evaluate on the test part as the bundle does, of one pass a case, in float32 on the CPU.

    Args:
        network: (B, C, …) to logits.
        checkpoint: the reference's weights, by whose calibration classes are said.
        folder: the report's; it stays.

    Raises:
        ConfigError: the bundle's evaluation cannot be used.
        DatalistError, and what else the cases give rise to.
    """
    parser = plan.evaluation(checkpoint, folder)
    try:
        evaluator = parser.get_parsed_content("validate#evaluator")
        evaluator.network = network
        evaluator.run()
    except RuntimeError as error:  # MONAI's, of a fault within the config or a transform
        if (fault := fault_behind(error)) is not None:
            raise fault from None
        raise
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return _read(plan.metric, summary, folder)


def _read(metric: str, summary: Mapping[str, Any], folder: Path) -> Measured:
    entry = summary.get(f"test_{metric}")
    if entry is None:
        raise ConfigError(f"the evaluation has no test_{metric}", where=folder / "summary.json")
    rows = _rows(folder / CASES)
    compared = metric
    if rows and metric in rows[0]:
        values = {row["case"]: float(row[metric] or "nan") for row in rows}
    else:
        compared = "accuracy"
        rows = next((_rows(folder / name) for name in ITEMS if (folder / name).is_file()), [])
        rows = [{**row, "case": f"{row['case']}\t{row.get('slice', '')}"} for row in rows]
        values = {row["case"]: float(row["label"] == row["predicted"]) for row in rows}
    patients = {row["case"]: row["patient"] for row in rows}
    estimate, low, high = (math.nan if entry[key] is None else float(entry[key]) for key in ("estimate", "low", "high"))
    return Measured(metric, estimate, low, high, int(entry["n"]), values, compared, patients)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _array(values: Mapping[str, float], names: list[str]) -> NDArray[np.float64]:
    return np.array([values[name] for name in names], dtype=np.float64)
