"""The MONAI Label app of this project: each bundle as a model, and each segmentation as something to train."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

from pipelines.labelling.about import about_bundle
from pipelines.labelling.app_folder import served
from pipelines.labelling.serving.dicomweb import DicomWebStudies, segment_codes
from pipelines.labelling.serving.inference import BundleInference
from pipelines.labelling.serving.monailabel_import import (
    Datastore,
    First,
    InferTask,
    InferType,
    MONAILabelApp,
    MONAILabelError,
    MONAILabelException,
    Random,
    Strategy,
    TrainTask,
    app_module,
)
from pipelines.labelling.serving.training import BundleTraining

logger = logging.getLogger(__name__)


class BundlesApp(MONAILabelApp):
    """What MONAI Label's server asks for.

    Args:
        app_dir: what ``prepare_app`` made.
        studies: a folder, or the address of a DICOMweb server.
        conf: ``models``, names of bundles with commas between them; ``tracking_uri``, the store of trainings.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        there = served(Path(app_dir))
        names = [name for name in conf.get("models", "").split(",") if name] or list(there)
        missing = [name for name in names if name not in there]
        if missing:
            raise MONAILabelException(MONAILabelError.APP_INIT_ERROR, f"no bundle {', '.join(missing)} in {app_dir}")
        self._bundles = {name: about_bundle(there[name]) for name in names}
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="imaging-bundles",
            description="Bundles of imaging-bundles. Research only: not for diagnosis or treatment.",
        )

    def init_infers(self) -> dict[str, InferTask]:
        return {name: BundleInference(about) for name, about in self._bundles.items()}

    def init_trainers(self) -> dict[str, TrainTask]:
        return {
            name: BundleTraining(about, self.conf.get("tracking_uri"))
            for name, about in self._bundles.items()
            if about.type == InferType.SEGMENTATION.value
        }

    def init_strategies(self) -> dict[str, Strategy]:
        return {"random": Random(), "first": First()}

    def info(self) -> dict[str, Any]:
        """As MONAI Label's, but ``labels``, of which 3D Slicer makes segments, has no classes of classifications."""
        segmenting = [about for about in self._bundles.values() if about.type == InferType.SEGMENTATION.value]
        names = [name for about in segmenting for name in sorted(about.labels, key=about.labels.__getitem__)]
        return {**super().info(), "labels": list(dict.fromkeys(names))}

    def _init_dicomweb_datastore(self) -> Datastore:
        codes = segment_codes([about.folder for about in self._bundles.values()])
        app_module.DICOMWebDatastore = functools.partial(DicomWebStudies, codes)  # of the client that it makes
        return super()._init_dicomweb_datastore()

    def _download_dcmqi_tools(self) -> None:
        """Nothing: MONAI Label would fetch a program from GitHub each time it starts over DICOMweb."""
