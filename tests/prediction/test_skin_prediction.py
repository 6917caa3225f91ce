"""``predict`` on colour pictures of skin lesions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.__main__ import main
from pipelines.commands.predict import EXIT_SOME_NOT_DONE
from pipelines.networks import MobileNetV2UNet
from pipelines.weights import save_weights


@pytest.fixture(scope="module")
def all_is_lesion(tmp_path_factory) -> Path:
    """A MobileNetV2UNet whose answer is known: nothing but the bias of its last layer counts, so all is lesion."""
    network = MobileNetV2UNet()
    with torch.no_grad():
        network.final.weight.zero_()
        network.final.bias.fill_(5.0)
    path = tmp_path_factory.mktemp("skin") / "all.safetensors"
    save_weights(network, path)
    return path


def test_skin_lesions_in_a_folder_of_pictures(project, tmp_path, all_is_lesion):
    """A JPEG stored on its side, a grey PNG, and one that is cut off: two are done, one is refused by name."""
    folder = tmp_path / "in"
    folder.mkdir()
    seen = np.random.default_rng(0).integers(90, 200, (60, 100, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(seen).transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(seen[..., 0]).save(folder / "grey.png")
    (folder / "cut.jpg").write_bytes((folder / "turned.jpg").read_bytes()[:900])
    words = [
        "predict",
        str(project / "bundles" / "skin_lesion_segmentation"),
        str(folder),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*words, "--checkpoint", str(all_is_lesion), "--fast"]) == EXIT_SOME_NOT_DONE
    lines = [json.loads(each) for each in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    by_name = {Path(line["input"]).name: line for line in lines}
    assert {name: line["status"] for name, line in by_name.items()} == {
        "turned.jpg": "done", "grey.png": "done", "cut.jpg": "refused",
    }  # fmt: skip
    mask = Image.open(by_name["turned.jpg"]["mask"])
    assert mask.size == (100, 60)
    assert np.asarray(mask).all()
    report = json.loads(Path(by_name["turned.jpg"]["report"]).read_text())
    assert (report["area_px"], report["touches_border"]) == (6000, True)
    assert report["diameter_px"] == pytest.approx(np.hypot(100, 60), abs=0.1)


@pytest.mark.thorough
@pytest.mark.slow
def test_twelve_megapixels_fit_in_two_gibibytes(project, tmp_path, all_is_lesion):
    """In a process of its own: the peak of resident memory, libraries and all."""
    row = np.linspace(80, 220, 4288, dtype=np.uint8)
    seen = np.repeat(np.repeat(row[None, :, None], 2848, axis=0), 3, axis=2)
    exif = Image.Exif()
    exif[274] = 8
    Image.fromarray(seen).transpose(Image.Transpose.ROTATE_270).save(tmp_path / "large.jpg", exif=exif)
    words = ["predict", str(project / "bundles" / "skin_lesion_segmentation"), str(tmp_path / "large.jpg")]
    words += ["--out", str(tmp_path / "out"), "--checkpoint", str(all_is_lesion), "--unlike", "note"]
    code = f"import sys; from pipelines.__main__ import main; code = main({words!r}); "
    code += "print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0]); sys.exit(code)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=project, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert Image.open(tmp_path / "out" / "large_mask.png").size == (4288, 2848)
    peak = int(next(line for line in done.stdout.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**20
    assert peak < 2.0, f"{peak:.2f} GiB"


def test_names_that_are_no_utf8_and_earlier_results_stop_nothing(project, tmp_path, all_is_lesion):
    """The results lie below the input, are left out of the second run, and each is called after its picture."""
    folder = tmp_path / "in"
    folder.mkdir()
    seen = np.random.default_rng(0).integers(90, 200, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(seen).save(folder / "UPPER.JPG", "JPEG")
    (folder / os.fsdecode(b"bad\xff.jpg")).write_bytes((folder / "UPPER.JPG").read_bytes())
    words = [
        "predict",
        str(project / "bundles" / "skin_lesion_segmentation"),
        str(folder),
        "--out",
        str(folder / "out"),
    ]
    for _ in range(2):
        assert main([*words, "--checkpoint", str(all_is_lesion), "--fast", "--unlike", "note"]) == 0
        lines = [json.loads(each) for each in (folder / "out" / "manifest.jsonl").read_text().splitlines()]
        assert [line["status"] for line in lines] == ["done", "done"]
    assert (folder / "out" / "UPPER_mask.png").is_file()
    assert len(list((folder / "out").glob("*_report.json"))) == 2


def test_inputs_that_lie_below_the_output_folder_are_done(project, tmp_path, all_is_lesion):
    """Only an output folder within the source holds results that are no input."""
    folder = tmp_path / "in"
    folder.mkdir()
    seen = np.random.default_rng(0).integers(90, 200, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(seen).save(folder / "a.png")
    words = ["predict", str(project / "bundles" / "skin_lesion_segmentation"), str(folder), "--out", str(tmp_path)]
    assert main([*words, "--checkpoint", str(all_is_lesion), "--fast", "--unlike", "note"]) == 0
    assert (tmp_path / "a_mask.png").is_file()
