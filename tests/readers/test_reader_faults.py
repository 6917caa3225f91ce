"""The page of faults says what the readers do: ours on every run, MONAI's in the slow tests.

Where it is out of step, `python benchmarks/reader_faults.py --write` writes its table anew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipelines import errors


@pytest.fixture(scope="module")
def bench(project: Path) -> ModuleType:
    sys.path.insert(0, str(project / "benchmarks"))
    try:
        import reader_faults as module
    finally:
        sys.path.pop(0)
    return module


@pytest.fixture(scope="module")
def page(bench: ModuleType) -> str:
    return str(bench.PAGE.read_text(encoding="utf-8").split(bench.BEGIN)[1].split(bench.END)[0])


def test_what_ours_says_is_what_the_page_says(bench: ModuleType, page: str) -> None:
    stated = {row.split(" | ")[0].removeprefix("| "): row for row in page.splitlines()[2:]}
    assert list(stated) == list(bench.FAULTS)
    with bench.series() as (good, out):
        for fault, row in stated.items():
            with bench.spoilt(good, fault, out) as folder:
                assert row.endswith(f" | {bench.ours(folder)} |"), fault


def test_nothing_is_read_that_should_be_refused(bench: ModuleType, page: str) -> None:
    kinds = {name for name, each in vars(errors).items() if isinstance(each, type)}
    for row in page.splitlines()[2:]:
        fault, *_, ours = row.strip("| ").split(" | ")
        if fault in bench.READABLE and fault != "transfer syntax not that of the file":
            assert ours.startswith("right"), fault
        else:
            assert ours.split("**")[1] in kinds, fault
            assert "; " in ours, f"{fault}: no way out"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_monai_says_is_what_the_page_says(bench: ModuleType, page: str) -> None:
    assert bench.table().splitlines() == page.splitlines()
