"""What every command says of a target that is not there, is something else, or cannot be written: one line that names
it, the exit code of its kind, no stack trace, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.__main__ import main

BUNDLE, XRAYS = "skin_lesion_segmentation", "chest_xray_pneumonia_classification"
# words ({t}: an empty folder of the test's; {t}/text: a file of text; {t}/nothing: nothing), exit code, what is named
TARGETS = {
    "predict: no such bundle": ("predict no_such_bundle {t}/text --out {t}/out", 2, "no_such_bundle"),
    "predict: no such picture": ("predict {b} {t}/nothing.png --out {t}/out", 10, "nothing.png"),
    "predict: no such network": ("predict {b} {t}/text --out {t}/out --network no_such", (2, 18), "no_such"),
    "predict: no such weights": ("predict {b} {t}/p.png --out {t}/out --checkpoint {t}/nothing.pt", 10, "nothing.pt"),
    "predict: text as weights": ("predict {b} {t}/p.png --out {t}/out --checkpoint {t}/text", 10, "text"),
    "predict: a file as folder": ("predict {b} {t}/p.png --out {t}/text", 19, "text"),
    "predict: no such list": ("predict {b} --datalist {t}/nothing.json --out {t}/out", (10, 16), "nothing.json"),
    "predict: text as list": ("predict {b} --datalist {t}/text.json --out {t}/out", 16, "text.json"),
    "prepare: nothing there": ("data prepare skin_lesions --raw {t}/nothing --out {t}/out", (2, 10, 16), "nothing"),
    "prepare: an empty folder": ("data prepare skin_lesions --raw {t}/empty --out {t}/out", (2, 10, 16), "empty"),
    "phantom: into a file": ("data phantom isic2016 --out {t}/text --cases 4", 19, "text"),
    "audit: no such list": ("data audit {t}/nothing", (10, 16), "nothing"),
    "audit: text": ("data audit {t}/text.json", 16, "text.json"),
    "view: nothing there": ("view {t}/nothing --no-browser", (2, 10, 16, 18, 19), "nothing"),
    "view: an empty folder": ("view {t}/empty --no-browser", (2, 10, 16, 18, 19), "empty"),
    "new: no such kind": ("new spots_segmentation --like no_such --labels spot --out {t}/out", 2, "no_such"),
    "new: a name that is none": ("new ../spots --like picture_segmentation --labels spot --out {t}/out", 2, "../spots"),
    "check: no bundle": ("check {t}/empty", (2, 18), "empty"),
    "export: no such bundle": ("export no_such --to onnx --out {t}/out", 2, "no_such"),
    "export: text as weights": ("export {b} --to onnx --checkpoint {t}/text --out {t}/out", 10, "text"),
    "compress: no data": ("compress {b} --data {t}/nothing --out {t}/out", (2, 10, 16), "nothing"),
    "package: no such bundle": ("package no_such --out {t}/out", 2, "no_such"),
    "card: no such run": ("card no_such_run", (2, 20), "no_such_run"),
    "promote: no such run": ("promote no_such_run", (2, 20), "no_such_run"),
    "compare: no such experiment": ("compare --experiment no_such --out {t}/out", (2, 20), "no_such"),
    "tune: no such bundle": ("tune no_such --trials 1 --out {t}/out", 2, "no_such"),
    "cross-validate: no data": ("cross-validate {b} --data {t}/nothing --out {t}/out", (2, 10, 16), "nothing"),
    "label: no such bundle": ("label no_such --studies {t}/empty", (2, 18), "no_such"),
    "listen: no such bundle": ("listen no_such --out {t}/out --allow A", 2, "no_such"),
    "bundles: no folder of them": ("list --bundles {t}/empty", 2, "empty"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_that_cannot_be_used_is_named_in_one_line(
    name: str,
    tmp_path: Path,
    new_store: Callable[[Path], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words, codes, named = TARGETS[name]
    for file in ("text", "text.json", "p.png"):
        (tmp_path / file).write_text("this is no such thing\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    before = _files(tmp_path)
    code = main([word.format(t=tmp_path, b=BUNDLE) for word in words.split()])
    said = capsys.readouterr()
    assert code in ((codes,) if isinstance(codes, int) else codes), said.err
    (line,) = [each for each in said.err.splitlines() if each.strip()]
    assert line.startswith("error: ")
    assert named in line
    assert "Traceback" not in said.err + said.out
    assert _files(tmp_path) == before


def _files(folder: Path) -> dict[Path, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and folder / "store" not in path.parents]
    return {path: path.read_bytes() for path in files}
