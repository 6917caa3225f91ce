"""An interrupted ``predict`` goes on: every case once in the manifest, nothing done twice, the page beside it."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from lung_pictures import draw
from PIL import Image

import pipelines.handlers
import pipelines.prediction
from pipelines.__main__ import main
from pipelines.commands.predict import EXIT_SOME_NOT_DONE
from pipelines.errors import OutputError
from pipelines.handlers import CaseWriter
from pipelines.networks import TinyUNet
from pipelines.prediction import read_outcomes
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.warm import WarmPython
from pipelines.weights import save_weights

BUNDLE = "covid_ct_lesion_segmentation"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(TinyUNet(), path)
    return path


def words(source: Path, out: Path, weights: Path, *more: str) -> list[str]:
    fixed = ["--network", "tiny_unet", "--fast", "--checkpoint", str(weights)]
    return ["predict", BUNDLE, str(source), "--out", str(out), *fixed, *more]


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


@pytest.fixture
def looked_at(monkeypatch) -> list[str]:
    """The cases that the network is asked about."""
    asked: list[str] = []
    prepare = pipelines.prediction.Model.prepare

    def noted(self, item):
        asked.append(item["case"])
        return prepare(self, item)

    monkeypatch.setattr(pipelines.prediction.Model, "prepare", noted)
    return asked


def test_an_interrupted_prediction_goes_on(tmp_path, weights, monkeypatch, looked_at, capsys):
    draw(tmp_path / "in", 6)
    (tmp_path / "in" / "p003.png").write_bytes(b"")
    out = tmp_path / "out"
    compute = pipelines.prediction.Model.compute

    def stopped(self, prepared, progress=None):
        if prepared.item["case"] == "p004":
            raise KeyboardInterrupt
        return compute(self, prepared, progress)

    with monkeypatch.context() as patched:
        patched.setattr(pipelines.prediction.Model, "compute", stopped)
        assert main(words(tmp_path / "in", out, weights)) == 130
    assert "--resume" in capsys.readouterr().err
    status = {Path(line["input"]).stem: line["status"] for line in lines(out)}
    assert status == {
        "p000": "done", "p001": "done", "p002": "done", "p003": "refused", "p004": "interrupted", "p005": "interrupted",
    }  # fmt: skip
    assert "--resume" in lines(out)[-1]["error"]
    page = (out / "index.html").read_text()
    assert (page.count(">interrupted<"), page.count(">done<"), 'http-equiv="refresh"' in page) == (2, 3, False)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*_mask.png")}
    looked_at.clear()
    assert main(words(tmp_path / "in", out, weights, "--resume")) == EXIT_SOME_NOT_DONE
    assert looked_at == ["p003", "p004", "p005"], "what was refused is asked again: it may have been mended"
    assert "3 of them done by an earlier call" in capsys.readouterr().out
    assert sorted(Path(line["input"]).stem for line in lines(out)) == [f"p{number:03d}" for number in range(6)]
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*_mask.png")}
    assert before.items() < after.items()


def test_what_was_computed_before_an_interruption_is_written(tmp_path, weights, monkeypatch):
    """A picture is written while the next one is computed."""
    draw(tmp_path / "in", 3)
    out = tmp_path / "out"
    compute, write = pipelines.prediction.Model.compute, CaseWriter.write
    written = threading.Event()

    def late(self, finding):
        assert written.wait(20), "the next picture is not computed meanwhile"
        return write(self, finding)

    def stopped(self, prepared, progress=None):
        if prepared.item["case"] == "p001":
            written.set()
            raise KeyboardInterrupt
        return compute(self, prepared, progress)

    monkeypatch.setattr(pipelines.prediction.Model, "compute", stopped)
    monkeypatch.setattr(CaseWriter, "write", late)
    assert main(words(tmp_path / "in", out, weights)) == 130
    status = {Path(line["input"]).stem: line["status"] for line in lines(out)}
    assert status == {"p000": "done", "p001": "interrupted", "p002": "interrupted"}
    assert (out / "p000_mask.png").is_file()


@pytest.mark.parametrize("change", ["nothing", "input", "weights", "options", "mask is gone", "cut off", "no manifest"])
def test_only_what_still_holds_is_left_out(tmp_path, weights, looked_at, change):
    draw(tmp_path / "in", 3)
    out = tmp_path / "out"
    assert main(words(tmp_path / "in", out, weights)) == 0
    more = ["--resume"]
    if change == "input":
        draw(tmp_path / "other", 2)
        (tmp_path / "other" / "p001.png").replace(tmp_path / "in" / "p000.png")
    elif change == "weights":
        weights = tmp_path / "other.safetensors"
        save_weights(TinyUNet(), weights)
    elif change == "options":
        more += ["--overlay", "severity"]
    elif change == "mask is gone":
        (out / "p001_mask.png").unlink()
    elif change == "cut off":  # as where the disk was full, or the power went
        text = (out / "manifest.jsonl").read_text()
        (out / "manifest.jsonl").write_text(text[:-40])
        (out / ".writing-abc").mkdir()
    elif change == "no manifest":
        (out / "manifest.jsonl").unlink()
    looked_at.clear()
    assert main(words(tmp_path / "in", out, weights, *more)) == 0
    assert looked_at == {
        "nothing": [],
        "input": ["p000"],
        "mask is gone": ["p001"],
        "cut off": ["p002"],
    }.get(change, ["p000", "p001", "p002"])
    assert sorted(Path(line["input"]).stem for line in lines(out)) == ["p000", "p001", "p002"]
    assert not list(out.glob(".writing-*"))
    assert (out / "index.html").read_text().count(">done<") == 3


def test_without_resume_everything_is_done_again(tmp_path, weights, looked_at):
    draw(tmp_path / "in", 2)
    for _ in range(2):
        assert main(words(tmp_path / "in", tmp_path / "out", weights)) == 0
    assert looked_at == ["p000", "p001"] * 2


def test_the_page_shows_names_as_text_and_links_that_hold_when_moved(tmp_path, weights):
    draw(tmp_path / "in", 2)
    evil = '<img src=x onerror="alert(1)">#1 ü%.png'
    (tmp_path / "in" / "p000.png").rename(tmp_path / "in" / evil)
    (tmp_path / "in" / "deep").mkdir()
    (tmp_path / "in" / "p001.png").rename(tmp_path / "in" / "deep" / "p001.png")
    (tmp_path / "in" / "bad<b>.png").write_bytes(b"")
    assert main(words(tmp_path / "in", tmp_path / "out", weights)) == EXIT_SOME_NOT_DONE
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<img src=x" not in page
    assert "bad<b>" not in page
    assert "<script" not in page
    assert str(tmp_path / "out") not in page, "or a copy of the folder would not work"
    from html.parser import HTMLParser
    from urllib.parse import unquote

    targets: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs):
            targets.extend(value for key, value in attrs if key in ("src", "href") and not value.startswith("data:"))

    Links().feed(page)
    assert len(targets) >= 2 * 5
    assert all((tmp_path / "out" / unquote(each)).is_file() for each in targets)


def test_a_volume_tells_its_slices(tmp_path, weights, monkeypatch):
    import nibabel as nib

    phantom = make_lung_phantom(0, size=48, slices=9)
    nib.save(nib.Nifti1Image(phantom.array.astype(np.int16), phantom.affine), tmp_path / "scan.nii.gz")
    seen: list[tuple[str, int, int]] = []
    pipelines.prediction.predict(
        Path("bundles") / BUNDLE if Path("bundles").is_dir() else BUNDLE,
        tmp_path / "scan.nii.gz",
        tmp_path / "out",
        network="tiny_unet",
        checkpoint=str(weights),
        progress=lambda *each: seen.append(each),
    )
    told = [done for _, done, _ in seen]
    assert told == sorted(told)
    assert told[-1] == 9
    assert len(set(told)) > 2, "what is done of a group of slices is told too"
    assert {(name, total) for name, _, total in seen} == {("scan", 9)}


@pytest.mark.thorough
@pytest.mark.slow
def test_three_hundred_pictures_through_two_kills(tmp_path, weights, warm: WarmPython):
    """Progress from the first second; SIGINT, then SIGKILL; the third call completes, each case once."""
    draw(tmp_path / "in", 300)
    for bad in (100, 200):
        (tmp_path / "in" / f"p{bad}.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    command = [warm.python, "-m", "pipelines", *words(tmp_path / "in", out, weights, "--resume")]
    for number in (signal.SIGINT, signal.SIGKILL):
        begun = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            assert running.stdout is not None
            assert running.stdout.readline().startswith("looking at ")
            assert time.monotonic() - begun < 20
            told = 0
            for line in running.stdout:
                told += line.startswith(("done: ", "refused: "))
                if told == 60:
                    running.send_signal(number)
                    break
            running.communicate(timeout=60)
        assert running.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
        known = read_outcomes(out)
        done = [each for each in known.values() if each.status == "done"]
        assert len(done) >= 58
        assert (out / "index.html").is_file()
        assert (len(known) == 300) == (number == signal.SIGINT), "who is killed cannot say what is left"
    final = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert final.returncode == EXIT_SOME_NOT_DONE
    assert "298 of 300 cases done (298 done, 2 refused)" in final.stdout
    names = [Path(line["input"]).name for line in lines(out)]
    assert sorted(names) == sorted(path.name for path in (tmp_path / "in").iterdir())
    assert len(list(out.glob("*_mask.png"))) == 298
    assert final.stdout.count("\ndone: ") < 298 - 2 * 55, "what was done is not done again"


def test_a_full_disk_is_said_and_the_call_goes_on_later(tmp_path, weights, monkeypatch, capsys):
    draw(tmp_path / "in", 3)
    out = tmp_path / "out"
    add = pipelines.prediction.folder.Manifest.add

    class Full:
        def __init__(self, file) -> None:
            self.file = file

        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

        def __getattr__(self, name: str):
            return getattr(self.file, name)

    def full(self, outcome):
        if outcome.case == "p001":
            self._file = Full(self._file)
        return add(self, outcome)

    with monkeypatch.context() as patched:
        patched.setattr(pipelines.prediction.folder.Manifest, "add", full)
        assert main(words(tmp_path / "in", out, weights)) == 19
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "--resume" in said
    assert "Traceback" not in said
    assert main(words(tmp_path / "in", out, weights, "--resume")) == 0
    assert [Path(line["input"]).stem for line in lines(out)] == ["p000", "p001", "p002"]


def test_another_input_keeps_the_lines_of_the_first(tmp_path, weights, looked_at, monkeypatch):
    draw(tmp_path / "in", 3)
    out = tmp_path / "out"
    assert main(words(tmp_path / "in", out, weights)) == 0
    looked_at.clear()
    assert main(words(tmp_path / "in" / "p001.png", out, weights, "--resume")) == 0
    assert sorted(Path(line["input"]).stem for line in lines(out)) == ["p000", "p001", "p002"]
    monkeypatch.chdir(tmp_path)
    assert main(words(Path("in"), out, weights, "--resume")) == 0, "however the path is typed"
    assert looked_at == []
    assert (out / "index.html").read_text().count(">done<") == 3


def test_two_calls_do_not_write_into_one_folder(tmp_path, weights, capsys):
    draw(tmp_path / "in", 1)
    out = tmp_path / "out"
    manifest = pipelines.prediction.folder.Manifest(out)
    (out / ".writing-other").mkdir()
    assert main(words(tmp_path / "in", out, weights)) == OutputError.exit_code
    assert "another call is writing here" in capsys.readouterr().err
    assert (out / ".writing-other").is_dir(), "what the other one writes stays"
    manifest.close()
    assert main(words(tmp_path / "in", out, weights)) == 0
    assert not (out / ".writing-other").exists()


def test_voxels_beside_a_header_count(tmp_path, weights, looked_at):
    import itk

    folder = tmp_path / "in"
    folder.mkdir()
    phantom = make_lung_phantom(0, size=48, slices=9)
    image = itk.image_from_array(np.ascontiguousarray(phantom.array.astype(np.int16).T))
    image.SetSpacing([7.0, 7.0, 30.0])
    itk.imwrite(image, str(folder / "scan.mhd"))
    (folder / "scan.raw").rename(folder / "voxels.raw")
    header = folder / "scan.mhd"
    header.write_text(header.read_text().replace("scan.raw", "voxels.raw"))
    out = tmp_path / "out"
    main(words(header, out, weights))
    (folder / "voxels.raw").write_bytes((folder / "voxels.raw").read_bytes()[::-1])
    looked_at.clear()
    main(words(header, out, weights, "--resume"))
    assert looked_at == ["scan"]


@pytest.mark.parametrize("line", ['{"input": "x", "status": "done", "mask": 7}', '{"input": ["x"]}', "[]", "7", '""'])
def test_garbage_in_a_manifest_is_passed_over(tmp_path, weights, line):
    draw(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_text(line + "\n")
    assert main(words(tmp_path / "in", tmp_path / "out", weights, "--resume")) == 0
    assert len(lines(tmp_path / "out")) == 1


def test_a_thumbnail_takes_no_results_place(tmp_path, weights):
    draw(tmp_path / "in", 2)
    (tmp_path / "in" / "thumbnails").mkdir()
    (tmp_path / "in" / "p000.png").rename(tmp_path / "in" / "thumbnails" / "x.png")
    (tmp_path / "in" / "p001.png").rename(tmp_path / "in" / "x_mask.png")
    assert main(words(tmp_path / "in", tmp_path / "out", weights)) == 0
    masks = {line["mask"] for line in lines(tmp_path / "out")}
    assert len(masks) == 2
    assert all(Image.open(mask).mode == "L" for mask in masks)


def test_a_full_disk_stops_and_does_not_compute_what_it_cannot_keep(tmp_path, weights, monkeypatch, looked_at, capsys):
    draw(tmp_path / "in", 4)
    write = pipelines.handlers.CaseWriter.write

    def full(self, finding):
        if finding.name == "p001":
            error = OSError(28, "No space left on device")
            raise OutputError("the prediction cannot be written (No space left on device)") from error
        return write(self, finding)

    with monkeypatch.context() as patched:
        patched.setattr(pipelines.handlers.CaseWriter, "write", full)
        assert main(words(tmp_path / "in", tmp_path / "out", weights)) == OutputError.exit_code
    assert looked_at == ["p000", "p001", "p002"], "the next one is computed while a picture is written, and no more"
    assert [line["status"] for line in lines(tmp_path / "out")] == ["done", "interrupted", "interrupted", "interrupted"]
    assert main(words(tmp_path / "in", tmp_path / "out", weights, "--resume")) == 0
