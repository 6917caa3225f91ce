"""The page says first whether it helped; the fault is called a fault wherever it stands."""

from __future__ import annotations

import csv
import html
import json
import re
from datetime import datetime
from pathlib import Path

import pytest
from made_audits import ARMS, made_measured

from pipelines.synthetic_audit.report import FAULT, make_report, write_report
from pipelines.synthetic_audit.results import work_out

MADE = datetime(2030, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audit")
    wrong = {("net", arm): each for arm, each in zip(ARMS, ([60, 62], [40, 42], [50, 52], [20, 22]), strict=True)}
    wrong |= {("other", arm): [40, 42] for arm in ARMS}
    results = work_out(made_measured(wrong, generated_wrong=2), "accuracy")
    report = make_report(
        results,
        None,
        bundle="<b>undle",
        phantom=True,
        warnings=["small | it is"],
        rules=["a rule"],
        no_closeness="none",
    )
    paths = write_report(report, results, None, {"bundle": "<b>undle"}, MADE, out)
    assert [path.name for path in paths] == ["summary.json", "audit.csv", "audit.md", "audit.html", "differences.png"]
    return out


def test_the_first_sentence_says_whether_it_helped(written: Path) -> None:
    said = json.loads((written / "summary.json").read_text())["answer"]
    assert "helped net (at 100 %: +0.200" in said
    assert "were not shown to help other (at 100 %: +0.000" in said
    page = (written / "audit.html").read_text()
    verdict = page.index('<div class="verdict">')
    assert html.escape(said, quote=False) in html.unescape(page)
    assert html.unescape(page[verdict : verdict + 60]).split("<strong>")[1].startswith(said[:20])
    lines = [line for line in (written / "audit.md").read_text().splitlines() if line.startswith("**")]
    assert lines[1] == f"**{said}**", "after that these are phantoms"


def test_the_page_needs_nothing_else_and_takes_no_markup(written: Path) -> None:
    page = (written / "audit.html").read_text()
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "<b>undle" not in page
    assert "http://" not in re.sub(r'"data:[^"]*"', "", page)
    assert "drawings made by this project" in page


def test_the_fault_is_labelled_in_page_json_and_csv(written: Path) -> None:
    page, markdown = (written / "audit.html").read_text(), (written / "audit.md").read_text()
    for content in (html.unescape(page), markdown):
        assert FAULT in content
        assert content.count("FAULT: net") == content.count("FAULT: other") == 2  # two shares each
    faults = json.loads((written / "summary.json").read_text())["faults"]
    assert all(each["fault"] is True and each["why"] == FAULT for each in faults)
    full = next(each for each in faults if each["network"] == "other" and each["arm"] == "generated 100 %")
    assert full["inflation"]["estimate"] == pytest.approx(full["mixed"]["estimate"] - full["real"]["estimate"])
    assert full["inflation"]["estimate"] > 0.05
    with (written / "audit.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    marked = [row for row in rows if row["kind"] == "FAULT"]
    assert {row["metric"] for row in marked} == {"accuracy_mixed", "accuracy_inflation", "accuracy_gain"}
    assert len(marked) == 2 * 2 * 3
    honest = [row for row in rows if row["kind"] != "FAULT"]
    assert {row["metric"] for row in honest} == {"accuracy", "balanced_accuracy", "auc"}


def test_csv_and_json_have_the_same_figures(written: Path) -> None:
    summary = json.loads((written / "summary.json").read_text())
    with (written / "audit.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "difference"]
    assert len(rows) == 3 * len(summary["differences"]) == 3 * 10
    for each in summary["differences"]:
        row = next(
            row
            for row in rows
            if (row["network"], row["arm"], row["against"], row["metric"])
            == (each["network"], each["arm"], each["against"], "accuracy")
        )
        assert float(row["value"]) == pytest.approx(each["accuracy"]["difference"])
        assert float(row["p_holm"]) == pytest.approx(each["accuracy"]["p_holm"])
        assert each["accuracy"]["p_holm"] >= max(each["accuracy"]["p_bootstrap"], each["accuracy"]["p_test"])
