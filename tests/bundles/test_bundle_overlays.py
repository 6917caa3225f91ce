"""Every overlay that trains in another way trains an epoch; the networks' are in ``test_bundle_commands``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle_under_test import Bundle, listing, python
from conftest import Runs

from pipelines.tracking.run_file import read_run_file
from pipelines.weights import read_weights

pytestmark = pytest.mark.contract("supervised")


def plain(config: dict) -> dict[str, str]:
    """The knobs at the top that hold a number, a word or a truth value, as a run's parameters hold them."""
    kept = {key: value for key, value in config.items() if isinstance(value, (bool, int, float, str))}
    return {key: str(value) for key, value in kept.items() if not str(value).startswith(("$", "@"))}


def check_what_learnt(
    bundle: Bundle, training_overlay: str, phantoms: Path, folder: Path, after: dict[str, torch.Tensor]
) -> None:
    """Holds trained weights against those that the same seed begins with."""
    knobs = {"dataset_dir": phantoms, "ckpt_dir": folder / "none", "epochs": 1}
    workflow = bundle.workflow("train", "train", bundle.smallest, training_overlay, **knobs)
    workflow.initialize()
    network = workflow.parser.get_parsed_content("network")
    before, parameters = network.state_dict(), dict(network.named_parameters())
    changed = {name for name in parameters if not torch.equal(before[name], after[name])}
    assert changed, "nothing learnt"
    frozen = {name for name, each in parameters.items() if not each.requires_grad}
    assert changed & frozen == set()
    asked = any(value is True and key.startswith("freeze_") for key, value in bundle.written(training_overlay).items())
    assert frozen or not asked, "the overlay says freeze, and nothing is frozen"


@pytest.mark.slow
def test_every_training_overlay_trains_evaluates_and_infers(
    bundle: Bundle, training_overlay: str, phantoms: Path, env: dict[str, str], tmp_path: Path, runs: Runs
) -> None:
    """As a user types it: what is frozen stays, the rest learns, and what is left is evaluated and served as ever."""
    ckpt, data = tmp_path / "ckpt", {"dataset_dir": phantoms}
    words = bundle.command("train", bundle.smallest, training_overlay, **data, ckpt_dir=ckpt, epochs=1)
    python(words, tmp_path, env)
    state = torch.load(ckpt / "last.pt", weights_only=True)
    assert state["progress"]["epoch"] == 1
    check_what_learnt(bundle, training_overlay, phantoms, tmp_path, state["network"])
    record = read_run_file(ckpt)
    assert record is not None
    run = runs.all()[record.run_id]
    assert run.info.status == "FINISHED"
    turned = plain(bundle.written(training_overlay))
    tracked = {key: run.data.params[key] for key in turned if key in bundle.config("train")}
    assert tracked == {key: turned[key] for key in tracked}
    assert read_weights(ckpt / "model.pt").keys() == bundle.network(bundle.smallest).state_dict().keys()
    python(bundle.command("train", bundle.smallest, "evaluate", **data, ckpt_dir=ckpt), tmp_path, env)
    assert (ckpt / "evaluation" / "summary.json").is_file()
    knobs = {"checkpoint": ckpt / "model.pt", "output_dir": tmp_path / "out"}
    python(bundle.command("inference", bundle.smallest, **data, **knobs), tmp_path, env)
    assert list((tmp_path / "out").glob("*_report.json"))
    assert {path.split("/")[0] for path in listing(tmp_path)} == {"ckpt", "out"}
