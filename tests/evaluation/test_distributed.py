"""Evaluation over two processes (gloo), of which one has fewer cases, or none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from ignite.engine import Engine

from pipelines.bundle import leave_process_group
from pipelines.evaluation import EvaluationReport, LabelDice

FULL = torch.full((1, 4, 4), 2.0)


def _work(rank: int, folder: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    alone = LabelDice(2)
    if rank == 0:
        alone([FULL, FULL * 0], [FULL, FULL])
    assert alone.aggregate().item() == 0.5, "both processes know the mean of all cases"

    # the sampler of two processes repeats a case to even out their numbers
    cases = {0: [("a", 1.0), ("b", 0.0)], 1: [("c", 1.0), ("a", 1.0)]}[rank]
    engine = Engine(lambda engine, batch: batch)
    EvaluationReport(f"{folder}/out{rank}", {1: "lung", 2: "lesion"}, n_resamples=50).attach(engine)
    items = [[{"pred": FULL * found, "label": FULL, "case": name, "patient": name}] for name, found in cases]
    state = engine.run(items)
    assert abs(state.metrics["test_lesion_dice"] - 2 / 3) < 1e-6
    leave_process_group(settle=0.2)
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_two_processes_agree_and_one_writes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_work, args=(str(tmp_path),), nprocs=2, join=True)
    assert json.loads((tmp_path / "out0" / "summary.json").read_text())["test_lesion_dice"]["n"] == 3
    assert not (tmp_path / "out1").exists()
