"""Which bundles are used, and where runs and results go: never into an installed package."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import bundle
from pipelines.__main__ import main
from pipelines.bundle import (
    Project,
    bundles_in,
    description,
    find_project,
    input_shape,
    named_bundle,
    network_config,
    network_of_run,
    project_root,
    run_environment,
    weights_of,
    work_folder,
)
from pipelines.errors import ConfigError, UsageError

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"


def make(folder: Path, name: str = "one") -> Path:
    (folder / name / "configs").mkdir(parents=True)
    (folder / name / "configs" / "metadata.json").write_text('{"task": "Marks", "description": "a network marks"}')
    return folder / name


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in site-packages with its bundles, used from an empty working directory; the folder of bundles."""
    package = tmp_path / "site-packages" / "pipelines"
    make(package / "bundles")
    monkeypatch.setattr(bundle, "_PACKAGE", package)
    monkeypatch.setattr(bundle, "_SHIPPED", package / "bundles")
    monkeypatch.delenv("PIPELINES_BUNDLES", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return package / "bundles"


def test_an_installed_package_uses_its_bundles_and_writes_to_the_working_directory(installed: Path) -> None:
    here = Path.cwd()
    assert find_project() == Project(here, installed)
    assert project_root(installed / "one") == str(here)
    assert work_folder(installed / "one") == str(here / "one")
    assert named_bundle("one", installed) == installed / "one"
    (here / "one" / "models").mkdir(parents=True)  # what a training has left
    assert named_bundle("one", installed) == installed / "one"


def test_shipped_weights_come_before_trained_ones_which_lie_where_trainings_write(installed: Path) -> None:
    shipped, trained = (
        installed / "one" / "models" / "net.safetensors",
        Path.cwd() / "one" / "models" / "net" / "model.pt",
    )
    assert weights_of(installed / "one", "net") == str(shipped)
    trained.parent.mkdir(parents=True)
    trained.touch()
    assert weights_of(installed / "one", "net") == str(trained)
    shipped.parent.mkdir()
    shipped.touch()
    assert weights_of(installed / "one", "net") == str(shipped)


def test_the_nearest_bundles_are_used(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path.cwd()
    (here / "bundles").mkdir()
    assert find_project().bundles == installed, "a folder of that name without bundles is none"
    make(here / "bundles")
    assert find_project() == Project(here, here / "bundles")
    make(here / "bundles", "own")
    make(installed, "shipped")
    assert named_bundle("own", here / "bundles") == here / "bundles" / "own"
    assert named_bundle("one", here / "bundles") == here / "bundles" / "one", "one's own comes first"
    assert named_bundle("shipped", here / "bundles") == installed / "shipped", "and hides no other"
    assert named_bundle("nothing", here / "bundles") == here / "bundles" / "nothing"
    alone = make(tmp_path / "mine")
    monkeypatch.setenv("PIPELINES_BUNDLES", str(tmp_path / "mine"))
    assert find_project() == Project(alone, tmp_path / "mine")
    assert project_root(alone) == str(alone), "its trainings look there too"
    make(tmp_path / "mine", "two")
    assert find_project() == Project(tmp_path, tmp_path / "mine")
    assert project_root(alone) == str(tmp_path)
    make(tmp_path / "project" / "bundles")
    assert find_project(tmp_path / "project" / "bundles").root == tmp_path / "project", "where its trainings' runs are"
    for wrong in (tmp_path / "nothing", here):
        with pytest.raises(UsageError, match="there are no bundles here"):
            find_project(wrong)


def test_a_checkout_is_its_own_project(installed: Path, tmp_path: Path) -> None:
    checkout = installed.parent.parent
    shutil.rmtree(installed)
    assert find_project() == Project(Path.cwd(), Path.cwd() / "bundles"), "there are none, and nothing is written there"
    (checkout / "setup.cfg").touch()
    one = make(checkout / "bundles")
    assert find_project() == Project(checkout, checkout / "bundles")
    assert (project_root(one), work_folder(one)) == (str(checkout), str(one))


def test_every_bundle_is_described() -> None:
    for name, folder in bundles_in(BUNDLES).items():
        assert len(description(folder)) > 60, name


def test_a_bundle_without_metadata_has_no_description(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="metadata cannot be read"):
        description(tmp_path)


def test_bundles_by_command(installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(installed, "another")
    assert main(["bundles"]) == 0
    assert capsys.readouterr().out.split() == ["another", str(installed / "another"), "one", str(installed / "one")]
    assert main(["bundles", "one"]) == 0
    assert capsys.readouterr().out == f"{installed / 'one'}\n"
    assert main(["bundles", "none"]) == 2
    assert "choose from another, one" in capsys.readouterr().err
    for left in ("models/tiny/model.pt", "models/tiny.safetensors", "eval/mask.png"):
        (installed / "one" / left).parent.mkdir(parents=True, exist_ok=True)
        (installed / "one" / left).touch()
    assert main(["bundles", "--copy", "bundles"]) == 0
    copied = {str(path.relative_to("bundles")) for path in Path("bundles").rglob("*") if path.is_file()}
    assert copied == {"another/configs/metadata.json", "one/configs/metadata.json", "one/models/tiny.safetensors"}
    assert find_project().bundles == Path.cwd() / "bundles"
    assert main(["bundles", "one", "--copy", "bundles"]) == 19, "nobody's changes are replaced"


def test_no_card_is_written_into_an_installed_package(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", "--bundle", "one"]) == 2
    assert "bundles --copy bundles" in capsys.readouterr().err


def test_a_run_of_its_own_has_an_allocator_that_keeps_and_whatever_was_set_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    found = run_environment(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    assert (found["MALLOC_TRIM_THRESHOLD_"], found["OMP_NUM_THREADS"]) == ("1", "3")
    assert (found["MALLOC_MMAP_THRESHOLD_"], found["OMP_WAIT_POLICY"]) == ("4294967296", "PASSIVE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_a_training_keeps_the_memory_that_it_frees() -> None:
    """What a step has freed, the next one need not ask the system for."""
    program = "import os\nfrom pipelines import bundle\n{}\nlarge = b'x' * 2**27\ndel large\n"
    program += "print(int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE'))"
    env = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    commands = [[sys.executable, "-c", program.format(each)] for each in ("", "bundle.keep_freed_memory()")]
    given_back, kept = (int(subprocess.run(each, env=env, capture_output=True).stdout) for each in commands)
    assert kept - given_back > 2**26


def test_the_network_of_a_run_has_the_numbers_that_it_recorded_and_nothing_else_of_it() -> None:
    name = "chest_xray_pneumonia_classification"
    content = network_config(BUNDLES, name, "chest_cnn")
    recorded = {"dropout": "0.45", "network_def": "$print()", "image_size": "[64, 64]"}
    found = network_of_run(content, recorded)
    assert found.keys() == {"network_def", "dropout", "imports"}
    assert (found["dropout"], content["dropout"]) == (0.45, 0.2)
    assert found["network_def"] == content["network_def"]
    assert network_of_run(content, {"dropout": "$print()"})["dropout"] == 0.2
    assert input_shape(BUNDLES / name, content, recorded) == (1, 64, 64)
    assert input_shape(BUNDLES / name, content, {}) == (1, 224, 224)
    for strange in ("[0, 64]", "[1e9, 5]", "[9999, 9999]", "64", "[$print()]", "[", "{}"):
        assert input_shape(BUNDLES / name, content, {"image_size": strange}) == (1,), strange


@pytest.mark.parametrize(("name", "network"), [("../two/b", "c"), ("..", "c"), ("", "c"), ("a", "../c"), ("a", "")])
def test_what_a_run_is_called_leads_out_of_no_folder(tmp_path: Path, name: str, network: str) -> None:
    for folder in ("one/a", "one", "two/b", "."):
        (tmp_path / folder / "configs" / "networks").mkdir(parents=True)
        (tmp_path / folder / "configs" / "train.yaml").write_text(f"network_name: '{network}'\nnetwork_def: {{}}\n")
    with pytest.raises(UsageError, match=r"no bundle .* here|is no name of a network"):
        network_config(tmp_path / "one", name, network)
    with pytest.raises(UsageError, match="no bundle"):
        network_config(tmp_path / "one", str(tmp_path / "two" / "b"), "c")


WHERE = """
imports: [$from pipelines import bundle]
bundle_root: .
root: $bundle.locate(@bundle_root)
initialize: ['@root']
run: ['@root']
finalize: ['@root']
"""


def test_two_workflows_of_one_process_each_find_their_own_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monai.bundle import ConfigWorkflow

    folders = [make(tmp_path, name) for name in ("one", "two", "three")]
    opened = []
    for folder in folders:
        (folder / "configs" / "where.yaml").write_text(WHERE)
        config = str(folder / "configs" / "where.yaml")
        opened.append(ConfigWorkflow(config_file=config, workflow_type="infer", logging_file=False))
    monkeypatch.setattr("sys.path", [*sys.path])  # MONAI adds to it
    monkeypatch.chdir(folders[2])  # a bundle itself, and not the one that is asked about
    assert opened[0].run() == [str(folders[0])]
    assert opened[1].initialize() == [str(folders[1])]
    assert opened[0].finalize() == [str(folders[0])]
