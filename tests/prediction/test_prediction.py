"""``python -m pipelines predict``: what comes out, for good input and bad."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from pipelines import prediction
from pipelines.__main__ import main
from pipelines.commands.predict import EXIT_SOME_NOT_DONE
from pipelines.errors import GeometryError, IntensityError, OutputError, UnreadableFileError, UsageError, WeightsError
from pipelines.networks import LesionUNet, SeverityShuffleNet, TinyUNet
from pipelines.prediction import inference_overlays
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.weights import save_weights


@pytest.fixture(scope="module")
def phantom():
    return make_lung_phantom(3, size=96, slices=8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A TinyUNet that calls dark pixels lung and everything else background: its answer is known."""
    network = TinyUNet()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        first = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
        up = next(module for module in network.modules() if isinstance(module, torch.nn.ConvTranspose2d))
        first[0].weight[0, 0, 1, 1] = 1.0  # channel 0 carries the grey value through
        for conv in first[1:-1]:
            conv.weight[0, 0, 1, 1] = 1.0
        up.weight[0, 0] = 1.0
        first[-1].weight[1, 0, 0, 0] = -20.0
        first[-1].bias[1] = 20 * 0.4  # lung where the value is below 0.4
        first[-1].bias[2] = -50.0
    path = tmp_path_factory.mktemp("weights") / "dark_is_lung.safetensors"
    save_weights(network, path)
    return path


def predict(project: Path, source: Path, out: Path, weights: Path, *more: str) -> tuple[int, list[dict]]:
    bundle = str(project / "bundles" / "covid_ct_lesion_segmentation")
    code = main(
        [
            "predict",
            bundle,
            str(source),
            "--out",
            str(out),
            "--network",
            "tiny_unet",
            "--checkpoint",
            str(weights),
            *more,
        ]
    )
    manifest = out / "manifest.jsonl"
    return code, [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.is_file() else []


def picture_of(phantom, z: int = 4) -> np.ndarray:
    """A slice as an upright 8-bit picture (rows, columns)."""
    return (scale_ct(phantom.array[:, :, z], "hu") * 255).astype(np.uint8).T


def test_picture(project, tmp_path, phantom, weights):
    grey = picture_of(phantom)[:77, :91]
    Image.fromarray(grey).save(tmp_path / "slice.png")
    code, lines = predict(project, tmp_path / "slice.png", tmp_path / "out", weights)
    assert code == 0
    keys = {"input", "status", "error", "kind", "mask", "report", "case", "input_sha256", "recipe", "files"}
    assert set(lines[0]) == keys
    assert lines[0]["files"] == {"overlay": str(tmp_path / "out" / "slice_overlay.png")}
    assert (lines[0]["status"], lines[0]["error"]) == ("done", None)
    mask = Image.open(lines[0]["mask"])
    assert (mask.mode, mask.size) == ("L", (91, 77))
    values = np.asarray(mask)
    assert set(np.unique(values)) == {0, 1}
    dark = grey < 0.4 * 255
    inside = np.s_[20:60, 20:70]  # away from the crop's edge
    agreement = (values[inside] == dark[inside]).mean()
    assert agreement > 0.85  # the network looks at half the resolution
    for mirrored in (dark[::-1], dark[:, ::-1], dark[::-1, ::-1]):
        assert (values[inside] == mirrored[inside]).mean() < agreement - 0.05
    report = json.loads(Path(lines[0]["report"]).read_text())
    assert report["lesion_ml"] is None
    assert report["lung_px"] == (values > 0).sum()
    assert (tmp_path / "out" / "slice_overlay.png").is_file()


def test_a_picture_with_exif_rotation_gets_a_mask_as_a_person_sees_it(project, tmp_path, phantom, weights):
    grey = picture_of(phantom)[:77, :91]
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: turn clockwise to see it
    Image.fromarray(np.rot90(grey)).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(grey).save(tmp_path / "upright.png")
    _, turned = predict(project, tmp_path / "turned.png", tmp_path / "a", weights)
    _, upright = predict(project, tmp_path / "upright.png", tmp_path / "b", weights)
    assert np.array_equal(*(np.asarray(Image.open(lines[0]["mask"])) for lines in (turned, upright)))


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR", "SAL"])
def test_volume_mask_lies_on_the_input(project, tmp_path, phantom, weights, axes):
    image = nib.Nifti1Image(phantom.array.astype(np.int16)[:, :89], phantom.affine)
    orientation = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    )
    turned = image.as_reoriented(orientation)
    nib.save(turned, tmp_path / "scan.nii.gz")
    code, lines = predict(project, tmp_path / "scan.nii.gz", tmp_path / "out", weights, "--fast")
    assert code == 0
    mask = nib.load(lines[0]["mask"])
    assert mask.shape == turned.shape
    assert np.allclose(mask.affine, turned.affine)
    assert mask.get_data_dtype() == np.uint8
    truth = scale_ct(np.asarray(turned.dataobj), "hu") < 0.4
    found = np.asarray(mask.dataobj) == 1
    assert (found & truth).sum() > 0.95 * found.sum() > 0  # only what is dark; the room's air is cropped away
    lungs = nib.Nifti1Image(phantom.lungs[:, :89].astype(np.uint8), phantom.affine).as_reoriented(orientation)
    dark_lung = truth & (np.asarray(lungs.dataobj) > 0)
    assert (found & dark_lung).sum() > 0.95 * dark_lung.sum()
    report = json.loads(Path(lines[0]["report"]).read_text())
    voxel_ml = abs(np.linalg.det(turned.affine[:3, :3])) / 1000
    assert report["lung_ml"] == pytest.approx(found.sum() * voxel_ml, rel=1e-3)


def test_the_severity_overlay_rates_by_the_mask(project, tmp_path, phantom, weights):
    nib.save(nib.Nifti1Image(phantom.array.astype(np.int16), phantom.affine), tmp_path / "scan.nii.gz")
    code, lines = predict(project, tmp_path / "scan.nii.gz", tmp_path / "out", weights, "--overlay", "severity")
    assert code == 0
    severity = json.loads(Path(lines[0]["report"]).read_text())["severity"]
    assert (severity["class"], severity["extent"]) == ("normal", 0), "these weights call nothing lesion"
    assert severity["interval"] == "2 standard deviations of 8 predictions, 35 % of the extent, and 2 points"
    assert set(lines[0]["files"]) == {"overlay", "page", "severity"}
    assert lines[0]["files"]["page"] == str(tmp_path / "out" / "scan_case_report.png")
    assert all(Path(each).is_file() for each in lines[0]["files"].values())
    page = (tmp_path / "out" / "index.html").read_text()
    assert all(f'href="scan_{name}"' in page for name in ("case_report.png", "severity.csv", "report.json"))
    assert (tmp_path / "out" / "severity.csv").read_text().count("\n") == 2
    code, lines = predict(
        project, tmp_path / "scan.nii.gz", tmp_path / "fast", weights, "--fast", "--overlay", "severity"
    )
    assert code == 0
    severity = json.loads(Path(lines[0]["report"]).read_text())["severity"]
    assert (severity["interval"], severity["borderline"]) == (None, None), "one prediction says nothing of its spread"
    for name in ("nope", "evaluate", "multi_gpu_train", "train"):
        assert predict(project, tmp_path / "scan.nii.gz", tmp_path / "no", weights, "--overlay", name)[0] == 2


def test_a_classifier_is_served_too(project, tmp_path, phantom, capsys):
    Image.fromarray(picture_of(phantom)).save(tmp_path / "slice.png")
    save_weights(SeverityShuffleNet(), tmp_path / "w.safetensors")
    words = ["predict", str(project / "bundles" / "covid_ct_severity_classification"), str(tmp_path / "slice.png")]
    words += ["--network", "severity_shufflenet", "--checkpoint", str(tmp_path / "w.safetensors"), "--fast"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    (line,) = [json.loads(each) for each in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert (line["status"], line["mask"]) == ("done", None)
    report = json.loads(Path(line["report"]).read_text())
    assert report["class"] in report["probabilities"]
    assert sum(report["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert isinstance(report["refer"], bool)
    assert line["report"] in capsys.readouterr().out


def test_a_network_without_shipped_weights_names_those_that_have_some(project, tmp_path, phantom, capsys):
    Image.fromarray(picture_of(phantom)).save(tmp_path / "slice.png")
    kept = shutil.ignore_patterns("lesion_unet.safetensors")
    bundle = shutil.copytree(project / "bundles" / "covid_ct_lesion_segmentation", tmp_path / "bundle", ignore=kept)
    words = ["predict", str(bundle), str(tmp_path / "slice.png"), "--out", str(tmp_path / "out")]
    assert main([*words, "--network", "lesion_unet"]) == UnreadableFileError.exit_code
    assert "choose --network basic_unet, encoder_unet or tiny_unet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_2d_nifti_gets_a_2d_mask(project, tmp_path, phantom, weights):
    nib.save(nib.Nifti1Image(phantom.array[:, :, 4].astype(np.int16), phantom.affine), tmp_path / "flat.nii")
    _, lines = predict(project, tmp_path / "flat.nii", tmp_path / "out", weights)
    assert nib.load(lines[0]["mask"]).shape == (96, 96)


def test_a_folder_of_many_goes_on_past_the_bad_ones(project, tmp_path, phantom, weights, capsys):
    source = tmp_path / "scans"
    (source / "deeper").mkdir(parents=True)
    Image.fromarray(picture_of(phantom)).save(source / "same.png")
    Image.fromarray(picture_of(phantom)).save(source / "same.jpg")
    Image.fromarray(picture_of(phantom)).save(source / "deeper" / "b.png")
    (source / "empty.png").touch()
    nib.save(nib.Nifti1Image(np.full((40, 40, 3), 7, np.int16), np.eye(4)), source / "constant.nii.gz")
    code, lines = predict(project, source, tmp_path / "out", weights)
    assert code == EXIT_SOME_NOT_DONE
    by_name = {Path(line["input"]).relative_to(source).as_posix(): line for line in lines}
    status = {name: line["status"] for name, line in by_name.items()}
    assert status == {
        "same.png": "done",
        "same.jpg": "done",
        "deeper/b.png": "done",
        "empty.png": "refused",
        "constant.nii.gz": "refused",
    }
    assert "empty" in by_name["empty.png"]["error"]
    assert by_name["empty.png"]["mask"] is by_name["empty.png"]["report"] is None
    masks = {line["mask"] for line in lines if line["status"] == "done"}
    assert len(masks) == 3
    assert all(Path(mask).is_file() for mask in masks)
    left = [path.name for path in (tmp_path / "out").rglob("*") if "empty" in path.name or path.name.startswith(".")]
    assert left == [".thumbnails"]
    assert "3 of 5 cases done" in capsys.readouterr().out


def test_each_case_is_told_before_the_next_is_begun(project, tmp_path, phantom, weights, monkeypatch):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.png").touch()  # empty: refused
    for name in ("b", "c"):
        Image.fromarray(picture_of(phantom)).save(source / f"{name}.png")
    seen = []

    class Screen(io.StringIO):
        def flush(self):
            """What can be read by now, and which masks are there by then."""
            seen.append((self.getvalue().count("done:"), sorted(path.name for path in out.glob("*_mask.png"))))

    monkeypatch.setattr(sys, "stdout", Screen())
    code, _ = predict(project, source, out, weights)
    assert code == EXIT_SOME_NOT_DONE
    seen = [each for each in seen if each[0]]
    assert seen[:2] == [(1, ["b_mask.png"]), (2, ["b_mask.png", "c_mask.png"])]
    assert "\r" not in sys.stdout.getvalue()

    told = []
    bundle, again = project / "bundles" / "covid_ct_lesion_segmentation", tmp_path / "again"

    def report(outcome, done, total):
        told.append((outcome, done, total, len(list(again.glob("*_mask.png")))))

    outcomes = prediction.predict(
        bundle, source, again, network="tiny_unet", checkpoint=str(weights), report=report, flips=False, scales=[1.0]
    )
    assert [what[1:] for what in told] == [(0, 3, 0), (1, 3, 0), (2, 3, 1), (3, 3, 2)]
    assert [what[0] for what in told] == [None, *(outcome for outcome, _ in outcomes)]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: (path / "x.png").write_text("no picture"), UnreadableFileError),
        (
            lambda path: nib.save(nib.Nifti1Image(np.zeros((40, 40, 3), np.int16), np.eye(4)), path / "x.nii"),
            IntensityError,
        ),
        (
            lambda path: nib.save(
                nib.Nifti1Image(np.random.default_rng(0).integers(-1000, 200, (40, 40, 3)).astype(np.int16), None),
                path / "x.nii",
            ),
            GeometryError,
        ),
        (lambda path: None, UnreadableFileError),
    ],
    ids=["text", "constant", "no orientation", "nothing"],
)
def test_one_bad_input_gives_its_exit_code_and_writes_nothing(project, tmp_path, weights, make, error, capsys):
    source = tmp_path / "in"
    source.mkdir()
    make(source)
    code, lines = predict(project, source, tmp_path / "out", weights)
    assert code == error.exit_code
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert message.strip()
    assert not lines or lines[0]["status"] == "refused"
    written = {path.name for path in (tmp_path / "out").rglob("*")} if (tmp_path / "out").exists() else set()
    assert written <= {"manifest.jsonl", "index.html"}


def test_faults_of_the_call_itself(project, tmp_path, phantom, weights, capsys):
    Image.fromarray(picture_of(phantom)).save(tmp_path / "slice.png")
    other = tmp_path / "other.safetensors"
    save_weights(LesionUNet(), other)
    assert predict(project, tmp_path / "slice.png", tmp_path / "out", other)[0] == WeightsError.exit_code
    assert (
        predict(project, tmp_path / "slice.png", tmp_path / "out", tmp_path / "none.pt")[0]
        == UnreadableFileError.exit_code
    )
    assert predict(project, tmp_path / "slice.png", tmp_path / "slice.png", weights)[0] == OutputError.exit_code
    assert main(["predict", "no_such_bundle", str(tmp_path), "--out", str(tmp_path / "out")]) == UsageError.exit_code
    bundle = str(project / "bundles" / "covid_ct_lesion_segmentation")
    assert main(["predict", bundle, str(tmp_path), "--out", "x", "--network", "nope"]) == UsageError.exit_code
    assert "choose from basic_unet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_overlays_of_training_are_none_of_inference(project):
    assert set(inference_overlays(project / "bundles" / "skin_lesion_segmentation")) == {"dicom"}
    assert set(inference_overlays(project / "bundles" / "covid_ct_lesion_segmentation")) == {"dicom", "severity"}
