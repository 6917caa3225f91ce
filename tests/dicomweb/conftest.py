"""A DICOMweb server for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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
