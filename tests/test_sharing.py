"""Which tests one of several workers runs together, and which first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sharing import share


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        ("tests/readers/test_xray.py::test_a[x-1]", "tests/readers/test_xray.py"),
        ("tests/bundles/test_bundle_files.py::test_there_are_bundles", "tests/bundles/test_bundle_files.py"),
        ("tests/bundles/test_a.py::test_b[skin_lesion_segmentation]", "skin_lesion_segmentation"),
        ("tests/bundles/test_a.py::test_b[train-skin_lesion_segmentation]", "skin_lesion_segmentation"),
        ("tests/bundles/test_a.py::test_b[skin_lesion_segmentation-frozen]", "skin_lesion_segmentation"),
        ("tests/bundles/test_a.py::test_b[5-skin_lesion_segmentation-skips]", "skin_lesion_segmentation skips"),
        ("tests/bundles/test_a.py::test_b[skin_lesion_segmentation-skips-5]", "skin_lesion_segmentation skips"),
        ("tests/networks/test_contract.py::test_a[LesionUNet-sides]", "tests/networks/test_contract.py LesionUNet"),
        ("tests/starting/test_begun_bundles.py::test_a[moles]", "tests/starting/test_begun_bundles.py moles"),
    ],
)
def test_share(nodeid: str, name: str) -> None:
    assert share(nodeid) == name


@pytest.mark.slow
@pytest.mark.thorough  # a whole session of pytest for a matter of speed
def test_workers_begin_with_files_that_have_slow_tests(project: Path, tmp_path: Path) -> None:
    """xdist's own order is another one: the most tests first."""
    folder = tmp_path / "tests"
    folder.mkdir()
    for name in ("conftest.py", "sharing.py", "raw_folders.py"):
        shutil.copy(project / "tests" / name, folder)
    (folder / "test_a_many.py").write_text("".join(f"def test_{number}(): pass\n" for number in range(5)))
    (folder / "test_b_slow.py").write_text("import pytest\n@pytest.mark.slow\ndef test_slow(): pass\n")
    command = [sys.executable, "-m", "pytest", "tests", "-n1", "-v", "-p", "no:cacheprovider", "-o", "markers=slow"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=tmp_path, env={**kept, "PYTHONPATH": str(project)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    files = re.findall(r"PASSED tests/(\w+)\.py", done.stdout)
    assert files == ["test_b_slow", *["test_a_many"] * 5]
