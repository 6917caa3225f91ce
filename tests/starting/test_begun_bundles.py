"""What ``new`` writes passes the contract (``tests/bundles``) at once: a bundle of each kind, run over a folder of its
own, and so without a line about it anywhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipelines.__main__ import main
from pipelines.warm import WarmPython

# name, what it is like, options: each way from a picture to an answer is among them
BEGUN = {
    "spots_segmentation": ("picture_segmentation", "--labels", "spot", "rim", "core"),
    "moles_segmentation": ("skin_lesion_segmentation", "--labels", "mole"),
    "brain_segmentation": ("volume_segmentation", "--labels", "core", "edema"),
    "cells_classification": ("picture_classification", "--classes", "round", "long", "other"),
}
# Minutes each; of pictures with masks test_your_own_pictures.py goes the whole way. BEGUN=all: the contract over all.
WHOLE = BEGUN if os.environ.get("BEGUN") == "all" else ("brain_segmentation", "cells_classification")
ONE = ("spots_segmentation",)  # which CI looks at: pictures with several labels
MARKS = {"brain_segmentation": pytest.mark.thorough}
CHEAP = ("agreement", "configs", "files", "properties", "zoo_rules")  # read configs, and instantiate them on phantoms


def begin(folder: Path, *names: str) -> Path:
    """A folder of bundles that ``new`` has written."""
    for name in names:
        like, *options = BEGUN[name]
        assert main(["new", name, "--like", like, *options, "--out", str(folder)]) == 0
    return folder / "bundles"


def contract(bundles: Path, project: Path, python: str, *words: str) -> tuple[set[str], set[str], str]:
    """The names of the contract's tests that passed and that failed, and what was printed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env |= {"PIPELINES_BUNDLES": str(bundles), "PYTHONPATH": str(project), "PYTHON_EXEC": python}
    report = bundles.parent / "report.xml"
    command = [sys.executable, "-m", "pytest", *words, "-p", "no:cacheprovider", "-n0", "-q", f"--junitxml={report}"]
    command += [f"--basetemp={bundles.parent / 'temporary'}"]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    passed: set[str] = set()
    failed: set[str] = set()
    for case in ElementTree.parse(report).iter("testcase"):
        name = re.sub(r"\[.*", "", case.attrib["name"])
        if not len(case):
            passed.add(name)
        elif case[0].tag != "skipped":
            failed.add(case.attrib["name"])
    return passed, failed, done.stdout[-6000:]


@pytest.mark.slow
@pytest.mark.parametrize("names", [ONE, pytest.param(tuple(sorted(set(BEGUN) - set(ONE))), marks=pytest.mark.thorough)])
def test_each_kind_passes_what_is_read_from_its_configs(
    names: tuple[str, ...], project: Path, tmp_path: Path, warm: WarmPython
) -> None:
    bundles = begin(tmp_path, *names)
    files = [f"tests/bundles/test_bundle_{part}.py" for part in CHEAP]
    passed, failed, said = contract(
        bundles, project, warm.python, *files, "tests/bundles/test_supervised_agreement.py", "-m", "not slow"
    )
    assert failed == set(), said
    assert passed >= {
        "test_check_properties_finds_nothing",
        "test_labels_are_the_same_everywhere",
        "test_metadata_say_how_large_each_network_is",
        "test_network_is_the_same",
        "test_supervised_bundles_agree_outside_the_stated_differences",
        "test_validation_finishes_a_mask_as_inference_does",
        "test_weights_become_torchscript",
    }


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in WHOLE])
def test_a_begun_bundle_passes_all_of_the_contract(name: str, project: Path, tmp_path: Path, warm: WarmPython) -> None:
    others = ["--deselect", "tests/bundles/test_another_kind.py"]
    if name == "brain_segmentation" and WHOLE is not BEGUN:  # in 3D each of its tests takes long: those of training
        others += ["-k", "trains_evaluates or resumed_training or two_processes or figures_worked_out"]
    if "classification" not in name:  # the commands of the other kinds are run in test_your_own_pictures.py
        others += ["--deselect", "tests/bundles/test_bundle_readme.py::test_commands_run"]
    passed, failed, said = contract(begin(tmp_path, name), project, warm.python, "tests/bundles", *others)
    assert failed == set(), said
    assert passed >= {
        "test_every_network_trains_evaluates_and_infers",
        "test_resumed_training_equals_an_uninterrupted_one",
        "test_two_processes_train_one_network_and_make_one_run",
        *(
            ("test_commands_run", "test_scores_of_classes_are_sklearns")
            if "classification" in name
            else ("test_figures_worked_out_by_hand",)
        ),
    }
