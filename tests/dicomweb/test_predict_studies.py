"""``predict --dicomweb``: a study to results, and back where that is asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_inputs import write_series, write_xray
from identifiers import SPOKEN, tag, told
from measured_weights import measured
from served_studies import Served

from pipelines.__main__ import main
from pipelines.errors import ServerError, UnsupportedImageError
from pipelines.predicted import INPUTS
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom

BUNDLE = "covid_ct_lesion_segmentation"


SHAPE = (96, 96, 3)  # in which the network finds something


def words(served: Served, out: Path, *studies: str) -> list[str]:
    asked = [word for study in studies for word in ("--study", study)]
    fixed = ["--network", "tiny_unet", "--fast"]
    return ["predict", BUNDLE, "--dicomweb", served.url, "--out", str(out), *asked, *fixed]


def umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_a_server_is_written_to_only_where_that_is_asked(served: Served, tmp_path, capsys) -> None:
    study, out = served.add(*write_series(tmp_path / "ct", SHAPE).iterdir()), tmp_path / "out"
    assert main(words(served, out, study)) == 0
    assert served.posts() == []
    (line,) = lines(out)
    assert line["files"].keys() >= {"seg", "sr", "preview"}
    assert not (out / ".fetched").exists()
    assert out.stat().st_mode & 0o777 == 0o777 & ~umask()
    said = capsys.readouterr()
    assert "Änne" not in said.out + said.err
    assert "patient-1" not in said.out + said.err

    assert main([*words(served, out, study), "--store", "--resume"]) == 0
    assert len(served.posts()) == 3
    (again,) = lines(out)
    assert again == line
    stored = {kind: pydicom.dcmread(line["files"][kind]).SOPInstanceUID for kind in ("seg", "sr", "preview")}
    assert set(stored.values()) <= set(served.files)
    assert main([*words(served, out, study), "--store", "--resume"]) == 0
    assert len(served.files) == 3 + 3, "no second answer"
    assert "a result of this project" in capsys.readouterr().out


def test_nothing_written_tells_whom_a_study_is_of(served: Served, tmp_path, capfd) -> None:
    """But the results in DICOM, which are to go back to their patient, and the owner's own list of inputs."""
    folder, out = write_series(tmp_path / "ct", SHAPE), tmp_path / "out"
    uids = tag(folder, 0)
    study = served.add(*folder.iterdir())
    assert main(["--verbose", *words(served, out, study), "--store"]) == 0
    said = capfd.readouterr()
    (tmp_path / "log").write_text(said.out + said.err)
    files = {each.split(": ")[0].rsplit("/", 1)[1] for each in told([out, tmp_path / "log"], {*SPOKEN, *uids})}
    files -= {Path(path).name for kind, path in lines(out)[0]["files"].items() if kind in ("seg", "sr", "preview")}
    assert files <= {INPUTS}


def test_a_study_that_changed_is_predicted_anew(served: Served, tmp_path) -> None:
    paths, out = sorted(write_series(tmp_path / "ct", SHAPE).iterdir()), tmp_path / "out"
    study = served.add(*paths)
    assert main(words(served, out, study)) == 0
    before = lines(out)[0]
    dataset = pydicom.dcmread(paths[1])
    values = dataset.pixel_array.copy()
    values[30, 30] += 1
    dataset.PixelData = values.tobytes()
    dataset.save_as(paths[1])
    served.add(*paths)
    assert main([*words(served, out, study), "--resume"]) == 0
    assert lines(out)[0]["input_sha256"] != before["input_sha256"]


def test_a_mask_that_is_not_sure_is_referred(served: Served, tmp_path, project) -> None:
    study = served.add(*write_series(tmp_path / "ct", SHAPE).iterdir())
    weights = project / "bundles" / BUNDLE / "models" / "tiny_unet.safetensors"
    known = measured(weights, tmp_path / "weights", "lung", "lesion")
    asked = [*words(served, tmp_path / "out", study), "--checkpoint", str(known), "--min-confidence", "1"]
    assert main(asked) == 0
    files = lines(tmp_path / "out")[0]["files"]
    report = json.loads(next((tmp_path / "out").rglob("*_report.json")).read_text())
    assert report["refer"] is True
    structured = pydicom.dcmread(files["sr"]).to_json()
    assert "its mask has a Dice above 0.7 with a probability of" in structured
    assert "Probability: the mask has a Dice above 0.7" in structured
    assert '"Value": ["refer"]' in structured


def test_two_studies_and_what_is_kept(served: Served, tmp_path) -> None:
    studies = [served.add(*write_series(tmp_path / name, SHAPE).iterdir()) for name in ("a", "b")]
    kept = tmp_path / "kept"
    assert main([*words(served, tmp_path / "out", *studies, studies[0]), "--keep", str(kept)]) == 0
    found = lines(tmp_path / "out")
    assert len({line["case"] for line in found}) == 2
    assert all(len(list(Path(line["input"]).iterdir())) == 3 for line in found)
    assert all(Path(line["input"]).is_relative_to(kept) for line in found)
    assert kept.stat().st_mode & 0o777 == 0o700


def test_a_study_that_is_not_there_stops_no_other(served: Served, tmp_path, capsys) -> None:
    study = served.add(*write_series(tmp_path / "ct", SHAPE).iterdir())
    assert main(words(served, tmp_path / "out", "1.2.3", study)) == 10
    assert len(lines(tmp_path / "out")) == 1
    assert "no study 1.2.3" in capsys.readouterr().err
    torn = served.add(*write_series(tmp_path / "torn", SHAPE).iterdir())
    served.lost = {served.of_study(torn)[0].SOPInstanceUID}
    assert main(words(served, tmp_path / "out", torn, study)) == 13
    assert "2 of 3 instances came" in capsys.readouterr().err
    assert main(words(served, tmp_path / "none", "1.2.3")) == 10
    assert not (tmp_path / "none").exists()


def test_a_result_that_is_not_taken_is_told(served: Served, tmp_path, capsys) -> None:
    study, out = served.add(*write_series(tmp_path / "ct", SHAPE).iterdir()), tmp_path / "out"
    served.store = (403, None)
    assert main([*words(served, out, study), "--store"]) == ServerError.exit_code
    said = capsys.readouterr()
    assert said.err.count("it is forbidden (403, while storing series-4-") == 3
    assert "0 objects stored" in said.out
    assert lines(out)[0]["status"] == "done"


def test_a_case_of_which_no_dicom_can_be_made_is_told(served: Served, tmp_path, capsys) -> None:
    folder = write_series(tmp_path / "ct", SHAPE)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        del dataset.FrameOfReferenceUID
        dataset.save_as(file)
    study, out = served.add(*folder.iterdir()), tmp_path / "out"
    assert main([*words(served, out, study), "--store"]) == UnsupportedImageError.exit_code
    said = capsys.readouterr()
    assert "nothing can be stored" in said.err
    assert "0 objects stored" in said.out
    assert "no FrameOfReferenceUID" in Path(lines(out)[0]["report"]).read_text()


def test_pictures_are_a_case_each(served: Served, tmp_path, project) -> None:
    study = served.add(
        write_xray(tmp_path / "x.dcm", np.asarray(make_chest_xray_phantom(1, 240, pneumonia=True).picture))
    )
    bundle, out = "chest_xray_pneumonia_classification", tmp_path / "out"
    asked = ["predict", bundle, "--dicomweb", served.url, "--study", study, "--out", str(out), "--store"]
    assert main(asked) == 0
    assert len(lines(out)) == 1
    assert [each.Modality for each in served.datasets] == ["CR", "SR", "OT"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "one of them"),
        (["x.png", "--dicomweb", "http://127.0.0.1/d", "--study", "1.2"], "one of them"),
        (["--dicomweb", "http://127.0.0.1/d"], "needs the study"),
        (["x.png", "--study", "1.2", "--store"], "--study, --store is for --dicomweb alone"),
        (["--dicomweb", "http://127.0.0.1/d", "--study", "../1"], "no StudyInstanceUID"),
        (["--dicomweb", "http://127.0.0.1/d", "--study", "1.2", "--dicomweb-user", "a"], "DICOMWEB_PASSWORD"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(tmp_path, capsys, more, said) -> None:
    assert main(["predict", BUNDLE, *more, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
