"""The evaluation of all folds is one over all cases, of a segmentation and of a classification."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.cross_validation.plan import CrossValidation
from pipelines.cross_validation.pooling import Answers, answers, fold_estimates, folds_table, pool
from pipelines.cross_validation.shipping import folds_calibration
from pipelines.errors import DatalistError, UnreadableFileError
from pipelines.evaluation import bootstrap_interval, write_evaluation
from pipelines.evaluation.classification import class_scores
from pipelines.files import table
from pipelines.networks import TinyUNet
from pipelines.weights import save_weights

DICE = [[0.1, 0.5, 0.9], [0.3, float("nan"), 0.8]]


def segmented(folder: Path, name: str = "case") -> dict[int, Path]:
    for fold, values in enumerate(DICE):
        rows = [
            {"case": f"{name}{fold}{k}", "patient": f"p{k}", "metrics": {"lesion_dice": value}}
            for k, value in enumerate(values)
        ]
        write_evaluation(rows, folder / str(fold), n_resamples=10)
    return {fold: folder / str(fold) for fold in range(2)}


def test_means_are_over_all_cases_and_intervals_over_patients(tmp_path: Path) -> None:
    summary = pool(segmented(tmp_path), tmp_path / "all")
    patients = ["p0", "p1", "p2"] * 2
    expected = bootstrap_interval([*DICE[0], *DICE[1]], patients, bounds=(0, 1))
    assert summary == {"test_lesion_dice": expected}
    assert (expected.n, expected.n_patients) == (5, 3)
    stored = json.loads((tmp_path / "all" / "summary.json").read_text())["test_lesion_dice"]
    assert stored["estimate"] == pytest.approx(0.52)
    assert stored["n_undefined"] == 1


def test_the_table_has_each_fold(tmp_path: Path) -> None:
    evaluations = segmented(tmp_path)
    summary = pool(evaluations, tmp_path / "all")
    shown = folds_table(summary, {k: fold_estimates(path) for k, path in evaluations.items()}, of=3)
    row = shown.splitlines()[2]
    assert row.startswith("| lesion_dice | 0.5200 | ")
    assert row.endswith("| 5 | 0.5000 | 0.5500 |")
    assert "Folds 0, 1 of 3" in shown


def test_names_stay_what_they_are(tmp_path: Path) -> None:
    pool(segmented(tmp_path, name="=1+"), tmp_path / "all")
    with (tmp_path / "all" / "cases.csv").open() as file:
        assert {row["case"][:4] for row in csv.DictReader(file)} == {"'=1+"}, "one apostrophe, not two"


def classified(folder: Path, numbers: list[int]) -> Path:
    """An evaluation of pictures whose classifier is unsure of every third one."""
    head = ["case", "patient", "slice", "label", "predicted", "refer", "p_no", "p_yes"]
    rows = []
    for k in numbers:
        yes = [0.2, 0.7, 0.45, 0.9][k % 4]
        words = ("no", "yes")
        rows.append((f"c{k}", f"p{k // 2}", 0, words[k % 2], words[int(yes > 0.5)], int(k % 3 == 0), 1 - yes, yes))
    folder.mkdir()
    (folder / "pictures.csv").write_text(table(head, rows))
    (folder / "cases.csv").write_text(table(["case", "patient", "accuracy"], [(r[0], r[1], 1.0) for r in rows]))
    names = ["accuracy", "auc", "sensitivity", "ece_before", "refer_share", "accuracy_not_referred"]
    (folder / "summary.json").write_text(json.dumps({f"test_{name}": {"estimate": 0.5} for name in names}))
    return folder


def test_scores_of_a_classification_are_of_all_pictures_together(tmp_path: Path) -> None:
    parts = {0: classified(tmp_path / "0", list(range(8))), 1: classified(tmp_path / "1", list(range(8, 20)))}
    summary = pool(parts, tmp_path / "all")
    found = answers(tmp_path / "all")
    assert found is not None
    assert found.probabilities.shape == (20, 2)
    truth = np.arange(20) % 2
    assert list(found.labels) == truth.tolist()
    by_hand = class_scores(found.probabilities, truth, ["no", "yes"])
    assert summary["test_auc"].estimate == pytest.approx(by_hand["auc"])
    assert summary["test_refer_share"].estimate == pytest.approx(7 / 20)
    assert summary["test_sensitivity"].estimate == pytest.approx(1.0)
    assert summary["test_auc"].n_patients == 10
    assert "test_ece_before" not in summary, "what a table does not say is left out"
    assert (tmp_path / "all" / "confusion.png").stat().st_size > 0
    assert answers(segmented(tmp_path / "masks")[0]) is None


def test_classes_that_a_spreadsheet_would_take_for_formulas_are_read(tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()
    head = ["case", "patient", "slice", "label", "predicted", "refer", "p_+", "p_-"]
    rows = [("a", "p", 0, "+", "-", 0, 0.4, 0.6), ("b", "q", 0, "-", "-", 0, 0.1, 0.9)]
    (tmp_path / "evaluation" / "pictures.csv").write_text(table(head, rows))
    found = answers(tmp_path / "evaluation")
    assert found is not None
    assert (found.names, found.labels.tolist(), found.predicted.tolist()) == (["+", "-"], [0, 1], [1, 1])


def test_what_is_not_whole_is_refused(tmp_path: Path) -> None:
    one = classified(tmp_path / "0", [0, 1, 2])
    with pytest.raises(DatalistError, match="c0: this case was evaluated twice"):
        pool({0: one, 1: one}, tmp_path / "all")
    (one / "summary.json").write_text("{")
    with pytest.raises(UnreadableFileError, match=r"summary.json: the evaluation of a fold is missing or damaged"):
        fold_estimates(one)
    (one / "pictures.csv").write_text("case,patient,label,predicted,p_no,p_yes\nc0,p0,maybe,no,0.5,0.5\n")
    with pytest.raises(UnreadableFileError, match=r"pictures.csv: .*damaged"):
        answers(one)


@pytest.mark.parametrize(("knobs", "wanted"), [((), 0.92), (("--sensitivity", "0.5"), 0.5)])
def test_shipped_weights_have_the_operating_threshold_of_the_folds_answers(
    project: Path, tmp_path: Path, knobs: tuple[str, ...], wanted: float
) -> None:
    bundle = project / "bundles" / "chest_xray_pneumonia_classification"
    plan = CrossValidation(bundle, tmp_path, tmp_path / "out", "", knobs=knobs)
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    ill = np.clip(0.3 + 0.4 * labels + rng.normal(0, 0.15, 200), 0.01, 0.99)
    given = np.column_stack([1 - ill, ill])
    nobody = np.zeros(200, dtype=bool)
    found = Answers(["normal", "pneumonia"], given, labels, given.argmax(axis=1), nobody, [str(k) for k in range(200)])
    save_weights(TinyUNet(), tmp_path / "w.safetensors")
    point = folds_calibration(plan, found, tmp_path / "w.safetensors").operating_point
    assert point is not None
    assert (point.positive, point.wanted_sensitivity) == ("pneumonia", wanted)
    assert wanted <= point.sensitivity < wanted + 0.02
    assert folds_calibration(
        CrossValidation(project / "bundles" / "covid_ct_severity_classification", tmp_path, tmp_path / "out", ""),
        found, tmp_path / "w.safetensors",
    ).operating_point is None, "its training chooses none"  # fmt: skip
