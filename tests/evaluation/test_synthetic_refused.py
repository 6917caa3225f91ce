"""No figure is of a generated picture: whatever list named it, and whatever it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from PIL import Image

from pipelines.errors import DatalistError
from pipelines.evaluation.collecting import Report
from pipelines.readers import synthetic_mark


class Names(Report[Any]):
    """Collects nothing."""

    def collect(self, item: Mapping[str, Any]) -> Iterable[Any]:
        return ()

    def finish(self, engine: Engine, collected: Sequence[Any]) -> None:
        engine.state.metrics["done"] = 1


def evaluate(path: Path, tmp_path: Path) -> Engine:
    item = {"image": MetaTensor(torch.zeros(1, 4, 4), meta={"filename_or_obj": str(path)})}
    engine = Engine(lambda _engine, _batch: [{"pred": torch.zeros(2)}])
    Names(tmp_path).attach(engine)
    engine.run([[item]])
    return engine


def test_evaluation_refuses_it(tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    picture.save(tmp_path / "person1_virus_1.jpeg", "PNG", pnginfo=synthetic_mark({}))
    picture.save(tmp_path / "real.png")
    assert evaluate(tmp_path / "real.png", tmp_path).state.metrics["done"] == 1
    with pytest.raises(DatalistError, match="generated picture is among the cases that are evaluated"):
        evaluate(tmp_path / "person1_virus_1.jpeg", tmp_path)
