from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted
from PIL import Image

from pipelines.errors import ConfigError, DatalistError, GeometryError, LabelError
from pipelines.evaluation import EvaluationReport, case_metrics

CLASSES = {1: "lung", 2: "lesion"}


class Answer(torch.nn.Module):
    """Logits whose argmax is the image: the image is the prediction that a test wants."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-((x - value) ** 2) for value in range(3)], dim=1)


def _case(name: str, found: int, *, kind: str = "volume", patient: str = "p", shape: Any = (8, 6, 4)) -> dict[str, Any]:
    """A case with 8 voxels of lesion in slice 1 of which ``found`` are predicted (Dice 2 found / (8 + found))."""
    label = torch.zeros((1, *shape), dtype=torch.uint8)
    label[:, :, :2] = 1
    label[0, :, 3, min(1, shape[2] - 1)] = 2
    image = label.float()
    image[0, found:, 3] = 0
    affine = torch.diag(torch.tensor([-2.0, -2.0, 5.0, 1.0], dtype=torch.float64))
    meta = {"kind": kind, "filename_or_obj": f"/no/such/{name}.nii.gz", "original_affine": affine}
    return {
        "image": MetaTensor(image, affine=affine, meta=meta),
        "label": MetaTensor(label, affine=affine),
        "case": name,
        "patient": patient,
    }


def _run(items: list[dict[str, Any]], report: EvaluationReport, **arguments: Any) -> SupervisedEvaluator:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items), batch_size=1),
        **(
            {"network": Answer(), "postprocessing": AsDiscreted(keys="pred", argmax=True), "val_handlers": [report]}
            | arguments
        ),
    )
    evaluator.logger.setLevel(logging.CRITICAL)  # ignite logs what it raises again
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator.run()
    return evaluator


def test_values_are_in_the_metrics_and_the_files(tmp_path: Path) -> None:
    items = [_case("a", 8, patient="1"), _case("b", 4, patient="2"), _case("c", 0, patient="3")]
    evaluator = _run(items, EvaluationReport(tmp_path, CLASSES, n_resamples=100))
    metrics = evaluator.state.metrics
    assert metrics["test_lesion_dice"] == pytest.approx((1 + 2 * 4 / 12 + 0) / 3)
    assert metrics["test_lesion_dice_ci_low"] < metrics["test_lesion_dice"] < metrics["test_lesion_dice_ci_high"]
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["test_lesion_dice"]["estimate"] == metrics["test_lesion_dice"]
    assert written["test_lesion_hd95_mm"]["n_undefined"] == 1
    assert {path.name for path in tmp_path.iterdir()} == {"cases.csv", "summary.json", "summary.md", "worst_cases.png"}


def test_distances_are_in_millimetres_for_volumes_and_pixels_for_pictures(tmp_path: Path) -> None:
    volume = _case("volume", 4)
    metrics = _run([volume], EvaluationReport(tmp_path, CLASSES, n_resamples=50)).state.metrics
    by_hand = case_metrics(volume["image"][0].numpy(), volume["label"][0].numpy(), CLASSES, spacing=(2, 2, 5))
    assert metrics["test_lesion_hd95_mm"] == pytest.approx(by_hand["lesion_hd95_mm"])
    picture = _case("picture", 4, kind="picture", shape=(8, 6, 1))
    metrics = _run([picture], EvaluationReport(tmp_path, CLASSES, n_resamples=50)).state.metrics
    assert metrics["test_lesion_hd95_px"] == pytest.approx(by_hand["lesion_hd95_mm"] / 2)
    assert "test_lesion_hd95_mm" not in metrics


def test_values_are_there_for_handlers_of_completion(tmp_path: Path) -> None:
    seen: list[float] = []

    class Tracker:
        def attach(self, engine: Any) -> None:
            engine.add_event_handler(Events.COMPLETED, lambda e: seen.append(e.state.metrics["final_lesion_dice"]))

    report = EvaluationReport(tmp_path, CLASSES, prefix="final", n_resamples=50)
    _run([_case("a", 8)], report, val_handlers=[Tracker(), report])
    assert seen == [1.0]


def test_the_worst_cases_are_drawn_worst_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("pipelines.evaluation.report.draw_cases", lambda pictures, *_: drawn.extend(pictures))
    items = [_case(f"found{found}", found) for found in (8, 2, 6, 0, 4)]
    _run(items, EvaluationReport(tmp_path, CLASSES, n_worst=3, n_resamples=50))
    assert [picture.case for picture in drawn] == ["found0", "found2", "found4"]
    assert [int((picture.prediction == 2).sum()) for picture in drawn] == [0, 2, 4]
    assert all((picture.label == 2).sum() == 8 and picture.label.shape == (6, 8) for picture in drawn)
    assert all(picture.image is not None and picture.image.max() > 0 for picture in drawn)


def test_an_image_off_the_grid_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("pipelines.evaluation.report.draw_cases", lambda pictures, *_: drawn.extend(pictures))
    path = tmp_path / "picture.png"
    Image.fromarray(np.tile(np.arange(0, 240, 6, dtype=np.uint8), (32, 1))).save(path)  # 40 wide, 32 high
    item = _case("picture", 4, kind="picture", shape=(40, 32, 1))
    item["image"].meta["filename_or_obj"] = str(path)
    item["image"].affine = torch.eye(4, dtype=torch.float64)  # another grid, though the shape is the same
    _run([item], EvaluationReport(tmp_path / "out", CLASSES, n_resamples=50))
    assert drawn[0].image.tolist() == [list(range(0, 240, 6))] * 32


def test_an_image_that_is_gone_costs_the_picture_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    item = _case("gone", 4)
    item["image"].affine = torch.eye(4, dtype=torch.float64)
    with caplog.at_level(logging.WARNING):
        metrics = _run([item], EvaluationReport(tmp_path, CLASSES, n_resamples=50)).state.metrics
    assert "gone: no image behind the outlines" in caplog.text
    assert metrics["test_lesion_dice"] == pytest.approx(8 / 12)
    assert (tmp_path / "worst_cases.png").exists()


def test_other_keys(tmp_path: Path) -> None:
    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "mask": data["pred"].argmax(0, keepdim=True), "truth": data["label"]}

    report = EvaluationReport(tmp_path, CLASSES, key_pred="mask", key_label="truth", n_worst=0, n_resamples=50)
    metrics = _run([_case("a", 8)], report, postprocessing=renamed).state.metrics
    assert metrics["test_lesion_dice"] == 1
    assert not (tmp_path / "worst_cases.png").exists()


def test_a_second_run_starts_afresh(tmp_path: Path) -> None:
    report = EvaluationReport(tmp_path, CLASSES, n_resamples=50)
    _run([_case("a", 0)], report)
    assert _run([_case("a", 8)], report).state.metrics["test_lesion_dice"] == 1


def test_a_case_without_a_name_has_that_of_its_image(tmp_path: Path) -> None:
    item = _case("a", 8)
    del item["case"]
    _run([item], EvaluationReport(tmp_path, CLASSES, n_resamples=50))
    assert "\na.nii.gz,p," in (tmp_path / "cases.csv").read_text()


def test_faults_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    no_patient, odd, other_grid = _case("anna", 8), _case("odd", 8), _case("cut", 8)
    del no_patient["patient"]
    odd["label"][0, 0, 0, 0] = 7
    other_grid["label"] = other_grid["label"][:, 1:]
    argmax = AsDiscreted(keys="pred", argmax=True)
    for item, arguments, kind, words in (
        (no_patient, {}, DatalistError, "anna: .*patient"),
        (odd, {}, LabelError, "odd: .*7"),
        (other_grid, {}, GeometryError, "cut: .*8x6x4.*7x6x4"),
        (_case("a", 8), {"postprocessing": None}, ConfigError, "a: 'pred' is .*argmax"),
        (_case("a", 8), {"decollate": False, "postprocessing": None}, ConfigError, "decollate"),
        (
            _case("a", 8),
            {"val_handlers": [EvaluationReport(out, CLASSES, key_pred="mask")]},
            ConfigError,
            "a: .*no 'mask'",
        ),
    ):
        with pytest.raises(kind, match=words):
            _run([item], EvaluationReport(out, CLASSES), **({"postprocessing": argmax} | arguments))
    assert not out.exists()
    with pytest.raises(ValueError, match="n_worst"):
        EvaluationReport(out, CLASSES, n_worst=-1)


def test_colour_pictures_by_diagnosis(tmp_path: Path) -> None:
    """Labels of 0 and 1, three channels, and the worst case is drawn in its colours."""
    label = torch.zeros(1, 20, 12, dtype=torch.uint8)
    label[0, 4:12, 3:9] = 1
    image = torch.full((3, 20, 12), 0.8)
    image[:, 4:12, 3:6] = torch.tensor([0.7, 0.1, 0.1]).reshape(3, 1, 1)  # half of the lesion is found
    items = [
        {
            "image": MetaTensor(image, meta={"kind": "picture", "filename_or_obj": f"/no/such/{name}.png"}),
            "label": MetaTensor(label),
            "case": name,
            "patient": name,
            "diagnosis": diagnosis,
        }
        for name, diagnosis in (("a", "naevus"), ("b", "melanoma"))
    ]

    class Dark(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x.mean(dim=1, keepdim=True) < 0.5).float()

    report = EvaluationReport(
        tmp_path,
        n_resamples=50,
        classes={0: "background", 1: "lesion"},
        nsd_tolerance={},
        iou_threshold=0.65,
        group_key="diagnosis",
    )
    metrics = _run(items, report, network=Dark(), postprocessing=None).state.metrics
    assert metrics["test_lesion_dice"] == pytest.approx(2 / 3)
    assert metrics["test_lesion_iou"] == pytest.approx(1 / 2)
    assert metrics["test_lesion_thresholded_iou"] == 0
    assert not any("nsd" in name or "lung" in name or "extent" in name for name in metrics)
    assert set(json.loads((tmp_path / "groups.json").read_text())) == {"melanoma", "naevus"}
    assert "NSD tolerance" not in (tmp_path / "summary.md").read_text()
    drawn = np.asarray(Image.open(tmp_path / "worst_cases.png").convert("RGB")).astype(int)
    red = (drawn[..., 0] > 150) & (drawn[..., 1] < 60) & (drawn[..., 2] < 60)
    assert red.sum() > 500
