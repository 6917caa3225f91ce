"""The one place that imports MONAI Label 0.8.5, which asks for releases of other packages that are older than ours.

- pydicom 3 moved ``SegmentationStorage`` out of the module that pydicom-seg takes it from.
- torchvision's registry wheel does not load beside a CPU-only torch by itself (``networks/torchvision_import.py``).
"""

from __future__ import annotations

import sys
import types

from pydicom import uid

import pipelines.networks.torchvision_import  # noqa: F401 - before MONAI Label's own

_MOVED = "pydicom._storage_sopclass_uids"
if _MOVED not in sys.modules:
    _module = types.ModuleType(_MOVED)
    _module.SegmentationStorage = uid.SegmentationStorage  # type: ignore[attr-defined]
    sys.modules[_MOVED] = _module

from monailabel.datastore.dicom import DICOMWebDatastore  # noqa: E402
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore  # noqa: E402
from monailabel.datastore.utils.dicom import dicom_web_download_series as download_series  # noqa: E402
from monailabel.interfaces import app as app_module  # noqa: E402
from monailabel.interfaces.app import MONAILabelApp  # noqa: E402
from monailabel.interfaces.datastore import Datastore  # noqa: E402
from monailabel.interfaces.exception import (  # noqa: E402
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelError,
    MONAILabelException,
)
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType  # noqa: E402
from monailabel.interfaces.tasks.strategy import Strategy  # noqa: E402
from monailabel.interfaces.tasks.train import TrainTask  # noqa: E402
from monailabel.tasks.activelearning.first import First  # noqa: E402
from monailabel.tasks.activelearning.random import Random  # noqa: E402
from monailabel.transform.writer import write_itk  # noqa: E402
from monailabel.utils.others.generic import device_list, name_to_device  # noqa: E402

__all__ = [
    "DICOMWebDatastore",
    "DataModel",
    "Datastore",
    "First",
    "ImageLabelModel",
    "ImageNotFoundException",
    "InferTask",
    "InferType",
    "LabelNotFoundException",
    "LocalDatastore",
    "MONAILabelApp",
    "MONAILabelError",
    "MONAILabelException",
    "Random",
    "Strategy",
    "TrainTask",
    "app_module",
    "device_list",
    "download_series",
    "name_to_device",
    "write_itk",
]
