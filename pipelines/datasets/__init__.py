"""Raw folders to prepared ones: checks, labels, splits by patient, datalists, reports; and phantoms in the same
layouts."""

from __future__ import annotations

from pipelines.datasets.caching import cached_dataset
from pipelines.datasets.chest_xray import prepare_chest_xray
from pipelines.datasets.chest_xray_phantom import ChestXrayPhantom, make_chest_xray_phantom
from pipelines.datasets.chest_xray_phantoms import phantom_chest_xray
from pipelines.datasets.classified_pictures import ClassifiedPictures, TrunkFeatures
from pipelines.datasets.covid_ct import phantom_covid_ct, prepare_covid_ct
from pipelines.datasets.datalist import files, load_datalist
from pipelines.datasets.inference import cases_to_segment
from pipelines.datasets.lung_phantom import Phantom, make_lung_phantom
from pipelines.datasets.rated_slices import RatedSlices, class_weights, slice_sampler, slice_weights
from pipelines.datasets.skin_lesions import SKIN_LABELS, prepare_skin_lesions
from pipelines.datasets.skin_phantoms import phantom_isic2016
from pipelines.datasets.xray_source import XRAY_CLASSES
from pipelines.readers import LABELS as LUNG_LABELS

__all__ = [
    "LUNG_LABELS",
    "SKIN_LABELS",
    "XRAY_CLASSES",
    "ChestXrayPhantom",
    "ClassifiedPictures",
    "Phantom",
    "RatedSlices",
    "TrunkFeatures",
    "cached_dataset",
    "cases_to_segment",
    "class_weights",
    "files",
    "load_datalist",
    "make_chest_xray_phantom",
    "make_lung_phantom",
    "phantom_chest_xray",
    "phantom_covid_ct",
    "phantom_isic2016",
    "prepare_chest_xray",
    "prepare_covid_ct",
    "prepare_skin_lesions",
    "slice_sampler",
    "slice_weights",
]
