"""Severity of one case by its mask, the page about it, and the table of all."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from pipelines.tasks.lung_ct.case_page import draw_case_page, worst_slices
from pipelines.tasks.lung_ct.case_severity import NO_LUNG, case_severity, one_lung_slices
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.severity import SCALES, scale, slice_counts
from pipelines.tasks.lung_ct.severity_summary import extent_agreement, read_severities, write_severity_summary

SCALE = SCALES["normal_mild_severe"]


def drawn_slices() -> np.ndarray:
    """Abdomen without lung, healthy, all lesion, one lung of which a quarter is lesion."""
    mask = np.zeros((40, 40, 4), np.uint8)
    mask[4:16, 8:32, 1:3] = mask[24:36, 8:32, 1:3] = 1
    mask[..., 2][mask[..., 2] > 0] = 2
    mask[4:16, 8:32, 3] = 1
    mask[4:16, 8:14, 3] = 2
    return mask


def members_of(mask: np.ndarray, *factors: float) -> np.ndarray:
    """Counts of members that find so many times the lesion."""
    lesion, lung = slice_counts(mask)
    return np.stack([np.stack([(lesion * factor).astype(int), lung]) for factor in factors])


def test_slices_that_tempt_to_divide_by_zero():
    with np.errstate(all="raise"):
        found = case_severity(drawn_slices(), SCALE, spacing=None, members=members_of(drawn_slices(), 1.0, 1.0))
    abdomen, healthy, opaque, one = found["slices"]
    assert (abdomen["class"], abdomen["extent"], abdomen["reason"]) == (None, None, NO_LUNG)
    assert abdomen["borderline"] is None
    assert (healthy["class"], healthy["extent"]) == ("normal", 0)
    assert (opaque["class"], opaque["extent"], opaque["extent_high"]) == ("severe", 1, 1)
    assert (one["class"], one["extent"]) == ("severe", 0.25)
    assert found["extent"] == pytest.approx((576 + 72) / (576 + 576 + 288), abs=1e-6)
    assert found["rule"] == str(SCALE)


def test_a_scan_without_lung_is_not_rated():
    found = case_severity(np.zeros((20, 20, 6), np.uint8), SCALE, spacing=(1.0, 1.0, 1.0))
    assert (found["class"], found["extent"], found["reason"]) == (None, None, NO_LUNG)
    little = np.zeros((100, 100, 50), np.uint8)
    little[:20, :20, :7] = 2  # 76 mL in 13 L: less than any lung
    assert case_severity(little, SCALE, spacing=(3.0, 3.0, 3.0))["class"] is None
    assert case_severity(little[..., :2], SCALE, spacing=(3.0, 3.0, 3.0))["class"] == "severe", "a slab of two slices"


def test_the_interval_is_so_many_standard_deviations_of_the_members():
    mask = drawn_slices()[..., 3:]
    found = case_severity(mask, SCALE, spacing=None, members=members_of(mask, 0.9, 1.1), width=2)
    half = 2 * np.std([0.9 * 0.25, 1.1 * 0.25], ddof=1)
    assert found["extent"] == 0.25
    assert found["extent_low"] == pytest.approx(0.25 - half, abs=0.01)
    assert found["extent_high"] == pytest.approx(0.25 + half, abs=0.01)
    assert found["borderline"] is True
    assert case_severity(mask, SCALE, spacing=None, members=members_of(mask, 1.2, 1.4))["extent_low"] < 0.25
    high = case_severity(mask, SCALE, spacing=None, members=members_of(mask, 0.9, 1.1), width=2, floor=0.02)
    assert high["extent_high"] - found["extent_high"] == pytest.approx(0.02, abs=1e-5)
    clean = drawn_slices()[..., 1:2]
    nothing = case_severity(clean, SCALE, spacing=None, members=members_of(clean, 1, 1), floor=0.02)
    assert (nothing["extent_high"], nothing["borderline"]) == (0, False)
    wide = case_severity(mask, SCALE, spacing=None, members=members_of(mask, 0.9, 1.1), width=2, share=0.2)
    assert wide["extent_high"] - found["extent_high"] == pytest.approx(0.2 * 0.25, abs=1e-5)
    for members in (None, members_of(mask, 1.0)):
        none = case_severity(mask, SCALE, spacing=None, members=members)
        assert (none["extent_low"], none["borderline"]) == (None, None), "one prediction says nothing of its spread"
    split = members_of(drawn_slices()[..., 1:2], 1.0, 1.0, 1.0)
    assert case_severity(drawn_slices()[..., 1:2], SCALE, spacing=None, members=split)["borderline"] is False
    split[2, 1] = 3  # this member finds hardly any lung
    assert case_severity(drawn_slices()[..., 1:2], SCALE, spacing=None, members=split)["borderline"] is True


def test_one_lung_is_noticed():
    phantom = make_lung_phantom(4, size=96, slices=10, extent=0.1)
    scaled = scale_ct(phantom.array.astype(np.float32), "hu")
    lungs = (phantom.label > 0).sum(axis=(0, 1))
    middle = [int(z) for z in np.flatnonzero(lungs > 0.5 * lungs.max())]
    both = (phantom.lungs == 1).any(axis=(0, 1)) & (phantom.lungs == 2).any(axis=(0, 1))
    assert [z for z in one_lung_slices(phantom.label, scaled) if both[z] and lungs[z] > 200] == []
    alone = np.where(phantom.lungs == 1, phantom.label, 0)
    assert set(middle) <= set(one_lung_slices(alone, scaled))
    turned = one_lung_slices(np.rot90(alone), np.ascontiguousarray(np.rot90(scaled)))
    assert set(middle) <= set(turned), "a picture on its side"


@pytest.mark.parametrize("file_format", ["png", "pdf"])
@pytest.mark.parametrize("extent", [0.0, 0.3])
def test_the_page_is_drawn(file_format, extent):
    phantom = make_lung_phantom(4, size=64, slices=10, extent=extent)
    members = members_of(phantom.label, 0.9, 1.0, 1.1)
    severity = case_severity(phantom.label, SCALE, spacing=(6.0, 6.0, 30.0), members=members)
    file = io.BytesIO()
    draw_case_page(
        file, "a$b_c\n", phantom.array.astype(np.float32), phantom.label, "hu", severity, {"lung": "5000 mL"},
        thresholds=SCALE.thresholds, footer="not for care", file_format=file_format,
    )  # fmt: skip
    assert len(worst_slices(severity["slices"])) == (6 if extent else 0)
    if file_format == "pdf":
        assert file.getvalue().startswith(b"%PDF")
        return
    pixels = np.asarray(Image.open(file).convert("RGB"))
    orange = (np.abs(pixels.astype(int) - (230, 159, 0)).sum(axis=2) < 40).mean()
    assert (orange > 1e-4) == (extent > 0), "lesions are outlined in orange, where there are any"


def test_a_page_of_a_case_that_is_not_rated():
    mask = np.zeros((40, 40, 5), np.uint8)
    severity = case_severity(mask, SCALE, spacing=(1.0, 1.0, 1.0))
    file = io.BytesIO()
    draw_case_page(
        file, "empty", np.random.default_rng(0).uniform(-1000, 100, mask.shape), mask, "hu", severity, {},
        thresholds=SCALE.thresholds, footer="",
    )  # fmt: skip
    assert Image.open(file).size[0] > 500


def test_agreement_by_hand():
    found = extent_agreement(
        np.array([0.1, 0.3, 0.6]), np.array([0.0, 0.3, 0.5]), np.array([0.05, 0.2, 0.45]), np.array([0.2, 0.4, 0.7])
    )
    assert found["extent_mae"] == pytest.approx(0.2 / 3)
    assert found["extent_bias"] == pytest.approx(0.2 / 3)
    assert found["interval_coverage"] == pytest.approx(2 / 3)
    assert found["extent_spearman"] == 1
    assert np.isnan(extent_agreement(*np.full((4, 2), 0.2))["extent_pearson"])


def report(folder, name, said, true, extent=0.3, true_extent=0.1):
    """A report as SeverityWriter leaves it, of a case of one slice."""
    rated = {"extent": extent if said else None, "extent_low": None, "extent_high": None, "borderline": None}
    each = {"slice": 0, "class": said, "reason": None if said else NO_LUNG, **rated}
    scale = {"names": list(SCALE.names), "thresholds": list(SCALE.thresholds)}
    severity = {**each, "scale": scale, "slices": [{**each}]}
    if true is not None:
        severity["true"] = {"class": true, "extent": true_extent, "patient": name}
        severity["slices"][0] |= {"true_class": true, "true_extent": true_extent}
    folder.mkdir(exist_ok=True)
    (folder / f"{name}_report.json").write_text(json.dumps({"severity": severity}))


def test_the_table_of_a_folder_and_its_truth(tmp_path):
    report(tmp_path, "a", "severe", "mild")
    report(tmp_path, "b", "mild", "mild", 0.1)
    report(tmp_path, "c", None, "severe", true_extent=0.9)
    report(tmp_path / "deeper", "d", "normal", None, 0.0)
    report(tmp_path / ".writing-x", "e", "normal", None, 0.0)
    (tmp_path / "broken_report.json").write_text('{"severity": ')
    write_severity_summary(tmp_path, SCALE, read_severities(tmp_path, SCALE), n_resamples=50)
    rows = list(csv.DictReader((tmp_path / "severity.csv").open(newline="")))
    assert {row["case"]: (row["class"], row["true_class"]) for row in rows} == {
        "a": ("severe", "mild"),
        "b": ("mild", "mild"),
        "c": ("", "severe"),
        "deeper/d": ("normal", ""),
    }
    summary = json.loads((tmp_path / "severity_summary.json").read_text())
    assert summary["slice_accuracy"]["estimate"] == pytest.approx(1 / 3), "one that is not rated is wrong"
    assert summary["slice_f1"]["estimate"] == pytest.approx((2 / 3 + 0) / 2), "of mild and severe, the true classes"
    assert summary["slice_mild_sensitivity"]["estimate"] == 0.5
    assert summary["slice_severe_sensitivity"]["estimate"] == 0
    assert summary["case_extent_mae"]["estimate"] == pytest.approx(0.1)
    text = (tmp_path / "severity_summary.md").read_text()
    assert "| mild | 0 | 1 | 1 | 0 |" in text
    assert "| severe | 0 | 0 | 0 | 1 |" in text
    assert (tmp_path / "confusion_slice.png").stat().st_size > 1000


def test_without_a_truth_there_is_a_table_only(tmp_path):
    report(tmp_path, "a", "severe", None)
    (tmp_path / "severity_summary.md").write_text("of an earlier run")
    write_severity_summary(tmp_path, SCALE, read_severities(tmp_path, SCALE))
    assert {path.name for path in tmp_path.iterdir()} == {"a_report.json", "severity.csv"}


def test_another_rule_is_another_table(tmp_path):
    report(tmp_path, "a", "severe", None)
    assert read_severities(tmp_path, SCALES["ct0_ct4"]) == {}
    assert read_severities(tmp_path, scale(thresholds=[0.05, 0.5])) == {}
    assert read_severities(tmp_path, SCALE).keys() == {"a"}
