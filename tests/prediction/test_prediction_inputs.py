"""``predict`` on what people's folders hold: every case has its line, and the exit code says whether all are done."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from pipelines.__main__ import main
from pipelines.commands.predict import EXIT_SOME_NOT_DONE
from pipelines.errors import OutputError, SeriesError, UnreadableFileError
from pipelines.networks import TinyUNet
from pipelines.preparation.cases import look_for_cases
from pipelines.readers.dicom_series import series_token
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.prepare import phantom_covid_ct
from pipelines.warm import WarmPython
from pipelines.weights import save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(TinyUNet(), path)
    return path


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    """A DICOM series of a phantom."""
    out = tmp_path_factory.mktemp("raw")
    phantom_covid_ct(out / "raw", cases=1, size=48, slices=7, raw=True, file_format="dicom")
    return next(path.parent for path in (out / "raw").rglob("*.dcm"))


def predict(project: Path, source: Path, out: Path, weights: Path, *more: str) -> tuple[int, dict[str, dict]]:
    words = ["predict", str(project / "bundles" / "covid_ct_lesion_segmentation"), str(source), "--out", str(out)]
    code = main([*words, "--network", "tiny_unet", "--fast", "--checkpoint", str(weights), *more])
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    return code, {line["input"].removeprefix(f"{source}/"): line for line in lines}


def test_each_case_has_its_line(project, tmp_path, weights, series):
    source = tmp_path / "scans"
    (source / "locked").mkdir(parents=True)
    shutil.copytree(series, source / "patient1")
    (source / "patient2").symlink_to(series)
    (source / "again").symlink_to(source / "patient1")
    shutil.make_archive(str(source / "p3"), "zip", series)
    (source / "p4.7z").write_bytes(b"7z")
    (source / "p5.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(400))
    phantom = make_lung_phantom(3, size=48, slices=7)
    nib.save(nib.Nifti1Image(phantom.array.astype(np.int16), np.eye(4)), source / "p6.nii.gz")
    code, lines = predict(project, source, tmp_path / "out", weights)
    assert code == EXIT_SOME_NOT_DONE
    assert {name: line["status"] for name, line in lines.items()} == {
        "patient1": "done",
        "patient2": "done",
        "again": "skipped",
        "p3.zip": "done",
        "p4.7z": "refused",
        "p5.heic": "refused",
        "p6.nii.gz": "done",
    }
    masks = [np.asarray(nib.load(lines[name]["mask"]).dataobj) for name in ("patient1", "patient2", "p3.zip")]
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])
    assert "unpack it" in lines["p4.7z"]["error"]
    report = json.loads(Path(lines["p6.nii.gz"]["report"]).read_text())
    assert any("identity" in note for note in report["notes"])
    assert any("outside the 0.3 to 12 L" in note for note in report["notes"]), "voxels of 1 mm³"
    assert report["largest_lesion_slice_axis"] == 2


def test_each_series_of_a_folder(project, tmp_path, weights, series, capsys):
    folder, uid = tmp_path / "both", generate_uid()
    shutil.copytree(series, folder)
    for path in list(folder.iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.ConvolutionKernel = uid, 7, "B70f"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(folder / f"b{path.name}")
    code, lines = predict(project, folder, tmp_path / "out", weights)
    assert code == 0
    assert {line["status"] for line in lines.values()} == {"done"}
    assert len({line["mask"] for line in lines.values()}) == 2
    code, lines = predict(project, folder, tmp_path / "one", weights, "--series", "7")
    assert (code, len(lines)) == (0, 1)
    assert next(iter(lines)).endswith(f"both::{series_token(uid)}")
    assert uid not in (tmp_path / "one" / "manifest.jsonl").read_text()
    assert (tmp_path / "one" / "both" / "series-7_mask.nii.gz").is_file()
    capsys.readouterr()
    words = ["predict", str(project / "bundles" / "covid_ct_lesion_segmentation"), str(folder), "--series", "99"]
    assert main([*words, "--out", str(tmp_path / "none")]) == SeriesError.exit_code
    said = capsys.readouterr().err
    assert "there is no series 99; choose one of" in said
    assert uid not in said


@pytest.mark.parametrize("fault", ["refused", "skipped"])
def test_one_case_that_is_not_done_gives_its_code(project, tmp_path, weights, fault):
    source = tmp_path / "scans"
    source.mkdir()
    if fault == "refused":
        (source / "p.rar").write_bytes(b"Rar!")
    else:
        (source / "loop").symlink_to(source)
    code, lines = predict(project, source, tmp_path / "out", weights)
    assert code not in (0, EXIT_SOME_NOT_DONE)
    assert [line["status"] for line in lines.values()] == [fault]


def test_a_folder_of_nothing_but_results_says_so(project, tmp_path, weights, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_overlay.png").write_bytes(b"x")
    words = ["predict", str(project / "bundles" / "covid_ct_lesion_segmentation"), str(tmp_path)]
    assert main([*words, "--out", str(tmp_path / "out")]) == UnreadableFileError.exit_code
    assert "results of an earlier call" in capsys.readouterr().err


def test_no_two_cases_share_a_name(tmp_path):
    """A whole name that one case takes may be the short name of another."""
    for names in (["s.png", "s.jpg", "s.png.jpg"], ["a.nii", "a.nii.gz", "a.nii.nii.gz"]):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(b"x")
        items, faults = look_for_cases(folder)
        assert (len(items), faults) == (3, [])
        assert len({item["case"] for item in items}) == 3


STOPPED = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
import pipelines.prediction, pipelines.promotion
from pipelines.__main__ import main
from pipelines.readers.dicom_series import series_token
from pipelines.readers import look_through

def predict(bundle, source, *args, **options):
    look_through(source)
    print("here", flush=True)
    time.sleep(60)

def fetch_checkpoint(uri, given, folder):
    (folder / "weights").touch()
    return folder / "weights"

pipelines.prediction.predict = predict
pipelines.promotion.fetch_checkpoint = fetch_checkpoint
sys.exit(main(["predict", *sys.argv[2:], "--checkpoint", "models:/some@champion"]))
"""


@pytest.mark.slow
def test_who_is_told_to_stop_leaves_no_scan_behind(warm: WarmPython, project: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as file:
        file.writestr("a.png", b"\x89PNG")
    bundle = str(project / "bundles" / "covid_ct_lesion_segmentation")
    words = [str(temporary), bundle, str(tmp_path / "scan.zip"), "--out", str(tmp_path / "out")]
    with subprocess.Popen([warm.python, "-c", STOPPED, *words], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert "here\n" in iter(running.stdout.readline, "")
        names = {each.name.partition("-")[0] for each in temporary.iterdir()}
        running.send_signal(signal.SIGTERM)
    assert names == {"unpacked", "registered"}
    assert running.returncode == 143
    assert not list(temporary.iterdir())


def test_results_do_not_become_inputs(project, tmp_path, weights, capsys):
    bundle = str(project / "bundles" / "covid_ct_lesion_segmentation")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"x")
    words = ["predict", bundle, str(tmp_path / "in"), "--out", str(tmp_path / "in"), "--network", "tiny_unet"]
    assert main([*words, "--checkpoint", str(weights)]) == OutputError.exit_code
    assert "among the inputs" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.png"]


@pytest.mark.parametrize("which", [0, 3, -1])
def test_a_slice_that_is_cut_off_in_its_header_is_not_left_out(tmp_path, series, which):
    """It says to which series it belongs no more: the rest would pass for the whole scan, or for a scan of its own."""
    shutil.copytree(series, tmp_path / "scan")
    path = sorted((tmp_path / "scan").iterdir())[which]
    path.write_bytes(path.read_bytes()[:700])
    items, faults = look_for_cases(tmp_path / "scan")
    assert items == []
    assert [path.name in str(each.fault) for each in faults] == [True]
