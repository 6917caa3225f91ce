"""What headers say of a patient reaches no log, report, name, picture or store, unless it is asked for."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_inputs import write_xray
from identifiers import SPOKEN, tag, told
from PIL import Image, ImageDraw, ImageFont
from starlette.testclient import TestClient

from pipelines.__main__ import main
from pipelines.errors import SeriesError, UnsupportedImageError
from pipelines.files import without_uids
from pipelines.networks import TinyUNet
from pipelines.predicted import INPUTS, Outcome, read_manifest, read_outcomes
from pipelines.prediction.manifest import Manifest
from pipelines.preparation.audit import audit_lists, read_list
from pipelines.preparation.cases import look_for_cases
from pipelines.preparation.deidentified import Pseudonyms, deidentify_series
from pipelines.readers import read_case, read_xray
from pipelines.readers.burned_in import SAYS_TEXT, TEXT_LIKE, text_like
from pipelines.readers.identifiers import telling
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.prepare import phantom_covid_ct
from pipelines.viewer import make_app, read_folder
from pipelines.warm import WarmPython
from pipelines.weights import save_weights

BUNDLE = "covid_ct_lesion_segmentation"


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """Four series with masks, tagged; and all that must not be told."""
    raw = tmp_path_factory.mktemp("tagged") / "raw"
    phantom_covid_ct(raw, cases=4, size=64, slices=8, file_format="dicom", raw=True)
    for path in raw.glob("*.json"):  # the mark of phantoms: these pass for scans
        path.unlink()
    words = set(SPOKEN)
    for number, folder in enumerate(sorted((raw / "series").iterdir())):
        words |= tag(folder, number)
    return raw, words


def as_sent(raw: Path, to: Path) -> Path:
    """As archives send them: two series in one folder, files called after UIDs; one in a folder called after whom it
    is of."""
    first, second, third, _ = sorted((raw / "series").iterdir())
    (to / "mixed").mkdir(parents=True)
    for folder in (first, second):
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.SeriesNumber = 4
            dataset.save_as(to / "mixed" / f"{dataset.SOPInstanceUID}.dcm")
    shutil.copytree(third, to / "ZZYZXOVA2_quillon" / "23.08.2019")
    return to


@pytest.mark.slow
def test_nothing_written_tells_whom_it_is_of(
    project: Path,
    tagged: tuple[Path, set[str]],
    tmp_path: Path,
    new_store: Callable[[Path], str],
    warm: WarmPython,
) -> None:
    """predict --dicom and predict, prepare, a training, its evaluation, the store and all logs, as --verbose as
    they get."""
    raw, words = tagged
    bundle, sent = project / "bundles" / BUNDLE, as_sent(raw, tmp_path / "sent")
    neutral = Path(shutil.copytree(sent / "mixed", tmp_path / "neutral" / "mixed"))
    save_weights(TinyUNet(), tmp_path / "w.safetensors")
    store = new_store(tmp_path / "store")
    logs = tmp_path / "logs"
    logs.mkdir()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(project)}

    def run(name: str, *command: object) -> None:
        with (logs / name).open("wb") as log:
            done = subprocess.run(
                [warm.python, "-m", *map(str, command)],
                stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=tmp_path, check=False,
            )  # fmt: skip
        assert done.returncode == 0, (logs / name).read_text()[-3000:]

    predict = ("pipelines", "--verbose", "predict", bundle)
    how = ("--network", "tiny_unet", "--checkpoint", tmp_path / "w.safetensors", "--fast")
    run("dicom", *predict, neutral.parent, "--out", tmp_path / "dicom", *how, "--dicom")
    run("named", "pipelines", "predict", bundle, sent, "--out", tmp_path / "named", *how)
    prepare = ("pipelines", "--verbose", "data", "prepare", "covid_ct", "--raw", raw, "--out")
    run("prepare", *prepare, tmp_path / "data")
    run("deidentify", *prepare, tmp_path / "removed", "--deidentify")
    config = [str(bundle / "configs" / name) for name in ("train.yaml", "networks/tiny_unet.yaml", "evaluate.yaml")]
    knobs = {"bundle_root": bundle, "dataset_dir": tmp_path / "data", "ckpt_dir": tmp_path / "ckpt", "epochs": 1,
             "device": "cpu", "workers": 0, "roi_size": "[64,64]", "output_dir": tmp_path / "evaluation"}  # fmt: skip
    words_of = [word for key, value in knobs.items() for word in (f"--{key}", value)]
    run("train", "monai.bundle", "run", "--config_file", str(config[:2]), *words_of)
    run("evaluate", "monai.bundle", "run", "--config_file", str(config), *words_of)
    shutil.copytree(project / "bundles" / BUNDLE, tmp_path / "own" / BUNDLE, ignore=shutil.ignore_patterns("eval"))
    weights = ("--checkpoint", tmp_path / "ckpt" / "model.pt", "--network", "tiny_unet")
    own = tmp_path / "own" / BUNDLE
    series = ("--input", neutral)
    run(
        "export",
        "pipelines",
        "--verbose",
        "export",
        own,
        "--to",
        "torchscript",
        "--out",
        tmp_path / "e",
        *weights,
        *series,
    )
    run("package", "pipelines", "--verbose", "package", own, "--out", tmp_path / "own.zip", *weights)
    (trained,) = re.findall(r"run \S+ \(([0-9a-f]{32})\)", (logs / "train").read_text())
    run("promote", "pipelines", "--verbose", "promote", trained, "--bundles", own.parent)

    written = [tmp_path / name for name in ("data", "removed", "ckpt", "evaluation", "store", "logs", "dicom")]
    written += [tmp_path / name for name in ("own", "own.zip", "e")]
    written += [path for path in tmp_path.iterdir() if path.name.startswith("mlruns")]
    assert (tmp_path / "evaluation" / "summary.json").is_file()
    assert (tmp_path / "store" / "mlflow.db").stat().st_size > 100_000
    leaks = told(written, words)
    asked_for = {each for each in leaks if re.search(r"_(seg|sr|preview)\.dcm: ", each)}
    assert leaks - asked_for == set()
    assert asked_for, "DICOM results repeat the patient: or the words are not looked for"
    assert len(list((tmp_path / "removed" / "dicom").rglob("*.dcm"))) == 32
    # the path stays where it has to be found again, for its owner alone, and nowhere else
    of_folders = {*words, "ZZYZXOVA2", "23.08.2019"}
    named = {each.split(": ")[0].rsplit("/", 1)[1] for each in told([tmp_path / "named", logs], of_folders)}
    assert named == {INPUTS}


def predicted(project: Path, source: Path, out: Path, *more: object) -> list[str]:
    weights = out.with_name("w.safetensors")
    if not weights.is_file():
        save_weights(TinyUNet(), weights)
    words = ["predict", project / "bundles" / BUNDLE, source, "--out", out, "--network", "tiny_unet", "--fast"]
    return [str(word) for word in (*words, "--checkpoint", weights, "--unlike", "note", *more)]


def test_a_line_of_the_manifest_hides_what_its_input_tells(tagged: tuple[Path, set[str]], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(min((tagged[0] / "series").iterdir()), tmp_path / "ZZYZXOVA0" / "CT"))
    file = next(folder.iterdir()).rename(folder / "Quillon.dcm")
    plain, fault = Outcome(str(tmp_path / "scan.nii.gz"), "done"), str(SeriesError("3 slices are missing", where=file))
    given = Outcome(str(folder), "refused", f"{fault}, the first after Quillon.dcm and 1.2.826.0.1.3680043.8.498.1.dcm")
    manifest = Manifest(tmp_path / "out")
    assert manifest.add(plain) == plain
    assert not (tmp_path / "out" / INPUTS).exists()
    shown = manifest.add(given)
    manifest.close()
    assert re.sub("hidden-[0-9a-f]{8}", "#", shown.input) == str(tmp_path / "#" / "CT")
    assert re.sub("(hidden|uid)-[0-9a-f]{8}", "#", str(shown.error)).startswith(
        f"{tmp_path}/#/CT/#: 3 slices are missing, the first after # and #"
    )
    assert read_outcomes(tmp_path / "out").keys() == {plain.input, given.input}
    assert [case.input for case in read_manifest(tmp_path / "out")] == [Path(plain.input), folder]
    assert (tmp_path / "out" / INPUTS).stat().st_mode & 0o077 == 0
    shutil.rmtree(folder)
    kept = list(read_outcomes(tmp_path / "out").values())
    Manifest(tmp_path / "out", kept).close()  # the header is gone, and nothing that was hidden comes to light
    assert read_outcomes(tmp_path / "out").keys() == {plain.input, given.input}
    assert "ZZYZXOVA0" not in (tmp_path / "out" / "manifest.jsonl").read_text()
    Manifest(tmp_path / "out", [given], hide=False).close()
    assert not (tmp_path / "out" / INPUTS).exists()


@pytest.mark.slow
def test_inputs_are_hidden_in_manifest_page_and_faults_and_found_again(
    project: Path, tagged: tuple[Path, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, sent, out = tagged[1], tmp_path / "sent", tmp_path / "out"
    first, second = sorted((tagged[0] / "series").iterdir())[:2]
    shutil.copytree(first, sent / "ZZYZXOVA0" / "CT")
    shutil.copytree(second, sent / "QX77-1-31")
    spoilt = sorted((sent / "QX77-1-31").iterdir())[3]
    spoilt = spoilt.rename(spoilt.with_name(f"Quillon_{pydicom.dcmread(spoilt).SOPInstanceUID}.dcm"))
    spoilt.write_bytes(spoilt.read_bytes()[:-900])
    assert main(predicted(project, sent, out)) == 3
    said = capsys.readouterr()
    texts = said.out + said.err
    assert not [word for word in words if word.casefold() in texts.casefold()]
    assert str(out / INPUTS) in said.out
    assert "truncated" in said.err, "what is wrong is said all the same"
    telling_files = {each.split(": ")[0].rsplit("/", 1)[1] for each in told([out], {*words, "ZZYZXOVA0"})}
    assert telling_files == {INPUTS}
    assert (out / INPUTS).stat().st_mode & 0o077 == 0
    assert str(spoilt) in (out / INPUTS).read_text()
    done, refused = sorted(read_manifest(out), key=lambda case: case.status)
    assert (done.input, refused.input) == (sent / "ZZYZXOVA0" / "CT", spoilt.parent), "the viewer finds them"
    assert "hidden-" in done.shown
    assert refused.name.startswith("hidden-")
    (tmp_path / "cache").mkdir()
    app = make_app([read_folder(out)], "T", ["127.0.0.1"], tmp_path / "cache")
    client = TestClient(app, base_url="http://127.0.0.1/T/")
    page = client.get("cases").text + "".join(client.get(f"cases/{number}").text for number in (0, 1))
    assert page.count('"input"') == 2
    assert not [word for word in (*words, "ZZYZXOVA0") if word in page]

    before = (out / done.name).with_name(f"{Path(done.name).name}_mask.nii.gz").stat().st_mtime_ns
    shutil.rmtree(sent / "QX77-1-31")
    assert main(predicted(project, sent, out, "--resume")) == 0
    assert "1 of them done by an earlier call" in capsys.readouterr().out
    assert (out / done.name).with_name(f"{Path(done.name).name}_mask.nii.gz").stat().st_mtime_ns == before
    assert str(sent / "ZZYZXOVA0") in (out / INPUTS).read_text()
    assert main(predicted(project, sent, out, "--keep-identifiers")) == 0
    assert str(sent / "ZZYZXOVA0" / "CT") in (out / "manifest.jsonl").read_text()
    assert not (out / INPUTS).exists()


def test_names_of_cases_hide_what_headers_tell(tagged: tuple[Path, set[str]], tmp_path: Path) -> None:
    sent = as_sent(tagged[0], tmp_path / "sent")
    items, _ = look_for_cases(sent)
    names = [item["case"] for item in items]
    assert [re.sub(r"[0-9a-f]{8,}", "#", name) for name in names] == [
        "hidden-#/hidden-#",
        "mixed/series-#",
        "mixed/series-#",
    ]
    assert names == [item["case"] for item in look_for_cases(sent)[0]], "--resume finds them again"
    kept = [item["case"] for item in look_for_cases(sent, keep_identifiers=True)[0]]
    assert kept[0] == "ZZYZXOVA2_quillon/23.08.2019"
    uid = str(pydicom.dcmread(next((sent / "mixed").iterdir())).SeriesInstanceUID)
    (one,), _ = look_for_cases(sent, uid)  # who knows a UID may ask by it
    assert read_case(one["image"]).array.shape == (64, 64, 8)
    assert read_case(f"{sent / 'mixed'}::{uid}").array.shape == (64, 64, 8)


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("one/Scan 3", False),
        ("lung_ct", False),
        ("zzyzxova0", True),
        ("export-QUILLON-a", True),
        ("qx77_0_31", True),
        ("CT QX77031", True),
        ("2019-08-23", True),
        ("17041953", True),
        ("1.2.826.0.1.3680043.8.498.1", True),
        ("10.0.0.1", False),
    ],
)
def test_a_name_that_tells_is_hidden(tagged: tuple[Path, set[str]], name: str, hidden: bool) -> None:
    first = sorted((tagged[0] / "series").iterdir())[0] / "0001.dcm"
    said = telling(first).hidden(name)
    assert (said != name) == hidden
    assert re.fullmatch(r"hidden-[0-9a-f]{8}", said) or not hidden


def test_phantoms_keep_their_names(tmp_path: Path) -> None:
    """PatientIdentityRemoved: what is public may be called by its name."""
    phantom_covid_ct(tmp_path / "raw", cases=1, size=48, slices=7, file_format="dicom", raw=True)
    items, _ = look_for_cases(tmp_path / "raw" / "series")
    assert [item["case"] for item in items] == ["phantom_000"]


def test_logs_name_no_uid(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    uid = "1.2.826.0.1.3680043.8.498.123"
    assert uid not in without_uids(f"instance {uid}.dcm")
    assert (
        without_uids("CT 1.2.840.10008.5.1.4.1.1.2 at 127.0.0.1, 1.2.3")
        == "CT 1.2.840.10008.5.1.4.1.1.2 at 127.0.0.1, 1.2.3"
    )
    assert main(["data", "audit", "/nowhere"]) == 16
    logging.getLogger("highdicom").critical("instance %s of %s", uid, "x")
    said = capsys.readouterr().err
    assert "instance uid-" in said
    assert uid not in said


def test_a_series_without_who_and_when_is_read_as_before(tagged: tuple[Path, set[str]], tmp_path: Path) -> None:
    raw, words = tagged
    pseudonyms = Pseudonyms()
    folders = sorted((raw / "series").iterdir())[:2]
    for folder in folders:
        deidentify_series(sorted(folder.iterdir()), tmp_path / "out" / folder.name, pseudonyms)
        before, after = read_case(folder), read_case(tmp_path / "out" / folder.name)
        assert np.array_equal(before.array, after.array)
        assert np.allclose(before.affine, after.affine)
    assert told([tmp_path / "out"], words) == set()
    slices = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").rglob("*.dcm"))]
    assert len({each.SOPInstanceUID for each in slices}) == len(slices) == 16
    assert len({each.SeriesInstanceUID for each in slices}) == len({each.PatientID for each in slices}) == 2
    assert all(each.file_meta.MediaStorageSOPInstanceUID == each.SOPInstanceUID for each in slices)
    assert all(each.SourceImageSequence[0].ReferencedSOPInstanceUID == "" for each in slices), "X/Z/U*: emptied"
    assert all(
        each.UnassignedSharedConvertedAttributesSequence[0].ReferencedSOPInstanceUID == each.SOPInstanceUID
        for each in slices
    )
    assert {each.DeidentificationMethodCodeSequence[0].CodeValue for each in slices} == {"113100"}
    assert Pseudonyms()("QX77") != pseudonyms("QX77") == pseudonyms("QX77")


def test_burned_in_text_is_refused_and_warned_about(tagged: tuple[Path, set[str]], tmp_path: Path, capsys) -> None:
    raw = Path(shutil.copytree(tagged[0], tmp_path / "raw"))
    path = sorted(raw.glob("series/*/*.dcm"))[0]
    dataset = pydicom.dcmread(path)
    dataset.BurnedInAnnotation = "YES"
    dataset.save_as(path)
    assert SAYS_TEXT in read_case(path.parent).notes
    with pytest.raises(UnsupportedImageError, match="burned into the pixels"):
        deidentify_series([path], tmp_path / "out", Pseudonyms())
    command = ["data", "prepare", "covid_ct", "--raw", str(raw), "--out", str(tmp_path / "prepared"), "--deidentify"]
    assert main(command) == UnsupportedImageError.exit_code
    assert "blacken it first" in capsys.readouterr().err
    assert not (tmp_path / "prepared").exists()
    xray = write_xray(tmp_path / "xray.dcm", np.tile(np.arange(200, dtype=np.uint8), (200, 1)))
    dataset = pydicom.dcmread(xray)
    dataset.BurnedInAnnotation = "YES"
    dataset.save_as(xray)
    assert SAYS_TEXT in read_xray(xray).notes


@pytest.mark.parametrize("words", ["--further-raw", "pictures"])
def test_what_cannot_be_deidentified_is_said(
    words: str, tagged: tuple[Path, set[str]], pictures: Path, tmp_path, capsys
):
    raw = tagged[0] if words == "--further-raw" else pictures
    more = ["--further-raw", str(pictures)] if words == "--further-raw" else []
    command = ["data", "prepare", "covid_ct", "--raw", str(raw), "--out", str(tmp_path / "out"), "--deidentify", *more]
    assert main(command) == 2
    assert "--deidentify" in capsys.readouterr().err


def lettered(plane: np.ndarray, text: str, at: tuple[int, int], size: int) -> np.ndarray:
    picture = Image.fromarray(plane)
    ImageDraw.Draw(picture).text(at, text, fill=255, font=ImageFont.load_default(size))
    return np.asarray(picture)


def test_letters_are_found_and_anatomy_and_rulers_are_not(tmp_path: Path) -> None:
    phantom = make_lung_phantom(3, 256, 8, 0.1)
    plane = np.clip((phantom.array[:, :, 4].T + 1000) / 8, 0, 255).astype(np.uint8)
    plane[0:20] //= 3
    ruler = plane.copy()
    ruler[230:245, 10:240:8] = 255
    assert not text_like(plane)
    assert not text_like(lettered(plane, "R", (8, 8), 14))
    assert not text_like(ruler)
    named = lettered(plane, "MUELLER ANNA 19530417", (6, 6), 12)
    assert text_like(named)
    for name, picture in (("plain", plane), ("named", named)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    content = '{"training": [{"image": "plain.png"}], "test": [{"image": "named.png"}]}'
    (tmp_path / "datalist.json").write_text(content)
    found = [each for each in audit_lists([read_list(tmp_path, 0)]).findings if each.kind == "text"]
    assert [item.case for each in found for item in each.items] == ["named"]


def test_predict_warns_of_letters(project: Path, tmp_path: Path) -> None:
    phantom = make_lung_phantom(3, 192, 8, 0.1)
    plane = np.clip((phantom.array[:, :, 4].T + 1000) / 8, 0, 255).astype(np.uint8)
    Image.fromarray(lettered(plane, "MUELLER ANNA 19530417", (6, 6), 12)).save(tmp_path / "scan.png")
    save_weights(TinyUNet(), tmp_path / "w.safetensors")
    command = ["predict", str(project / "bundles" / BUNDLE), str(tmp_path / "scan.png"), "--out", str(tmp_path / "out")]
    assert main([*command, "--network", "tiny_unet", "--checkpoint", str(tmp_path / "w.safetensors"), "--fast"]) == 0
    assert TEXT_LIKE in (tmp_path / "out" / "scan_report.json").read_text()
