"""A DICOMweb server for each test, and the inputs of ``tests/dicom_writing``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dicom_writing"))

from served_studies import Running, Served

import pipelines.dicomweb.retrieval


@pytest.fixture
def served() -> Iterator[Served]:
    with Running(Served()) as served:
        yield served


@pytest.fixture(autouse=True)
def at_once(monkeypatch) -> None:
    """Nothing is waited for between two attempts."""
    monkeypatch.setattr("pipelines.dicomweb.connection._FIRST_WAIT_MS", 1)
    monkeypatch.setattr(pipelines.dicomweb.retrieval.time, "sleep", lambda seconds: None)
    for name in ("DICOMWEB_PASSWORD", "DICOMWEB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
