"""Studies of a DICOMweb server: series are fetched whole, labels are kept here, and final ones go back as DICOM SEG."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests
from monai.bundle import ConfigParser
from pydicom import Dataset

from pipelines.dicom_writing.maker import Maker
from pipelines.dicom_writing.segmentation import on_source_grid, segmentation
from pipelines.errors import LabelError, OutputError, UnreadableFileError
from pipelines.labelling.serving.monailabel_import import (
    DataModel,
    DICOMWebDatastore,
    ImageLabelModel,
    LocalDatastore,
    download_series,
)
from pipelines.labelling.submitted import volume_of
from pipelines.readers.dicom_source import DicomSource, read_source

logger = logging.getLogger(__name__)
_UID = re.compile(r"[0-9.]{1,64}")
_FINAL = "final"
_PERSON = Maker("MONAI Label", "0.8.5", "none", "")


class DicomWebStudies(DICOMWebDatastore):
    """MONAI Label's datastore of a DICOMweb server, without the programs that it would fetch (dcmqi).

    A series is known by its SeriesInstanceUID. Labels are those that were submitted here: a SEG that something else
    made, a bundle of ours for one, is nothing to learn from.

    Args:
        codes: what segments are called: their ``category``, ``type`` and ``anatomy``, by name.
        more: as MONAI Label gives them.
    """

    def __init__(self, codes: Mapping[str, Mapping[str, Any]], **more: Any) -> None:
        self._codes = codes
        super().__init__(**more)

    def get_image_uri(self, image_id: str) -> str:
        """The folder of a series, which is fetched if it is not here.

        Raises:
            UnreadableFileError: the server has no such series, or does not answer.
        """
        if not _UID.fullmatch(image_id):
            raise UnreadableFileError("this is no SeriesInstanceUID", where=image_id, how="give that of a CT series")
        folder = Path(self._datastore.image_path()).resolve() / image_id
        if folder.is_dir():
            return str(folder)
        try:
            found = self._client.search_for_series(search_filters={"SeriesInstanceUID": image_id})
            studies = {str(each.StudyInstanceUID) for each in map(Dataset.from_json, found)
                       if str(each.SeriesInstanceUID) == image_id}  # fmt: skip
            if not studies:
                raise UnreadableFileError("the DICOMweb server has no such series", where=image_id)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".", ignore_cleanup_errors=True) as fetched:
                series = Path(fetched) / "series"
                download_series(min(studies), image_id, str(series), self._client)
                series.rename(folder)
        except requests.RequestException as error:
            what = f"the DICOMweb server does not give the series ({type(error).__name__})"
            raise UnreadableFileError(what, where=image_id, how="see whether it answers") from error
        return str(folder)

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        return list(LocalDatastore.get_labeled_images(self, label_tag, labels))

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        known = set(self.get_labeled_images())
        return [each for each in self.list_images() if each not in known]

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        return str(LocalDatastore.get_label_uri(self, label_id, label_tag))

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        return list(LocalDatastore.datalist(self, full_path))

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], label_id: str = ""
    ) -> str:
        """Keep a label, and send a final one that labels anything to the server as DICOM SEG, under the same study.

        Args:
            image_id: the series.
            label_filename: a volume on its grid, or ``.bin``: OHIF's values, a byte each, in the order of masks sent.
            label_tag: ``final``, or another for one that stays here.
            label_info: ``label_info`` in it names the values.
            label_id: not used.

        Raises:
            GeometryError: it does not lie on the series.
            LabelError: it has not the size of the series.
            UnreadableFileError: the series or the label cannot be read.
            OutputError: the server does not take the SEG; the label is kept.
        """
        folder = Path(self.get_image_uri(image_id))
        source = read_source(folder)
        if source is None or source.affine is None:
            raise UnreadableFileError("this is no series of slices", where=folder)
        values, affine = _values(Path(label_filename), source)
        values = on_source_grid(values, affine, source)
        if image_id not in self._datastore.objects:
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info={"name": image_id}, ext=""))
        with tempfile.TemporaryDirectory() as temporary:
            kept = Path(temporary) / "label.nii.gz"
            nib.save(nib.Nifti1Image(values, source.affine), kept)
            LocalDatastore.save_label(self, image_id, str(kept), label_tag, label_info)
        if label_tag == _FINAL and values.any():
            self._send(self._drawn(values, source, label_info.get("label_info") or []), image_id)
        return image_id

    def _drawn(self, values: np.ndarray, source: DicomSource, info: list[dict[str, Any]]) -> Dataset:
        """A SEG that says of itself that a person drew it."""
        said = {int(each["idx"]): str(each["name"]) for each in info if "idx" in each and "name" in each}
        names = {int(value): said.get(int(value), f"segment {value}") for value in np.unique(values)}
        coded = {value: self._codes.get(name.lower(), {}) for value, name in names.items() if value}
        seg = segmentation(values, source, {**names, 0: "background"}, coded, _PERSON)
        for segment in seg.SegmentSequence:
            segment.SegmentAlgorithmType = "MANUAL"
            for keyword in ("SegmentAlgorithmName", "SegmentationAlgorithmIdentificationSequence"):
                if keyword in segment:
                    delattr(segment, keyword)
        return seg

    def _send(self, seg: Dataset, image_id: str) -> None:
        try:
            self._client.store_instances([seg])
        except requests.RequestException as error:
            what = f"the label is kept, but the DICOMweb server did not take it as DICOM SEG ({error})"
            raise OutputError(what, where=image_id, how="submit it again once the server takes objects") from error
        logger.info("the label of %s is series %s", image_id, seg.SeriesInstanceUID)


def _values(label: Path, source: DicomSource) -> tuple[np.ndarray, np.ndarray]:
    """A label's values (X, Y, Z) and its affine."""
    if label.suffix != ".bin":
        return volume_of(label)
    first = source.instances[0]
    slices = len(source.instances) if source.frames is None else len(source.frames)
    size = (int(first.Columns), int(first.Rows), slices)
    values = np.fromfile(label, np.uint8)
    if values.size != np.prod(size):
        raise LabelError(f"the label has {values.size} values, and the series {np.prod(size)} voxels", where=label)
    assert source.affine is not None
    return values.reshape(size, order="F"), source.affine


def segment_codes(bundles: list[Path]) -> dict[str, Mapping[str, Any]]:
    """What bundles call their segments in DICOM (``configs/dicom.yaml``), by name in small letters."""
    found: dict[str, Mapping[str, Any]] = {}
    for bundle in bundles:
        configs = bundle / "configs"
        if not (configs / "dicom.yaml").is_file():
            continue
        names = ConfigParser.load_config_file(str(configs / "inference.yaml")).get("label_names") or {}
        content = ConfigParser.load_config_file(str(configs / "dicom.yaml"))
        for handler in [each for key, value in content.items() if key.lstrip("+") == "handlers" for each in value]:
            for value, codes in (handler.get("segments") or {}).items():
                found.setdefault(str(names.get(int(value), value)).lower(), codes)
    return found
