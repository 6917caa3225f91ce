"""A segmentation of anything is measured and drawn as well: any classes, any values, grey or coloured, flat or deep."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import ConfigError
from pipelines.evaluation import EvaluationReport
from pipelines.evaluation.case_tables import truth_digest
from pipelines.evaluation.label_outlines import colour_of
from pipelines.evaluation.metric_names import has_order
from pipelines.evaluation.pictures import CasePicture, draw_cases

CLASSES = {1: "oedema", 2: "necrosis", 4: "enhancing core"}
VOLUME = np.zeros((12, 10, 5), dtype=np.uint8)
VOLUME[2:10, 2:8, 1:4] = 1
VOLUME[4:8, 3:7, 2] = 4
VOLUME[9, 3:6, 2] = 2


def evaluated(
    report: EvaluationReport, predictions: Mapping[str, NDArray], image: Any = None, label: NDArray = VOLUME
) -> Mapping[str, float]:
    engine = Engine(lambda engine, batch: batch)
    report.attach(engine)
    items = [
        {
            "pred": torch.as_tensor(prediction)[None],
            "label": torch.as_tensor(label)[None],
            "case": name,
            "patient": name,
        }
        for name, prediction in predictions.items()
    ]
    items = [item if image is None else item | {"image": image} for item in items]
    return engine.run([[item] for item in items]).metrics


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[CasePicture]:
    found: list[CasePicture] = []
    monkeypatch.setattr("pipelines.evaluation.report.draw_cases", lambda pictures, *_: found.extend(pictures))
    return found


def without(value: int) -> NDArray:
    return np.where(value == VOLUME, 0, VOLUME)


def test_the_class_that_counts_says_what_is_worst(tmp_path: Path, drawn: list[CasePicture]) -> None:
    predictions = {"no core": without(4), "no oedema": without(1)}
    metrics = evaluated(EvaluationReport(tmp_path, CLASSES, n_worst=1, n_resamples=20), predictions)
    assert metrics["test_enhancing core_dice"] == pytest.approx(0.5)
    assert [picture.case for picture in drawn] == ["no core"], "the highest value counts where nothing is said"
    assert "| case | Dice of enhancing core |" in (tmp_path / "summary.md").read_text()
    drawn.clear()
    evaluated(EvaluationReport(tmp_path, CLASSES, "oedema", n_worst=1, n_resamples=20), predictions)
    assert [picture.case for picture in drawn] == ["no oedema"]


def test_a_class_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no class 'lesion'; name one of oedema, necrosis, enhancing core"):
        EvaluationReport("out", CLASSES, "lesion")
    with pytest.raises(ConfigError, match="no class 'bone'"):
        EvaluationReport("out", CLASSES, outlined=["oedema", "bone"])
    with pytest.raises(ConfigError, match="no classes"):
        EvaluationReport("out", {0: "background"})


def test_what_a_task_measures_is_beside_the_rest(tmp_path: Path) -> None:
    def core_share(
        prediction: NDArray, label: NDArray, classes: Mapping[int, str], spacing: Sequence[float] | None
    ) -> dict[str, float]:
        assert classes == CLASSES
        shares = [float((each == 4).sum() / (each > 0).sum()) for each in (label, prediction)]
        return {"core_label": shares[0], "core_prediction": shares[1]}

    report = EvaluationReport(tmp_path, CLASSES, measures=[core_share], n_resamples=20)
    metrics = evaluated(report, {"a": VOLUME, "b": without(4)})
    assert metrics["test_core_label"] == pytest.approx((VOLUME == 4).sum() / (VOLUME > 0).sum())
    assert metrics["test_core_prediction"] == pytest.approx(metrics["test_core_label"] / 2)
    assert not has_order("core_label")
    assert not has_order("core_prediction")
    first = truth_digest([tmp_path / "cases.csv"])
    assert first, "what is measured of the label alone is a mark of the truth"
    table = (tmp_path / "cases.csv").read_text()
    (tmp_path / "cases.csv").write_text(table.replace("core_label", "other"))
    assert truth_digest([tmp_path / "cases.csv"]) == "", "and what is measured of the prediction is none"


def scan(path: Path, values: NDArray) -> MetaTensor:
    """A stored volume, as an evaluator has it whose preprocessing brought it onto another grid."""
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), path)
    meta = {"kind": "volume", "filename_or_obj": str(path), "original_affine": affine}
    return MetaTensor(torch.zeros(1, 6, 32, 5), affine=np.diag([-2.0, -2, 2, 1]), meta=meta)


def test_a_window_is_what_the_config_says(tmp_path: Path, drawn: list[CasePicture]) -> None:
    values = np.tile(np.linspace(-1000, 1000, 64)[:, None, None], (1, 64, 5))  # Hounsfield units, by what they are
    image, label = scan(tmp_path / "scan.nii.gz", values), np.ones(values.shape, dtype=np.uint8)
    for window in ([0, 500], None):
        evaluated(
            EvaluationReport(tmp_path / "out", {1: "bone"}, window=window, n_resamples=20), {"a": label}, image, label
        )
    windowed, plain = (picture.image for picture in drawn)
    assert windowed is not None
    assert plain is not None
    low, high = (int(np.abs(values[:, 0, 0] - bound).argmin()) for bound in (0, 500))
    assert windowed[0, : low - 1].max() == 0
    assert windowed[0, high + 1 :].min() == 255
    assert plain[0, low] == pytest.approx(127, abs=4), "no window: from the darkest to the brightest percent"


def test_volumes_that_are_no_ct_are_drawn(tmp_path: Path, drawn: list[CasePicture]) -> None:
    label = VOLUME.repeat(4, axis=0).repeat(4, axis=1)
    values = np.tile(np.arange(48)[:, None, None] * 75, (1, 40, 5))  # no Hounsfield units
    image = scan(tmp_path / "brain.nii.gz", values)
    evaluated(EvaluationReport(tmp_path / "out", CLASSES, n_resamples=20), {"a": label}, image, label)
    assert drawn[0].image is not None
    assert drawn[0].image.shape == drawn[0].label.shape == (40, 48)
    assert np.all(np.diff(drawn[0].image[0, 1:-1].astype(int)) > 3)


def test_every_class_is_outlined_in_its_colour() -> None:
    plane = VOLUME[:, :, 2].T
    picture = CasePicture("case", 0.5, np.full(plane.shape, 90, np.uint8), plane, 0 * plane, CLASSES)

    def colours(*pictures: CasePicture) -> set[tuple[int, int, int]]:
        file = io.BytesIO()
        draw_cases(pictures, file)
        rows = np.asarray(Image.open(file).convert("RGB")).astype(int)
        rows = rows[: int(len(rows) * 0.8)]  # above the legend
        wanted = [colour_of(value) for value in CLASSES]
        return {colour for colour in wanted if (np.abs(rows - colour).max(axis=-1) < 12).any()}

    assert len(colours(picture)) == 3
    one = CasePicture("case", 0.5, picture.image, plane, 0 * plane, {4: "enhancing core"})
    assert colours(one) == {(0x56, 0xB4, 0xE9)}
