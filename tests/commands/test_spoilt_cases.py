"""Spoilt cases through ``predict``, as a user meets them, with every bundle that reads such a case: each has its line,
its fault and a way out, and leaves no file; a good one beside is done; alone one gives the exit code of its kind."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from spoilt_cases import CT, PICTURES, Spoilt

from pipelines.__main__ import main
from pipelines.commands.predict import EXIT_SOME_NOT_DONE
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom
from pipelines.tasks.dermoscopy.phantom import make_dermoscopy_phantom
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.prepare import phantom_covid_ct

READERS = {  # bundle: options of a quick answer, and what it reads
    "covid_ct_lesion_segmentation": (("--network", "tiny_unet", "--fast"), CT),
    "covid_ct_severity_classification": (("--fast",), CT),
    "chest_xray_pneumonia_classification": (("--network", "mobilenet_v2", "--fast"), PICTURES),
    "chest_xray_encoded_classification": (("--fast",), PICTURES),
    "skin_lesion_segmentation": (("--fast",), PICTURES),
}


@dataclass(frozen=True)
class Answered:
    """What one run of ``predict`` over a folder of spoilt cases, and a good one, left."""

    source: Path
    out: Path
    code: int
    said: str
    lines: dict[str, dict[str, Any]]


def predict(project: Path, bundle: str, source: Path, out: Path, *more: str) -> tuple[int, str]:
    words = ["predict", str(project / "bundles" / bundle), str(source), "--out", str(out), *READERS[bundle][0], *more]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main([*words, "--runtime", "eager"])
    return code, said.getvalue()


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of spoilt cases, each with a good one, by the first word of a bundle's name."""
    root = tmp_path_factory.mktemp("spoilt")
    phantom_covid_ct(root / "raw", cases=1, size=64, slices=7, raw=True, file_format="dicom")
    series = next(path.parent for path in (root / "raw").rglob("*.dcm"))
    volume = make_lung_phantom(3, size=64, slices=7)
    image = nib.Nifti1Image(volume.array.astype(np.int16), volume.affine)
    image.header.set_xyzt_units("mm")
    (root / "covid").mkdir()
    shutil.copytree(series, root / "covid" / "good")
    for name, each in CT.items():
        each.make(root / "covid" / name, image if ".nii" in name else series)
    pictures = {
        "chest": Image.fromarray(make_chest_xray_phantom(1, 256, pneumonia=False).picture),
        "skin": Image.fromarray(make_dermoscopy_phantom(1, 256, 200).picture),
    }
    for kind, picture in pictures.items():
        (root / kind).mkdir()
        picture.save(root / kind / "good.png")
        for name, each in PICTURES.items():
            each.make(root / kind / name, picture)
    return {each.name: each for each in root.iterdir() if each.name != "raw"}


@pytest.fixture(scope="module")
def answered(
    project: Path, spoilt: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Answered]:
    """What a bundle answers; each is asked once."""

    @functools.cache
    def ask(bundle: str) -> Answered:
        source, out = spoilt[bundle.partition("_")[0]], tmp_path_factory.mktemp("out") / "results"
        code, said = predict(project, bundle, source, out)
        lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
        by_name = {Path(line["input"]).relative_to(source).parts[0]: line for line in lines}
        return Answered(source, out, code, said, by_name)

    return ask


@pytest.mark.parametrize("bundle", READERS)
def test_the_good_case_is_done_and_the_exit_code_says_that_others_are_not(
    answered: Callable[[str], Answered], bundle: str
) -> None:
    found = answered(bundle)
    assert [name for name, line in found.lines.items() if line["status"] == "done"] in (["good"], ["good.png"])
    assert found.code == EXIT_SOME_NOT_DONE
    assert "Traceback" not in found.said


@pytest.mark.parametrize(
    ("bundle", "name"), [(bundle, name) for bundle, (_, cases) in READERS.items() for name in cases]
)
def test_a_spoilt_case_is_refused_by_name_and_leaves_nothing(
    answered: Callable[[str], Answered], bundle: str, name: str
) -> None:
    found, case = answered(bundle), READERS[bundle][1][name]
    line = found.lines[name]
    assert line["status"] in ("refused", "skipped"), line
    assert line["kind"] == case.kind.__name__, line["error"]
    assert re.search(case.words, line["error"], re.IGNORECASE), line["error"]
    assert name in line["error"], "the file is not named"
    assert "; " in line["error"], "no way out is said"
    assert not {"mask", "report", "overlay"} & {key for key, value in line.items() if value}
    assert [path.name for path in found.out.rglob("*") if path.name.startswith(name.partition(".")[0])] == []
    assert not (found.source.parent / "outside.dcm").exists()


ALONE = ["empty.nii.gz", "cut_pixels", "gap", "tilt", "another_modality", "nan.nii.gz", "constant.nii.gz"]


@pytest.mark.parametrize("name", ALONE)
def test_alone_it_gives_the_exit_code_of_its_kind(
    name: str, project: Path, spoilt: dict[str, Path], tmp_path: Path
) -> None:
    case: Spoilt = CT[name]
    code, said = predict(project, "covid_ct_lesion_segmentation", spoilt["covid"] / name, tmp_path / "out")
    assert code == case.kind.exit_code
    (refusal,) = [line for line in said.splitlines() if line.startswith("refused: ")]
    assert str(spoilt["covid"] / name) in refusal
    assert "Traceback" not in said
    assert not list((tmp_path / "out").rglob("*_mask*"))
