"""Beside the verdict stands what else differs between the rows: whoever reads it knows what a score may be due to."""

from __future__ import annotations

import re

from made_runs import Made
from test_comparison_page import made_page

from pipelines.comparison.differences import differences
from pipelines.comparison.ranking import Row
from pipelines.comparison.runs import Run


def row(label: str, *, runs: int = 1, tags: dict[str, str] | None = None, overlays: str = "", **params: object) -> Row:
    said = {name: str(value) for name, value in {"network": label, "epochs": 3, **params}.items()}
    run = Run("id", label, "bundle", "FINISHED", 0, 1, {}, said, tags or {})
    return Row([run] * runs, overlays, label)


def test_only_what_differs_is_said_and_the_network_is_not() -> None:
    assert differences([row("one"), row("two")]) == []
    assert differences([row("one", epochs=3)]) == []
    found = differences([row("one", batch_size=4), row("two", batch_size=8), row("three", batch_size=4)])
    assert found == ["batch size: 4 (one, three); 8 (two)"]


def test_what_readers_look_for_comes_first() -> None:
    first = row("one", zeal=1, learning_rate=0.1, encoder_weights=True, pretrained="/data/old/model.pt")
    second = row("two", zeal=2, learning_rate=0.2, encoder_weights=False, pretrained=None, epochs=9, runs=3)
    assert differences([first, second]) == [
        "fine-tuned from other weights: old/model.pt (one); no (two)",
        "encoder pretrained on ImageNet: yes (one); no (two)",
        "epochs: 3 (one); 9 (two)",
        "number of seeds: 1 (one); 3 (two)",
        "learning rate: 0.1 (one); 0.2 (two)",
        "zeal: 1 (one); 2 (two)",
    ]


def test_training_data_overlays_and_commits() -> None:
    data = {"data_name": "ct", "data_fingerprint": "sha256:" + "a" * 64, "data_training_cases": 8}
    more = {**data, "data_fingerprint": "sha256:" + "b" * 64, "data_training_cases": 80}
    found = differences(
        [
            row("one", tags={"git_commit": "1" * 40}, **data),
            row("two", tags={"git_commit": "2" * 40}, overlays="frozen", **more),
        ]
    )
    assert found == [
        "training data: ct aaaaaaaa, 8 + ? cases (one); ct bbbbbbbb, 80 + ? cases (two)",
        "commit of the code: 11111111 (one); 22222222 (two)",
        "configs laid over it: none (one); frozen (two)",
    ]


def test_what_a_run_did_not_record_is_said_to_be_unknown() -> None:
    found = differences([row("one", patience=3), row("two"), row("shipped", tags={"evaluation_only": "true"})])
    assert found == [
        "patience: 3 (one); not recorded (two)",
        "not known, since only an evaluation is recorded: how shipped was trained",
    ]


def test_many_values_and_many_knobs_stay_short() -> None:
    rows = [row(f"n{k}", **{f"knob{place:02d}": k for place in range(12)}, path=f"at{k}") for k in range(6)]
    found = differences(rows)
    assert found[0] == "knob00: 0 to 5"
    assert len(found) == 9
    assert found[-1] == "knob08, knob09, knob10, knob11, path: see the origin of the rows"
    assert differences([row(f"n{k}", path=f"at{k}") for k in range(6)]) == ["path: 6 different values"]
    assert differences([row(f"n{k}", a=k // 5) for k in range(6)]) == ["a: 0 (n0, n1, n2 and 2 more); 1 (n5)"]


def test_the_page_says_it_beside_the_verdict(made: Made) -> None:
    made.segmentation("one", [0.8, 0.7], params={"pretrained": "None", "epochs": 120})
    made.segmentation("two", [0.6, 0.5], params={"pretrained": "/weights/x/model.pt", "epochs": 60})
    page = made_page(made)
    assert re.search(r"ranks first.*and may be the reason.*epochs: 120 \(one\); 60 \(two\)", page.text)
    assert "fine-tuned from other weights: no (one); x/model.pt (two)" in page.text
    assert "- epochs: 120 (one); 60 (two)" in (made.folder / "out" / "comparison.md").read_text()


def test_where_nothing_differs_the_page_is_silent(made: Made) -> None:
    made.segmentation("one", [0.8, 0.7])
    made.segmentation("two", [0.6, 0.5])
    assert "may be the reason" not in made_page(made).text
