"""``predict`` on CT pictures and 8-bit volumes in other windows than the lung's: refused by name, or placed."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from skimage.exposure import equalize_adapthist

from pipelines.__main__ import main
from pipelines.commands.predict import EXIT_SOME_NOT_DONE
from pipelines.errors import IntensityError
from pipelines.tasks.lung_ct.phantom import make_lung_phantom

WINDOWS = {"lung": (-1250, 250), "light": (-1400, 200), "wide": (-1024, 1500)}
WINDOWS |= {"mediastinal": (-160, 240), "bone": (-500, 1300)}
NETWORKS = {"covid_ct_lesion_segmentation": "tiny_unet", "covid_ct_severity_classification": "severity_shufflenet"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A healthy phantom as a picture and as an 8-bit volume in each window."""
    phantom = make_lung_phantom(3, size=128, slices=8, extent=0.0)
    made = tmp_path_factory.mktemp("windows")
    for name, (low, high) in WINDOWS.items():
        grey = np.rint(np.clip((phantom.array - float(low)) / (high - low), 0, 1) * 255).astype(np.uint8)
        Image.fromarray(grey[:, :, 4].T).save(made / f"{name}.png")
        nib.save(nib.Nifti1Image(grey, phantom.affine), made / f"{name}_volume.nii.gz")
    return made


@pytest.mark.parametrize("bundle", NETWORKS)
def test_each_window_gets_its_answer(project: Path, tmp_path: Path, folder: Path, bundle: str) -> None:
    words = ["predict", str(project / "bundles" / bundle), str(folder), "--out", str(tmp_path), "--fast"]
    assert main([*words, "--network", NETWORKS[bundle]]) == EXIT_SOME_NOT_DONE
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    found = {Path(line["input"]).name.split(".")[0]: line for line in lines}
    assert {name for name, line in found.items() if line["status"] == "done"} == {
        "lung", "lung_volume", "light", "light_volume", "wide", "wide_volume",
    }  # fmt: skip
    for name in ("mediastinal", "mediastinal_volume", "bone", "bone_volume"):
        assert found[name]["status"] == "refused"
        assert "lungs are black, as in a mediastinal" in found[name]["error"]
        assert "export the slice in a lung window" in found[name]["error"]
    for name in ("wide", "wide_volume", "light", "light_volume"):
        notes = json.loads(Path(found[name]["report"]).read_text())["notes"]
        assert any("until lungs are dark" in note or "wide window" in note for note in notes)
    assert not any("window" in note for note in json.loads(Path(found["lung"]["report"]).read_text())["notes"])


def test_a_single_refused_picture_has_the_code_of_its_kind(project: Path, tmp_path: Path, folder: Path) -> None:
    bundle = project / "bundles" / "covid_ct_lesion_segmentation"
    words = ["predict", str(bundle), str(folder / "mediastinal.png"), "--out", str(tmp_path), "--network", "tiny_unet"]
    assert main(words) == IntensityError.exit_code
    assert list(tmp_path.glob("*mask*")) == []


def test_a_wide_window_gets_nearly_the_mask_of_a_lung_window(project: Path, tmp_path: Path, folder: Path) -> None:
    bundle = project / "bundles" / "covid_ct_lesion_segmentation"
    masks = []
    for name in ("lung", "wide"):
        words = ["predict", str(bundle), str(folder / f"{name}.png"), "--out", str(tmp_path), "--network", "tiny_unet"]
        assert main(words) == 0
        masks.append(np.asarray(Image.open(tmp_path / f"{name}_mask.png")))
    assert (masks[0] == masks[1]).mean() > 0.9


def test_equalised_contrast_is_segmented_by_networks_that_know_it_and_negatives_are_refused(
    project: Path, tmp_path: Path
) -> None:
    phantom = make_lung_phantom(5, size=192, slices=8, extent=0.2)
    grey = np.clip((phantom.array[:, :, 4].T + 1000.0) / 1400, 0, 1)
    equalised = np.rint(255 * equalize_adapthist(grey, clip_limit=0.03)).astype(np.uint8)
    (tmp_path / "in").mkdir()
    for name, picture in {"equalised": equalised, "negative": 255 - equalised}.items():
        Image.fromarray(picture).save(tmp_path / "in" / f"{name}.png")
    bundle = project / "bundles" / "covid_ct_lesion_segmentation"
    answers = {}
    for network in ("encoder_unet", "tiny_unet"):
        out = tmp_path / network
        words = ["predict", str(bundle), str(tmp_path / "in"), "--out", str(out), "--fast", "--network", network]
        assert main(words) in (EXIT_SOME_NOT_DONE, IntensityError.exit_code)
        lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
        answers[network] = {Path(line["input"]).stem: line for line in lines}
    found = answers["encoder_unet"]
    assert found["equalised"]["status"] == "done", found["equalised"]["error"]
    report = json.loads(Path(found["equalised"]["report"]).read_text())
    assert any("contrast was equalised" in note for note in report["notes"])
    lung = np.asarray(Image.open(tmp_path / "encoder_unet" / "equalised_mask.png")) > 0
    truth = phantom.label[:, :, 4].T > 0
    assert 2 * (lung & truth).sum() / (lung.sum() + truth.sum()) > 0.85
    assert answers["tiny_unet"]["equalised"]["status"] == "refused"
    for each in answers.values():
        assert each["negative"]["status"] == "refused"
        assert "a negative" in each["negative"]["error"]
