"""A request for a mask or a class: what ``predict`` finds, in the form that MONAI Label's clients take."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image

from pipelines.errors import UnreadableFileError
from pipelines.labelling.about import AboutBundle, first, true, weights_file
from pipelines.labelling.serving.monailabel_import import InferTask, device_list, name_to_device, write_itk
from pipelines.model_pt import MODEL
from pipelines.prediction import Model, Result, fast_options

_LOSSY = (".jpg", ".jpeg", ".webp")  # no file for a mask
_NIFTI = (".nii", ".nii.gz")


class BundleInference(InferTask):
    """A bundle as a model of MONAI Label. A picture, a volume or a series is answered as ``predict`` answers it.

    A segmentation gives a file with the mask on the image's own grid, a classification no file. Both give ``report``,
    which is what ``predict`` writes as ``NAME_report.json``; a classification also ``prediction``, a score a class as
    MONAI Label's clients list it, ``class``, ``refer``, ``reason`` and ``operating_point``.

    A request may say: ``image`` (a path), ``device``, ``model_filename`` (one of ``models/*.pt``), ``fast``,
    ``result_extension`` (default ``.nii.gz`` for a volume, ``.png`` for a picture), ``result_dtype``,
    ``result_compress``.

    Args:
        about: the bundle.
    """

    def __init__(self, about: AboutBundle) -> None:
        super().__init__(about.type, about.labels, about.dimension, about.description)
        self.about = about
        self._lock = threading.Lock()
        self._models: dict[tuple[Any, ...], Model] = {}

    def info(self) -> dict[str, Any]:
        return {**super().info(), "version": self.about.version}

    def config(self) -> dict[str, Any]:
        """What a client shows as options: the first of a list is the default."""
        options: dict[str, Any] = {"device": device_list(), "model_filename": list(self.about.weights)}
        return options | ({"fast": False} if fast_options(self.about.folder) else {})

    def is_valid(self) -> bool:
        return bool(self.about.weights)

    def get_path(self, validate: bool = True) -> str | None:
        """The weights that a request gets if it names no others; clients may download them."""
        return next((str(path) for path in self.about.weights.values()), None)

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Answer a request: the path of a temporary file with the mask, or None, and what else is said.

        Raises:
            PipelinesError: of the kind that names the fault of the image.
        """
        asked = {**self.config(), **request}
        if not asked.get("image"):
            raise UnreadableFileError(
                "there is no such image among the studies", how="GET /datastore/?output=all lists them"
            )
        result = self._model(asked)(asked["image"])
        said = {"label_names": self.labels, "report": _plain(result.report), "bundle_version": self.about.version}
        if result.mask is None:
            return None, said | _scores(result.report, self.about.labels)
        return _write_mask(result, asked), said

    def _model(self, asked: Mapping[str, Any]) -> Model:
        path = weights_file(self.about, asked.get("model_filename"))
        device = torch.device(name_to_device(first(asked.get("device")) or "cpu"))
        fast = true(asked.get("fast"))
        key = (str(path), path.stat().st_mtime_ns, str(device), fast)
        with self._lock:
            if key not in self._models:
                overrides = fast_options(self.about.folder) if fast else {}
                if path.name != MODEL or not self.about.ships_weights:
                    overrides |= {"checkpoint": str(path)}
                self._models.clear()  # one at a time: a network may be large
                self._models[key] = Model(self.about.folder, device=device, **overrides)
            return self._models[key]


def _write_mask(result: Result, asked: Mapping[str, Any]) -> str:
    """Write a mask as the client wants it: NIfTI and PNG as ``predict`` does, all else by ITK on the same grid."""
    mask = result.finding.mask
    picture = isinstance(mask, Image.Image)
    ending = str(asked.get("result_extension") or (".png" if picture else ".nii.gz"))
    if ending in _LOSSY or (picture and ending in _NIFTI):
        ending = ".png" if picture else ".nii.gz"
    with tempfile.NamedTemporaryFile(suffix=ending, delete=False) as file:
        path = file.name
    if isinstance(mask, Image.Image) and ending == ".png":
        mask.save(path)
    elif isinstance(mask, nib.Nifti1Image) and ending in _NIFTI:
        nib.save(mask, path)
    else:
        values = np.asarray(mask.dataobj) if isinstance(mask, nib.Nifti1Image) else np.asarray(mask).T
        affine = np.asarray(mask.affine) if isinstance(mask, nib.Nifti1Image) else None
        write_itk(values, path, affine, asked.get("result_dtype") or "uint8", true(asked.get("result_compress")))
    return path


def _scores(report: Mapping[str, Any], labels: Mapping[str, int]) -> dict[str, Any]:
    """The classes of a report as MONAI Label's clients list them, and what a person needs beside a score."""
    probabilities = report.get("probabilities") or {}
    prediction = [
        {"idx": index, "label": name, "score": float(probabilities[name])}
        for name, index in labels.items()
        if name in probabilities
    ]
    keys = ("class", "refer", "reason", "refer_below", "operating_point", "slices")
    return {"prediction": prediction, **{key: _plain(report[key]) for key in keys if key in report}}


def _plain(value: Any) -> Any:
    """What JSON can say: a report's numbers may be numpy's."""
    return json.loads(json.dumps(value, default=str))
