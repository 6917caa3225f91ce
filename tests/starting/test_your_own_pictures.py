"""docs/tutorial/your-own-pictures.md: its commands, as they stand there, from raw images to masks.

The trainings are short: each ``monai.bundle run`` of a ``train.yaml`` gets a few epochs more than nothing, and nothing
is fetched. A trained network is held against one of random weights, on the same test cases.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from pipelines.warm import WarmPython
from pipelines.weights import save_weights

SKIN = "skin_lesion_segmentation"


def commands(page: str, word: str) -> list[str]:
    """The commands of the blocks of a page that hold a word, a line each."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if word in line]


class Person:
    """Somebody in a folder with the shipped bundles, who types what a page says.

    Args:
        folder: to work in.
        project: where the bundles are.
        store, interpreter: of the runs, and of the commands.
        knobs: that each command of ``monai.bundle`` gets.
    """

    def __init__(self, folder: Path, project: Path, store: str, interpreter: str, knobs: dict[str, str]) -> None:
        self.folder = folder
        (folder / "bundles").mkdir(parents=True)
        (folder / "bundles" / SKIN).symlink_to(project / "bundles" / SKIN)
        self.interpreter, self.knobs = interpreter, knobs
        kept = {key: value for key, value in os.environ.items() if key != "PIPELINES_BUNDLES"}
        self.env = {**kept, "PYTHONPATH": str(project), "MLFLOW_TRACKING_URI": store, "OMP_NUM_THREADS": "1"}

    def types(self, line: str, **more: str) -> str:
        """Runs a line as it stands on the page; what it printed."""
        words = shlex.split(line)
        assert words[0] == "python", line
        if "monai.bundle" in words:
            words += [word for key, value in (self.knobs | more).items() for word in (f"--{key}", value)]
        done = subprocess.run(
            [self.interpreter, *words[1:]],
            cwd=self.folder, env=self.env, capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{(done.stdout + done.stderr)[-4000:]}"
        return done.stdout

    def untrained(self, name: str) -> Path:
        """A bundle's network as it begins, without any weights from elsewhere."""
        config = ConfigParser.load_config_file(str(self.folder / "bundles" / name / "configs" / "inference.yaml"))
        torch.manual_seed(0)
        path = self.folder / "untrained.safetensors"
        save_weights(ConfigParser(config).get_parsed_content("network_def"), path)
        return path


def dice(evaluation: Path, label: str) -> float:
    return json.loads((evaluation / "summary.json").read_text())[f"test_{label}_dice"]["estimate"]


@pytest.fixture
def page(project: Path) -> str:
    return (project / "docs" / "tutorial" / "your-own-pictures.md").read_text(encoding="utf-8")


def walk(person: Person, lines: list[str], name: str, network: str) -> dict[str, Path]:
    """Types the commands of a page; the evaluations of the trained network and of an untrained one."""
    evaluation = person.folder / "bundles" / name / "models" / network / "evaluation"
    folders = {"trained": evaluation, "untrained": person.folder / "untrained"}
    for line in lines:
        person.types(line)
        if "evaluate.yaml" in line:
            weights = str(person.untrained(name))
            person.types(line, checkpoint=weights, output_dir=str(folders["untrained"]))
    return folders


@pytest.mark.thorough
@pytest.mark.slow
def test_four_commands_from_pictures_to_masks(
    page: str, project: Path, shared_data: Path, new_store, warm: WarmPython, tmp_path: Path
) -> None:
    weights = shared_data.parent / "weights" / "mobilenet_v2_imagenet.pth"
    start = {"encoder_weights": str(weights) if weights.is_file() else "False"}
    person = Person(tmp_path / "work", project, new_store(tmp_path / "store"), warm.python, {"epochs": "6"} | start)
    (person.folder / "raw").mkdir()
    shutil.copytree(shared_data / "skin_lesions", person.folder / "raw" / "moles")
    lines = commands(page, "my_moles_segmentation")
    assert len(lines) == 4, lines
    folders = walk(person, lines, "my_moles_segmentation", "skips")
    assert dice(folders["trained"], "mole") > dice(folders["untrained"], "mole") + 0.3
    assert dice(folders["trained"], "mole") > 0.6
    pictures = sorted((person.folder / "raw" / "moles" / "images").iterdir())
    done = [json.loads(line) for line in (person.folder / "predictions" / "manifest.jsonl").read_text().splitlines()]
    assert [each["status"] for each in done] == ["done"] * len(pictures)
    for picture in pictures:
        mask = Image.open(person.folder / "predictions" / f"{picture.stem}_mask.png")
        assert mask.size == Image.open(picture).size
        assert set(np.unique(np.asarray(mask))) <= {0, 1}


@pytest.mark.thorough
@pytest.mark.slow
def test_volumes_by_a_network_in_three_dimensions(
    page: str, project: Path, new_store, warm: WarmPython, tmp_path: Path
) -> None:
    person = Person(tmp_path / "work", project, new_store(tmp_path / "store"), warm.python, {"epochs": "15"})
    lines = [line for line in commands(page, "") if "organ" in line or "raw/volumes" in line]
    assert len(lines) == 5, lines
    folders = walk(person, lines, "organ_segmentation", "small_unet")
    for label, gain in {"organ": 0.4, "lesion": 0.4}.items():
        assert dice(folders["trained"], label) > dice(folders["untrained"], label) + gain, label
    images = sorted((person.folder / "raw" / "volumes" / "images").iterdir())
    scores = []
    for path in images:
        name = path.name.removesuffix(".nii.gz")
        image, mask = nib.load(path), nib.load(person.folder / "predictions_of_volumes" / f"{name}_mask.nii.gz")
        assert mask.shape == image.shape
        np.testing.assert_array_equal(mask.affine, image.affine)
        true = np.asarray(nib.load(path.parents[1] / "masks" / path.name).dataobj) > 0
        found = np.asarray(mask.dataobj) > 0
        scores.append(2 * (true & found).sum() / (true.sum() + found.sum()))
    assert len({nib.aff2axcodes(nib.load(path).affine) for path in images}) > 3, "stored along various axes"
    assert min(scores) > 0.7, scores


@pytest.mark.slow
def test_classes_by_folder(page: str, project: Path, new_store, warm: WarmPython, tmp_path: Path) -> None:
    person = Person(
        tmp_path / "work", project, new_store(tmp_path / "store"), warm.python,
        {"epochs": "2", "encoder_weights": "False", "image_size": "[64,64]"},
    )  # fmt: skip
    lines = commands(page, "raw/cells")
    assert len(lines) == 2, lines
    said = [person.types(line) for line in lines][-1]
    following = [line.strip() for line in said.splitlines() if line.startswith("  python")]
    assert len(following) == 3, said
    for line in following[:2]:
        person.types(line)
    person.types(following[2].replace("IMAGES", "raw/cells/disc"))
    reports = list((person.folder / "predictions").glob("*_report.json"))
    assert len(reports) == 12
    for path in reports:
        report = json.loads(path.read_text())
        assert report["probabilities"].keys() == {"bar", "disc", "ring"}
