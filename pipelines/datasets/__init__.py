"""Prepared cases as torch's datasets: slices, classified pictures and their features; and the lists they come from."""

from __future__ import annotations

from pipelines.datasets.balancing import balanced_sampler, balanced_weights
from pipelines.datasets.cached_codes import CachedCodes
from pipelines.datasets.caching import cached_dataset
from pipelines.datasets.classified_pictures import ClassifiedPictures, EncoderFeatures
from pipelines.datasets.rated_slices import RatedSlices, class_weights, slice_sampler, slice_weights
from pipelines.datasets.seeded_loader import SeededLoader
from pipelines.preparation.cases import cases_to_segment
from pipelines.preparation.datalist import files

__all__ = [
    "CachedCodes",
    "ClassifiedPictures",
    "EncoderFeatures",
    "RatedSlices",
    "SeededLoader",
    "balanced_sampler",
    "balanced_weights",
    "cached_dataset",
    "cases_to_segment",
    "class_weights",
    "files",
    "slice_sampler",
    "slice_weights",
]
