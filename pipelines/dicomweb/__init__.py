"""Studies of a DICOMweb server: found (QIDO-RS), fetched (WADO-RS), predicted, and the results stored (STOW-RS)."""

from __future__ import annotations

from pipelines.dicomweb.connection import Server
from pipelines.dicomweb.prediction import Answered, predict_studies
from pipelines.dicomweb.retrieval import fetch_series
from pipelines.dicomweb.storage import store_file
from pipelines.dicomweb.study import Series, modalities_of, series_of, sort_out

__all__ = [
    "Answered",
    "Series",
    "Server",
    "fetch_series",
    "modalities_of",
    "predict_studies",
    "series_of",
    "sort_out",
    "store_file",
]
