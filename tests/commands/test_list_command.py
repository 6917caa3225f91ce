"""``pipelines list``: everything that there is, from the bundles' own records, in a moment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.__main__ import main
from pipelines.catalogue import list_bundles, list_datasets
from pipelines.errors import UnreadableFileError
from pipelines.tasks.registry import DATASETS

BUNDLE = "covid_ct_lesion_segmentation"


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["list", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def copied(project: Path, folder: Path) -> Path:
    """A folder of bundles that holds one, to be spoilt."""
    shutil.copytree(project / "bundles" / BUNDLE, folder / BUNDLE, ignore=shutil.ignore_patterns("models"))
    return folder / BUNDLE


def test_bundles_say_what_their_own_records_say(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    found = {each["name"]: each for each in listed(capsys)["bundles"]}
    assert found.keys() == {path.name for path in (project / "bundles").iterdir() if path.is_dir()}
    for name, entry in found.items():
        folder = project / "bundles" / name
        metadata = json.loads((folder / "configs" / "metadata.json").read_text())
        assert (entry["version"], entry["folder"]) == (metadata["version"], str(folder))
        networks = {each["name"]: each for each in entry["networks"]}
        assert {each: networks[each]["parameters"] for each in networks} == metadata["network_parameters"]
        assert sum(each["default"] for each in networks.values()) == 1
        for each in networks.values():
            weights = folder / "models" / f"{each['name']}.safetensors"
            assert each["weights_bytes"] == (weights.stat().st_size if weights.is_file() else None)
            assert (each["weights"] is None) == (each["weights_bytes"] is None)
        assert all(each["about"] for each in entry["overlays"])
        assert "train_autoencoder" not in [each["name"] for each in entry["overlays"]], "it is laid over nothing"
        headline = entry["headline"]
        if not (folder / "docs" / "model_card.json").is_file():  # begun here by `new`
            assert headline is None
            continue
        card = json.loads((folder / "docs" / "model_card.json").read_text())
        assert headline["network"] == card["network"]
        assert headline["estimate"] == card["metrics"][headline["metric"]]["estimate"]
        assert headline["of_shipped_weights"] == card["weights"]["measured"]
        assert headline["evidence"]
    assert [each["name"] for each in found[BUNDLE]["overlays"]] == ["dicom", "export", "severity"]


def test_datasets_are_those_of_data_prepare_and_those_that_bundles_have_cards_of(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    found = listed(capsys)
    datasets = {each["name"]: each for each in found["datasets"]}
    cards = [yaml.safe_load(path.read_text()) for path in (project / "bundles").glob("*/docs/data_card.yaml")]
    assert datasets.keys() == set(DATASETS) | {card["name"] for card in cards}
    assert {name for name, each in datasets.items() if each["phantoms"]} == {
        name for name, each in DATASETS.items() if each.phantom
    }
    assert all(each["layouts"] and each["layouts"][0]["files"] for each in datasets.values())
    for bundle in found["bundles"]:
        assert bundle["name"] in datasets[bundle["dataset"]]["bundles"]


def test_keys_are_those_of_the_docs(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    page = (project / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    part = page[page.index("## list") : page.index("## bundles")]
    found = listed(capsys)
    bundle, dataset = found["bundles"][0], found["datasets"][0]
    kinds = (bundle, bundle["networks"][0], bundle["headline"], bundle["overlays"][0], dataset, dataset["layouts"][0])
    for key in {key for each in kinds for key in each}:
        assert f"`{key}`" in part, key


def test_the_table_fits_and_has_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    found = listed(capsys)
    for bundle in found["bundles"]:
        for name in (bundle["name"], *(each["name"] for each in (*bundle["networks"], *bundle["overlays"]))):
            assert name in text
        if (Path(bundle["folder"]) / "docs" / "model_card.json").is_file():  # of one begun here there is none
            bounded = bundle["headline"]["low"] is not None  # a generator's figure has no interval
            assert f"{bundle['headline']['estimate']:.3f}{' (' if bounded else ','}" in text
    assert all(f"Dataset {each['name']}:" in text for each in found["datasets"])
    line = "* encoder_unet 4,730,867 9.75 MB 0.707 (0.606 to 0.808), 174 of covid_ct"
    assert line in [" ".join(each.split()) for each in text.splitlines()]


@pytest.mark.parametrize(("name", "word"), [(BUNDLE, "severity: Severity by way of"), ("ph2", "PH2_dataset.txt")])
def test_one_of_them_in_full(capsys: pytest.CaptureFixture[str], name: str, word: str) -> None:
    assert main(["list", name]) == 0
    text = capsys.readouterr().out
    assert word in text
    assert "chest_xray" not in text
    assert max(map(len, text.splitlines())) <= 100
    found = listed(capsys, name)
    assert [each["name"] for each in (*found["bundles"], *found["datasets"])] == [name]


def test_an_unknown_name_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "nothing"]) == 2
    error = capsys.readouterr().err
    assert "no bundle and no dataset 'nothing'" in error
    assert BUNDLE in error
    assert "ph2" in error


def test_what_a_bundle_does_not_record_is_null_and_a_dash(
    capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path
) -> None:
    bundle = copied(project, tmp_path)
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    del metadata["network_parameters"]
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (bundle / "docs" / "model_card.json").unlink()
    (entry,) = listed(capsys, "--bundles", str(tmp_path))["bundles"]
    assert entry["headline"] is None
    assert {each["parameters"] for each in entry["networks"]} == {None}
    assert main(["list", "--bundles", str(tmp_path)]) == 0
    assert "* encoder_unet           –     none\n" in capsys.readouterr().out


def test_a_damaged_record_is_named(capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path) -> None:
    bundle = copied(project, tmp_path)
    (bundle / "docs" / "model_card.json").write_text("{")
    assert main(["list", "--bundles", str(tmp_path)]) != 0
    assert "model_card.json" in capsys.readouterr().err


def test_a_damaged_bundle_hides_no_other(capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path) -> None:
    bundle = copied(project, tmp_path)
    shutil.copytree(bundle, tmp_path / "another")
    (tmp_path / "another" / "configs" / "metadata.json").write_text("{")
    code = main(["list", "--bundles", str(tmp_path)])
    out, err = capsys.readouterr()
    assert (code, bundle.name in out, "metadata.json" in err) == (UnreadableFileError.exit_code, True, True)
    assert main(["list", bundle.name, "--bundles", str(tmp_path)]) == UnreadableFileError.exit_code
    capsys.readouterr()
    assert main(["list", "another", "--bundles", str(tmp_path)]) == UnreadableFileError.exit_code
    assert "metadata.json" in capsys.readouterr().err


def test_cards_of_an_installed_package_are_found(project: Path, tmp_path: Path) -> None:
    """setup.py puts them into the package: here its folder is read as it would be there."""
    shutil.copy(project / "data" / "ph2.yaml", tmp_path)
    assert "pipelines.data_cards" in (project / "setup.py").read_text()
    found = [each["name"] for each in list_datasets(list_bundles(project / "bundles")[0], tmp_path)]
    assert [name for name in found if name in DATASETS] == ["ph2"]


def test_listing_loads_neither_pytorch_nor_monai() -> None:
    code = "import sys; from pipelines.__main__ import main; main(['list']); print(sorted({'torch', 'monai', 'mlflow',"
    code += " 'numpy'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
