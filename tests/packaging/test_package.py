"""``pipelines package``: what is in the file of a bundle, what is not, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from pipelines import load_bundle
from pipelines.__main__ import main
from pipelines.errors import OutputError, UnreadableFileError, UsageError, WeightsError
from pipelines.packaging import package as packages
from pipelines.packaging import package_bundle, verify_package
from pipelines.packaging.bundle_files import check_paths
from pipelines.packaging.pins import pinned
from pipelines.packaging.wheel import write_wheel
from pipelines.weights import read_weights, weights_digest

SEVERITY, LESIONS = "covid_ct_severity_classification", "covid_ct_lesion_segmentation"
CELLS = "cells_classification"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def _wheel(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel is made once."""
    monkeypatch.setattr(packages, "write_wheel", lambda folder: Path(shutil.copy(wheel, folder)))


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A bundle of one's own, just begun, in a project of its own."""
    assert main(["new", CELLS, "--like", "picture_classification", "--classes", "a", "b", "--out", str(tmp_path)]) == 0
    return tmp_path / "bundles" / CELLS


def random_weights(bundle: Path, target: Path, network: str = "mobilenet_v2") -> dict[str, torch.Tensor]:
    """Of a training that never was."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([bundle / "configs" / "inference.yaml", bundle / "configs" / "networks" / f"{network}.yaml"])
    state = parser.get_parsed_content("network_def").state_dict()
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, target)
    return dict(state)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


@pytest.mark.usefixtures("_wheel")
def test_a_shipped_bundle_with_all_that_it_needs(project: Path, tmp_path: Path) -> None:
    bundle = project / "bundles" / SEVERITY
    version = json.loads((bundle / "configs" / "metadata.json").read_text())["version"]
    made = package_bundle(bundle, tmp_path / "new" / "a.zip")
    with zipfile.ZipFile(made.path) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {f"{SEVERITY}-{version}"}
    found = members(made.path)
    inside = f"bundles/{SEVERITY}"
    for name in ("LICENSE", "configs/inference.yaml", "docs/README.md", "models/severity_shufflenet.safetensors"):
        assert found[f"{inside}/{name}"] == (bundle / name).read_bytes()
    assert found["LICENSE"] == (project / "LICENSE").read_bytes()
    assert f"{inside}/models/severity_shufflenet.calibration.json" in found
    assert not [name for name in found if "__pycache__" in name or "/." in name or name.endswith(".pyc")]

    (tmp_path / "model.pt").write_bytes(found[f"{inside}/models/model.pt"])
    assert torch.load(tmp_path / "model.pt", weights_only=True)
    shipped = weights_digest(bundle / "models" / "severity_shufflenet.safetensors")
    assert weights_digest(tmp_path / "model.pt") == shipped
    said = json.loads(found["manifest.json"])
    assert said["weights"]["severity_shufflenet.safetensors"] == shipped
    assert said["weights"] == {path.name: weights_digest(path) for path in (bundle / "models").glob("*.safetensors")}
    assert said["files"].keys() == found.keys() - {"manifest.json"}
    assert verify_package(made.path).digest == made.digest == said["digest"]
    readme = found["README.md"].decode()
    assert f"```bash\n{made.install}\n{made.use}\n```" in readme
    assert made.install.split("./")[1] in found
    assert made.use == f"python -m pipelines predict {inside} INPUT --out DIR"

    pins = dict(line.split("==") for line in found["constraints.txt"].decode().splitlines()[1:])
    assert pins["torch"] == torch.__version__.partition("+")[0]
    assert pins["monai"].startswith("1.6")
    needed = found["requirements.txt"].decode().splitlines()[1:]
    assert needed[0] == "-c constraints.txt"
    assert {each.lower() for each in needed[1:]} <= pins.keys()
    assert "imaging-bundles" not in pins


def test_the_wheel_is_whole_but_for_weights(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (record,) = (name for name in names if name.endswith(".dist-info/RECORD"))
        rows = list(csv.reader(archive.read(record).decode().splitlines()))
    assert {row[0] for row in rows} == names
    assert names >= {"pipelines/__main__.py", "pipelines/packaging/README.md.j2", "pipelines/data_cards/covid_ct.yaml"}
    assert f"pipelines/bundles/{LESIONS}/configs/train.yaml" in names
    binary = {name for name in names if name.endswith((".safetensors", ".pt", ".pyc"))}
    assert {name for name in binary if not name.endswith("/configs/looks.safetensors")} == {
        "pipelines/networks/lungs.safetensors",  # what frames a chest X-ray, whatever classifies it
        "pipelines/transforms/picture_features.safetensors",  # what tells images of another kind, whatever the bundle
    }
    assert not [name for name in names if "direct_url" in name]


@pytest.mark.thorough
@pytest.mark.slow
def test_equal_content_is_equal_bytes(project: Path, tmp_path: Path) -> None:
    first = package_bundle(project / "bundles" / SEVERITY, tmp_path / "a.zip")
    second = package_bundle(project / "bundles" / SEVERITY, tmp_path / "b.zip")
    assert first.digest == second.digest
    assert first.path.read_bytes() == second.path.read_bytes()


@pytest.mark.usefixtures("_wheel")
def test_a_begun_bundle_with_the_weights_of_a_run(cells: Path, tmp_path: Path) -> None:
    state = random_weights(cells, tmp_path / "runs" / "model.pt")
    (tmp_path / "runs" / "model.calibration.json").write_text(calibration(tmp_path / "runs" / "model.pt"))
    made = package_bundle(cells, tmp_path / "a.zip", checkpoint=tmp_path / "runs" / "model.pt", project=tmp_path)
    with zipfile.ZipFile(made.path) as archive:
        archive.extractall(tmp_path / "there")
    (there,) = (tmp_path / "there").glob("*/bundles/*")
    kept = there / "models" / "mobilenet_v2.safetensors"
    assert same(safetensors.torch.load_file(kept), state)
    with safe_open(kept, "pt") as file:
        assert file.metadata().keys() >= {"data", "use"}
    assert same(read_weights(there / "models" / "model.pt"), state)
    assert json.loads(kept.with_suffix(".calibration.json").read_text())["temperature"] == 2.0
    assert not (cells / "models" / "mobilenet_v2.safetensors").exists(), "the bundle itself stays as it is"
    load_bundle(there)


def calibration(weights: Path) -> str:
    known = dict.fromkeys(("ece_before", "ece_after", "nll_before", "nll_after"), 0.5)
    content = {**known, "items": 9, "mistakes": 1, "names": ["a", "b"], "thresholds": [], "temperature": 2.0}
    return json.dumps({**content, "weights": weights_digest(weights)})


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.usefixtures("_wheel")
def test_what_was_trained_goes_in_and_nothing_else_of_the_training(cells: Path, tmp_path: Path) -> None:
    random_weights(cells, cells / "models" / "mobilenet_v2" / "model.pt")
    for name in ("mlruns/mlflow.db", "eval/a.png", "data/a.png", "models/mobilenet_v2/last.pt", "models/old.pt"):
        (cells / name).parent.mkdir(parents=True, exist_ok=True)
        (cells / name).write_text("none of it")
    for name in (".git/config", "configs/.train.yaml.swp", "configs/__pycache__/a.pyc", "docs/a.md~"):
        (cells / name).parent.mkdir(parents=True, exist_ok=True)
        (cells / name).write_text("none of it")
    made = package_bundle(cells, tmp_path / "a.zip")
    assert made.left_out == ["data", "eval", "mlruns", "models/mobilenet_v2", "models/old.pt"]
    found = members(made.path)
    assert f"bundles/{CELLS}/models/mobilenet_v2.safetensors" in found
    assert [name for name, content in found.items() if content == b"none of it"] == []


@pytest.mark.usefixtures("_wheel")
def test_another_network_than_the_default(cells: Path, tmp_path: Path) -> None:
    random_weights(cells, tmp_path / "model.pt", "resnet34")
    made = package_bundle(cells, tmp_path / "a.zip", network="resnet34", checkpoint=tmp_path / "model.pt")
    assert made.use.endswith(" --network resnet34")
    assert "only resnet34 has weights" in made.notes[0]
    found = members(made.path)
    assert made.use in found["README.md"].decode()
    assert f"bundles/{CELLS}/models/model.pt" not in found


@pytest.mark.usefixtures("_wheel")
def test_weights_in_the_place_of_shipped_ones(project: Path, tmp_path: Path) -> None:
    """The calibration is of the shipped weights, and goes with them."""
    bundle = shutil.copytree(project / "bundles" / SEVERITY, tmp_path / "bundles" / SEVERITY)
    state = read_weights(bundle / "models" / "severity_shufflenet.safetensors")
    torch.save({key: value + 1 if value.ndim > 1 else value for key, value in state.items()}, tmp_path / "own.pt")
    made = package_bundle(bundle, tmp_path / "a.zip", checkpoint=tmp_path / "own.pt")
    assert "severity_shufflenet.safetensors is of own.pt" in made.notes[0]
    found = members(made.path)
    assert f"bundles/{SEVERITY}/models/severity_shufflenet.calibration.json" not in found
    said = json.loads(found["manifest.json"])["weights"]["severity_shufflenet.safetensors"]
    assert said == weights_digest(tmp_path / "own.pt")


def test_no_weights_no_package(cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", str(cells), "--out", str(tmp_path / "a.zip")]) == UnreadableFileError.exit_code
    said = capsys.readouterr().err
    assert f"{cells}: the network mobilenet_v2 has no weights" in said
    assert "--checkpoint" in said
    assert not (tmp_path / "a.zip").exists()


def test_weights_of_another_network_are_refused(cells: Path, tmp_path: Path) -> None:
    random_weights(cells, tmp_path / "model.pt", "resnet34")
    with pytest.raises(WeightsError, match="not those of"):
        package_bundle(cells, tmp_path / "a.zip", checkpoint=tmp_path / "model.pt")


def test_what_is_there_is_not_replaced_unasked(project: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        package_bundle(project / "bundles" / SEVERITY, tmp_path / "a.zip")
    with pytest.raises(OutputError, match="--out"):
        package_bundle(project / "bundles" / SEVERITY, tmp_path, overwrite=True)
    assert (tmp_path / "a.zip").read_text() == "mine"


@pytest.mark.usefixtures("_wheel")
def test_it_is_replaced_where_that_is_asked(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.zip").write_text("mine")
    monkeypatch.chdir(tmp_path)
    words = ["--out", "a.zip", "--overwrite", "--bundles", str(project / "bundles")]
    assert main(["package", SEVERITY, *words]) == 0
    said = capsys.readouterr().out
    assert verify_package(tmp_path / "a.zip").digest in said
    assert "pip install -r requirements.txt ./imaging_bundles-" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no bundle is named"),
        (("nothing",), "there is no bundle 'nothing'"),
        ((SEVERITY, "--network", "vgg"), "choose from severity_resnet, severity_shufflenet"),
        ((SEVERITY, "--verify", "a.zip"), "leave out"),
    ],
)
def test_calls_that_cannot_work(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", *words]) == 2
    assert said in capsys.readouterr().err


def test_paths_of_this_machine_are_named(cells: Path, tmp_path: Path) -> None:
    random_weights(cells, cells / "models" / "mobilenet_v2" / "model.pt")
    config = cells / "configs" / "train.yaml"
    text = config.read_text()
    line = next(number for number, each in enumerate(text.splitlines(), 1) if each.startswith("dataset_dir:"))
    old = text.splitlines()[line - 1]
    config.write_text(text.replace(old, f"dataset_dir: {tmp_path}/data/cells"))
    with pytest.raises(UsageError, match=rf"configs/train\.yaml, line {line}: .*{tmp_path}/data/cells"):
        package_bundle(cells, tmp_path / "a.zip", project=tmp_path)


def test_other_paths_are_nobodys(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("see https://example.org/home/me/x and /home/meadow/x, ./home/me/x\n")
    check_paths(tmp_path, [Path("/home/me"), Path("/")])
    (tmp_path / "a.md").write_text("see '/home/me/x'\n")
    with pytest.raises(UsageError, match=r"a\.md, line 1"):
        check_paths(tmp_path, [Path("/home/me")])


def test_versions_are_those_of_all_that_is_needed() -> None:
    found = pinned(["matplotlib>=3", "nothing-of-this-name", "pytest; extra == 'test'"], {"Not_here": "1.2"})
    assert found.keys() >= {"matplotlib", "numpy", "pillow", "packaging", "not-here"}
    assert found["not-here"] == "1.2"
    assert not found.keys() & {"pytest", "nothing-of-this-name"}
