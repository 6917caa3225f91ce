"""``python -m pipelines predict`` of chest X-rays: the report, the overlay, and what bad input gets."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pipelines.runtimes.network as runtime_network
from pipelines.__main__ import main
from pipelines.commands.predict import EXIT_SOME_NOT_DONE
from pipelines.errors import (
    IntensityError,
    PipelinesError,
    UnreadableFileError,
    UnsupportedImageError,
    UsageError,
    WeightsError,
)
from pipelines.networks import ChestCNN, TransferClassifier, TwoViewClassifier
from pipelines.networks.lung_frame import LungFrame
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom
from pipelines.transforms import Calibration, OperatingPoint, calibration_path
from pipelines.weights import save_weights, weights_digest

NAMES = ["normal", "pneumonia"]
THRESHOLD = 0.65
TEMPERATURE = 2.0
PLANE = np.asarray(Image.fromarray(make_chest_xray_phantom(2, 120, pneumonia=True).picture).resize((120, 90)))


def weights(folder: Path, pneumonia: float) -> Path:
    """Random ones, but of the last layer: after the temperature, every picture has this probability of pneumonia."""
    torch.manual_seed(0)
    network = TwoViewClassifier()
    with torch.no_grad():
        for last in (layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)):  # of each view
            last.weight.mul_(1e-6)
            last.bias.copy_(torch.tensor([0.0, TEMPERATURE * np.log(pneumonia / (1 - pneumonia))]))
    path = folder / f"says_{pneumonia:g}.safetensors"
    save_weights(network, path)
    point = OperatingPoint("pneumonia", THRESHOLD, 0.95, 0.96, 0.9)
    about = Calibration(TEMPERATURE, 0.2, 0.1, 0.5, 0.4, 90, 4, weights_digest(path), NAMES, [], "", point)
    about.write(calibration_path(path))
    return path


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that give 0.85 for pneumonia."""
    return weights(tmp_path_factory.mktemp("weights"), 0.85)


def predict(project: Path, source: Path, out: Path, checkpoint: Path, *more: str) -> tuple[int, dict[str, dict]]:
    """The exit code, and the manifest's lines by the name of their input."""
    bundle = str(project / "bundles" / "chest_xray_pneumonia_classification")
    code = main(["predict", bundle, str(source), "--out", str(out), "--checkpoint", str(checkpoint), *more])
    manifest = out / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.is_file() else []
    return code, {Path(line["input"]).name: line for line in lines}


def said(line: dict) -> dict:
    return json.loads(Path(line["report"]).read_text())


@pytest.mark.parametrize(
    ("pneumonia", "name", "refer"),
    [(0.05, "normal", False), (0.45, "normal", True), (0.62, "normal", True), (0.7, "pneumonia", False)],
)
def test_the_class_follows_the_stored_threshold_and_refer_the_probability_of_what_is_said(
    project: Path, tmp_path: Path, pneumonia: float, name: str, refer: bool
) -> None:
    Image.fromarray(PLANE).save(tmp_path / "a.png")
    code, lines = predict(project, tmp_path / "a.png", tmp_path / "out", weights(tmp_path, pneumonia))
    assert (code, lines["a.png"]["status"], lines["a.png"]["mask"]) == (0, "done", None)
    report = said(lines["a.png"])
    assert report["probabilities"] == pytest.approx({"normal": 1 - pneumonia, "pneumonia": pneumonia}, abs=1e-3)
    assert sum(report["probabilities"].values()) == pytest.approx(1, abs=2e-6)
    assert (report["class"], report["refer"]) == (name, refer)
    assert report["operating_point"]["threshold"] == THRESHOLD
    assert report["temperature"] == TEMPERATURE
    assert (report["network"], report["weights"]) == ("two_views", f"says_{pneumonia:g}.safetensors")


def test_the_overlay_is_the_picture_twice(project: Path, tmp_path: Path, sure: Path) -> None:
    Image.fromarray(PLANE).save(tmp_path / "a.png")
    _, lines = predict(project, tmp_path / "a.png", tmp_path / "out", sure)
    assert said(lines["a.png"])["size_px"] == {"width": 120, "height": 90}
    overlay = Image.open(tmp_path / "out" / "a_overlay.png")
    assert (overlay.mode, overlay.size) == ("RGB", (240, 90))
    drawn = np.asarray(overlay)
    np.testing.assert_array_equal(drawn[:, :120], np.repeat(PLANE[:, :, None], 3, axis=2))
    assert (drawn[:, 120:] != drawn[:, :120]).any(), "nothing is shown of where the network looked"


def test_a_picture_is_looked_at_once(
    project: Path, tmp_path: Path, sure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lungs, its class and what is drawn of it come from one pass of the network."""
    (tmp_path / "in").mkdir()
    for number in range(4):
        Image.fromarray(np.roll(PLANE, number, axis=1)).save(tmp_path / "in" / f"{number}.png")
    looked: list[str] = []
    for kind, name in ((TransferClassifier, "features"), (LungFrame, "lungs")):
        inner = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda self, x, _i=inner, _n=name: looked.append(_n) or _i(self, x))
    code, lines = predict(project, tmp_path / "in", tmp_path / "out", sure)
    assert (code, len(lines)) == (0, 4)
    assert all(said(line)["lungs_frame_px"] for line in lines.values()), (
        "the lung network's weights are the shipped ones"
    )
    # two views of each picture, and two passes for whether the head is linear, which is asked once
    assert (looked.count("features"), looked.count("lungs")) == (4 * 2 + 2, 4)
    assert all((tmp_path / "out" / f"{number}_overlay.png").is_file() for number in range(4))


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_a_folder_makes_one_graph_of_its_network(
    project: Path, tmp_path: Path, sure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.fromarray(np.roll(PLANE, number, axis=1)).save(tmp_path / "in" / f"{number}.png")
    made: list[tuple[str, ...]] = []
    inner = runtime_network.onnx_of
    monkeypatch.setattr(
        runtime_network, "onnx_of", lambda *given, outputs: made.append(outputs) or inner(*given, outputs=outputs)
    )
    monkeypatch.setattr(runtime_network, "ITEMS", 2)  # pictures for which a runtime is chosen
    monkeypatch.setattr(runtime_network, "cache_folder", lambda: tmp_path / "runtimes")
    code, _ = predict(project, tmp_path / "in", tmp_path / "out", sure)
    assert (code, made) == (0, [("pred", "classifier.encoder.0", "frame.network")])


def test_another_network_by_its_name(project: Path, tmp_path: Path) -> None:
    Image.fromarray(PLANE).save(tmp_path / "a.png")
    save_weights(ChestCNN(as_two_classes=True), tmp_path / "w.safetensors")
    code, lines = predict(
        project, tmp_path / "a.png", tmp_path / "out", tmp_path / "w.safetensors", "--network", "chest_cnn", "--fast"
    )
    assert code == 0
    report = said(lines["a.png"])
    assert report["network"] == "chest_cnn"
    assert report["operating_point"] is None
    assert report["class"] == max(report["probabilities"], key=report["probabilities"].get)


def test_every_way_to_store_a_picture_gets_the_same_answer(project: Path, tmp_path: Path) -> None:
    """Weights with an answer that depends on the picture: what reaches the network must be the same."""
    folder = tmp_path / "in"
    folder.mkdir()
    exif = Image.Exif()
    exif[274] = 8
    Image.fromarray(PLANE).save(folder / "plain.png")
    Image.fromarray(np.ascontiguousarray(np.rot90(PLANE, -1))).save(folder / "turned.png", exif=exif)
    Image.fromarray(PLANE.astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray((PLANE / 255).astype(np.float32)).save(folder / "fractions.tif")
    for mode in ("RGBA", "P"):
        Image.fromarray(PLANE).convert(mode).save(folder / f"{mode}.png")
    Image.fromarray(PLANE).convert("CMYK").save(folder / "CMYK.tif")
    torch.manual_seed(1)
    network = TwoViewClassifier()
    with torch.no_grad():
        [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)][-1].weight.mul_(50)
    save_weights(network, tmp_path / "w.safetensors")
    code, lines = predict(project, folder, tmp_path / "out", tmp_path / "w.safetensors")
    assert code == 0
    reports = {name: said(line) for name, line in lines.items()}
    assert len(reports) == 7
    plain = reports.pop("plain.png")
    assert plain["notes"] == []
    for name, report in reports.items():
        assert report["probabilities"] == pytest.approx(plain["probabilities"], abs=1e-4), name
        assert (report["size_px"], bool(report["notes"])) == (plain["size_px"], True), name


BAD = {
    "negative.png": (lambda path: Image.fromarray(255 - PLANE).save(path), IntensityError, "looks like a negative"),
    "mask.png": (
        lambda path: Image.fromarray((PLANE > 99).astype(np.uint8)).save(path),
        IntensityError,
        "0 or 1 and nothing else",
    ),
    "black.png": (lambda path: Image.fromarray(PLANE * 0).save(path), IntensityError, "every pixel has the value 0"),
    "twelve_bits.png": (
        lambda path: Image.fromarray(PLANE.astype(np.uint16) * 16).save(path),
        IntensityError,
        "16-bit picture",
    ),
    "clear.png": (
        lambda path: Image.fromarray(np.dstack([PLANE] * 4)).save(path),
        UnsupportedImageError,
        "transparent",
    ),
    "colour.jpg": (
        lambda path: Image.fromarray(np.dstack([PLANE, PLANE // 2, PLANE // 3])).save(path),
        UnsupportedImageError,
        "in colour",
    ),
    "pixel.png": (lambda path: Image.fromarray(PLANE[:1, :1]).save(path), UnsupportedImageError, "too small"),
    "film.dcm": (lambda path: path.write_bytes(bytes(128) + b"DICM"), UnreadableFileError, ""),
    "cut.jpg": (
        lambda path: (Image.fromarray(PLANE).save(path), path.write_bytes(path.read_bytes()[:900])),
        UnreadableFileError,
        "truncated",
    ),
    "empty.png": (lambda path: path.touch(), UnreadableFileError, "empty"),
    "text.png": (lambda path: path.write_text("no picture"), UnreadableFileError, "is not a PNG"),
}


def test_a_folder_goes_on_past_every_bad_picture(
    project: Path, tmp_path: Path, sure: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    for place in (folder, folder / "deeper"):
        place.mkdir()
        Image.fromarray(PLANE).save(place / "same.png")
    Image.fromarray(PLANE).save(folder / "same.jpeg")
    for name, (make, _, _) in BAD.items():
        home = folder / "series" if name == "film.dcm" else folder  # DICOM files make their folder one case
        home.mkdir(exist_ok=True)
        make(home / name)
    code, _ = predict(project, folder, tmp_path / "out", sure)
    assert code == EXIT_SOME_NOT_DONE
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    done = [line for line in lines if line["status"] == "done"]
    assert len(done) == len({line["report"] for line in done}) == 3
    refused = {Path(line["input"]).name: line for line in lines if line["status"] == "refused"}
    assert len(refused) == len(lines) - 3 == len(BAD)
    for name, (_, _, words) in BAD.items():
        line = refused["series" if name == "film.dcm" else name]
        assert words in line["error"], name
        assert (line["mask"], line["report"]) == (None, None)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*_report.json")) == [
        "same.jpeg_report.json", "same.png_report.json", "same_report.json",
    ]  # fmt: skip
    printed = capsys.readouterr()
    assert f"3 of {3 + len(BAD)} cases done" in printed.out
    assert printed.err.count("refused: ") == len(BAD)
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("name", BAD)
def test_one_bad_picture_gives_the_exit_code_of_its_kind(
    project: Path, tmp_path: Path, sure: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, kind, words = BAD[name]
    make(tmp_path / name)
    code, lines = predict(project, tmp_path / name, tmp_path / "out", sure)
    assert issubclass(kind, PipelinesError)
    assert code == kind.exit_code
    message = capsys.readouterr().err
    assert (message.count("\n"), "Traceback" in message) == (1, False)
    assert name in message
    assert words in message
    assert lines[name]["status"] == "refused"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"manifest.jsonl", "index.html"}


def test_a_picture_on_its_side_is_refused_or_where_that_is_asked_referred(
    project: Path, tmp_path: Path, sure: Path
) -> None:
    Image.fromarray(np.ascontiguousarray(np.rot90(PLANE))).save(tmp_path / "a.png")
    assert predict(project, tmp_path / "a.png", tmp_path / "no", sure)[0] == UnsupportedImageError.exit_code
    code, lines = predict(project, tmp_path / "a.png", tmp_path / "out", sure, "--unlike", "note")
    report = said(lines["a.png"])
    assert (code, report["class"], report["refer"]) == (0, "pneumonia", True)
    assert "does not look like an upright frontal chest X-ray" in report["reason"]
    assert "unlike the images of the training" in report["reason"]


def test_faults_of_the_weights(project: Path, tmp_path: Path, sure: Path) -> None:
    Image.fromarray(PLANE).save(tmp_path / "a.png")
    out = tmp_path / "out"
    assert predict(project, tmp_path / "a.png", out, tmp_path / "none.pt")[0] == UnreadableFileError.exit_code
    assert predict(project, tmp_path / "a.png", out, sure, "--network", "chest_cnn")[0] == WeightsError.exit_code
    assert predict(project, tmp_path / "a.png", out, sure, "--network", "nope")[0] == UsageError.exit_code
    other = weights(tmp_path, 0.3)
    calibration_path(other).write_text(calibration_path(sure).read_text())
    assert predict(project, tmp_path / "a.png", out, other)[0] == WeightsError.exit_code
    assert not out.exists()


@pytest.mark.slow
def test_an_xray_of_twelve_megapixels_fits_in_two_gibibytes(project: Path, tmp_path: Path, sure: Path) -> None:
    """In a process of its own: the peak of resident memory, libraries and all."""
    Image.fromarray(PLANE).resize((4000, 3000)).save(tmp_path / "large.jpg")
    words = ["predict", str(project / "bundles" / "chest_xray_pneumonia_classification"), str(tmp_path / "large.jpg")]
    words += ["--out", str(tmp_path / "out"), "--checkpoint", str(sure)]
    code = f"import sys; from pipelines.__main__ import main; code = main({words!r}); "
    code += "print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0]); sys.exit(code)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=project, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert Image.open(tmp_path / "out" / "large_overlay.png").size == (8000, 3000)
    peak = int(next(line for line in done.stdout.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**20
    assert peak < 2.0, f"{peak:.2f} GiB"
