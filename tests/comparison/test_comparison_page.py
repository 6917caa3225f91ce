"""The files of a comparison: what they say, and that the page can be read by anybody without anything else."""

from __future__ import annotations

import base64
import csv
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from made_runs import Made

from pipelines.comparison import Options, compare

VOID = {"meta", "link", "img", "br"}
QUICK = Options(timing=False)


class Page(HTMLParser):
    """Tags in their order, with attributes, and the text of the page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += f" {data.strip()}"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def made_page(made: Made, **arguments: object) -> Page:
    arguments.setdefault("options", QUICK)
    compare(made.uri, made.folder / "out", **arguments)
    return Page(made.folder / "out" / "comparison.html")


def classifiers(made: Made, patients: list[str] | None = None) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    for network, strength in (("strong", 2.5), ("middling", 1.0), ("guess", 0.0)):
        scores = 1 / (1 + np.exp(-rng.normal(strength * (2 * labels - 1), 1)))
        made.classification(network, scores, labels, patients=patients)


def segmentations(made: Made) -> None:
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 0.08, 24)
    for network, mean in (("strong", 0.85), ("middling", 0.75), ("like_middling", 0.752)):
        made.segmentation(network, np.clip(mean + hard + rng.normal(0, 0.02, 24), 0, 1))


def test_the_page_needs_nothing_else_and_is_well_formed(made: Made) -> None:
    classifiers(made)
    segmentations(made)
    made.run("broken", {}, status="FAILED", tags={"error": "ValueError"})
    page = made_page(made)
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert page.all("script") == []
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
        assert not any(name.startswith("on") for name in attributes)
    targets = {attributes["href"].removeprefix("#") for attributes in page.all("a")}
    assert targets <= {attributes.get("id") for _, attributes in page.tags}
    raw = (made.folder / "out" / "comparison.html").read_text()
    assert "url(" not in raw
    assert "@import" not in raw


def test_headings_tables_and_pictures_can_be_read_aloud(made: Made) -> None:
    classifiers(made)
    segmentations(made)
    page = made_page(made)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.all("th")
    assert all(each.get("scope") in ("col", "row") for each in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    regions = [each for each in page.all("div") if each.get("class") == "scroll"]
    assert all(each.get("tabindex") == "0" and each.get("aria-label") for each in regions)
    images = page.all("img")
    assert len(images) == len(page.all("figcaption")) >= 7
    for image in images:
        assert len(image["alt"]) > 20
        kind, content = image["src"].split(";base64,")
        start = base64.b64decode(content)[:60]
        assert (b"<?xml" in start) if kind == "data:image/svg+xml" else start.startswith(b"\x89PNG")


def test_who_beats_whom_is_said_and_chance_is_not(made: Made) -> None:
    segmentations(made)
    page = made_page(made)
    assert "strong ranks first in lesion_dice" in page.text
    assert re.search(r"It beats (like_)?middling, (like_)?middling", page.text)
    assert "better: +0." in page.text
    assert "no difference shown" in page.text
    assert "Each row is a single training" in page.text


def test_classifiers_are_tested_by_delong_and_mcnemar(made: Made) -> None:
    classifiers(made)
    page = made_page(made, metrics=["auc"])
    assert "DeLong's test" in page.text
    assert "McNemar's exact test" in page.text
    assert "It beats middling, guess (DeLong's test" in page.text
    for title in ("ROC and precision-recall curves", "Reliability", "Confusion matrices", "Learning curves"):
        assert title in page.text
    assert "not on this machine" in page.text  # the pictures of cases


def test_items_of_few_patients_are_warned_of(made: Made) -> None:
    classifiers(made, [f"patient{k // 8}" for k in range(80)])
    assert "come from 10 patients, and the test takes them as independent" in made_page(made).text


def test_a_test_set_too_small_to_show_anything_is_called_that(made: Made) -> None:
    for network, dice in (("one", [0.9, 0.8]), ("two", [0.1, 0.2]), ("three", [0.5, 0.5])):
        made.segmentation(network, dice)
    assert "the test set is too small" in made_page(made).text


def test_cases_without_the_metric_do_not_make_a_test_set_larger(made: Made) -> None:
    rng = np.random.default_rng(4)
    nothing = [math.nan] * 20
    for network in ("one", "two", "three"):
        made.segmentation(network, [*rng.uniform(0.1, 0.9, 5), *nothing])
    page = made_page(made)
    assert "With 5 patients in whom a pair has lesion_dice, and 3 pairs, no p value can fall" in page.text
    assert "A pair is compared on the cases in which both have it" in page.text


def test_runs_on_other_data_are_in_another_section_that_says_why(made: Made) -> None:
    segmentations(made)
    made.segmentation("elsewhere", [0.99] * 24, params={"data_fingerprint": "sha256:" + "ef" * 32})
    page = made_page(made)
    assert "Why there are 2 rankings and not one" in page.text
    assert "nothing to compare it with" in page.text
    rows = list(csv.DictReader((made.folder / "out" / "comparison.csv").open(newline="")))
    assert {row["label"]: row["section"] for row in rows} == {
        "strong": "1", "middling": "1", "like_middling": "1", "elsewhere": "2",
    }  # fmt: skip


def test_phantoms_are_called_phantoms(made: Made) -> None:
    made.segmentation("one", [0.9, 0.8], params={"data_phantom": True})
    assert "These data are phantoms" in made_page(made).text
    assert "These data are phantoms" in (made.folder / "out" / "comparison.md").read_text()


def test_what_is_missing_is_said_and_nothing_is_invented(made: Made) -> None:
    rng = np.random.default_rng(2)
    dice = rng.uniform(0.5, 0.9, 12)
    made.segmentation("whole", dice)
    made.segmentation("bare", dice - 0.1, keep_files=False, tags={"test_cases": mark_of(made)})
    made.run("silent", {"test_lesion_iou": 0.4}, tags={"test_cases": mark_of(made)})
    made.run("broken", {}, status="FAILED", tags={"error": "ValueError"})
    made.run("going", {}, status="RUNNING")
    page = made_page(made)
    assert "failed (ValueError), and was not evaluated" in page.text
    assert "still running" in page.text
    assert "No paired test: 1 of the rows" in page.text
    rows = {row["label"]: row for row in csv.DictReader((made.folder / "out" / "comparison.csv").open(newline=""))}
    assert (rows["silent"]["rank"], rows["silent"]["lesion_dice"]) == ("", "")
    assert float(rows["bare"]["lesion_dice"]) == pytest.approx((dice - 0.1).mean())
    assert rows["broken"]["remark"].startswith("failed")


def mark_of(made: Made) -> str:
    from pipelines.evaluation.case_tables import cases_digest

    return cases_digest(made.folder / "evaluation" / "cases.csv")


def test_seeds_have_their_spread_and_an_interval_of_their_mean(made: Made) -> None:
    rng = np.random.default_rng(3)
    dice = rng.uniform(0.5, 0.9, 20)
    for seed in range(3):
        made.segmentation("seeded", dice + 0.02 * seed, params={"seed": seed})
    made.segmentation("other", dice - 0.2)
    made_page(made)
    row = next(csv.DictReader((made.folder / "out" / "comparison.csv").open(newline="")))
    assert (row["label"], row["runs"], row["seeds"]) == ("seeded", "3", "0 1 2")
    assert float(row["lesion_dice_sd"]) == pytest.approx(0.02)
    assert float(row["lesion_dice_low"]) < dice.mean() + 0.02 < float(row["lesion_dice_high"])


def test_names_from_the_store_are_text_and_nothing_else(made: Made) -> None:
    nasty = "<script>alert(1)</script>|$x$"
    made.segmentation(nasty, np.linspace(0.5, 0.9, 12), name='"><img src=http://else.where/>')
    made.segmentation("=cmd()", np.linspace(0.4, 0.8, 12))
    page = made_page(made)
    assert page.all("script") == []
    assert all(each["src"].startswith("data:") for each in page.all("img"))
    assert nasty in page.text
    assert "<script>" not in (made.folder / "out" / "comparison.md").read_text()
    assert "\n1,2,lesion_dice,'=cmd()" in (made.folder / "out" / "comparison.csv").read_text()


def test_only_the_best_are_drawn_and_the_page_says_so(made: Made) -> None:
    for k in range(10):
        made.segmentation(f"net{k}", np.linspace(0.05 * k, 0.5 + 0.05 * k, 12))
    page = made_page(made, options=Options(timing=False, best=3))
    assert "Of 10 rows the best 3 are tested" in page.text
    assert "The best of 10 is partly the luckiest" in page.text
    assert page.text.count("net0") < page.text.count("net9")
    assert len((made.folder / "out" / "comparison.csv").read_text().splitlines()) == 11


def test_a_metric_is_asked_for_with_or_without_its_prefix(made: Made) -> None:
    segmentations(made)
    assert "Ranked by lesion_sensitivity" in made_page(made, metrics=["test_lesion_sensitivity"]).text


def test_files_that_are_gone_stop_nothing(made: Made) -> None:
    segmentations(made)
    for path in (made.folder / "mlruns" / "artifacts").rglob("cases.csv"):
        path.unlink()
    page = made_page(made)
    assert "strong ranks first" in page.text
    assert "No paired test: 0 of the rows" in page.text


def test_markdown_can_be_read_as_it_is(made: Made) -> None:
    """An apostrophe is one, not an entity; no column is there twice."""
    classifiers(made)
    compare(made.uri, made.folder / "out", options=QUICK)
    text = (made.folder / "out" / "comparison.md").read_text()
    assert "DeLong's test" in text
    assert "x27" not in text
    for line in text.splitlines():
        if line.startswith("| pair |"):
            cells = line.strip("|").split("|")
            assert len(set(cells)) == len(cells)
