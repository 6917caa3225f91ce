"""A mask as DICOM SEG (PS3.3 A.51), of the kinds BINARY and LABELMAP."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from pipelines.dicom_writing.codes import concept
from pipelines.dicom_writing.maker import Maker, label_of
from pipelines.errors import ConfigError, GeometryError
from pipelines.readers.dicom_source import DicomSource

TYPES = ("BINARY", "LABELMAP")
_CATEGORY = ("49755003", "SCT", "Morphologically Abnormal Structure")


def segment_numbers(names: Mapping[int, str]) -> dict[int, int]:
    """The segment of each label value but background: their order is that of the values, from 1 without gaps."""
    return {value: number for number, value in enumerate(sorted(value for value in names if value), 1)}


def segmentation(
    mask: NDArray[np.uint8],
    source: DicomSource,
    names: Mapping[int, str],
    segments: Mapping[int, Mapping[str, Any]],
    maker: Maker,
    kind: str = "BINARY",
) -> Segmentation:
    """The mask as a segmentation of the source's instances.

    Args:
        mask: label values, (X, Y, Z) = (columns, rows, slices) in the order of ``source.instances`` or its frames; of a
            picture (rows, columns). Something must be labelled: frames without any are left out.
        source: what was segmented.
        names: of label values, background included.
        segments: of a value: ``type``, ``category`` (codes), ``anatomy`` (a list of codes). What is missing gets a code
            of our own, made of the label's name.
        maker: the algorithm.
        kind: one of ``TYPES``.

    Raises:
        ConfigError: another kind, or a code that is none.
        GeometryError: the mask has not the size of the source.
    """
    if kind not in TYPES:
        raise ConfigError(f"the segmentation type is {kind!r}", how=f"choose from {', '.join(TYPES)}")
    planes = _planes(mask, source)
    numbers = segment_numbers(names)
    if list(numbers) != list(numbers.values()):
        table = np.zeros(256, np.uint8)
        table[list(numbers)] = list(numbers.values())
        planes = table[planes]
    algorithm = hd.AlgorithmIdentificationSequence(
        name=maker.name, family=codes.DCM.ArtificialIntelligence, version=maker.version, parameters=maker.parameters
    )
    described: Sequence[SegmentDescription] = [
        _description(number, label_of(names, value), segments.get(value) or {}, algorithm)
        for value, number in numbers.items()
    ]
    syntax: UID = RLELossless if kind == "LABELMAP" else ExplicitVRLittleEndian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about values of the source
        seg = Segmentation(
            source_images=list(source.instances),
            pixel_array=planes,
            segmentation_type=kind,
            segment_descriptions=described,
            content_label="SEGMENTATION",
            content_description="Research use only",
            content_creator_name=maker.name,
            transfer_syntax_uid=syntax,
            omit_empty_frames=True,
            **maker.common("segmentation", 9001),
        )
    if source.picture:
        seg.PatientOrientation = source.instances[0].get("PatientOrientation") or ""
    return seg


def _planes(mask: NDArray[np.uint8], source: DicomSource) -> NDArray[np.uint8]:
    """(frames, rows, columns), a frame an instance, or a frame of the one instance."""
    planes = mask[None] if mask.ndim == 2 else mask.transpose(2, 1, 0)
    first = source.instances[0]
    number = len(source.instances) if source.frames is None else int(first.NumberOfFrames)
    if planes.shape != (number, first.Rows, first.Columns) or (source.frames and len(source.frames) != number):
        raise GeometryError(f"the mask has {planes.shape} and the series {(number, first.Rows, first.Columns)}")
    if source.frames is not None:
        planes = planes[np.argsort(source.frames)]
    return np.ascontiguousarray(planes)


def _description(number: int, label: str, given: Mapping[str, Any], algorithm: Any) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=concept(given.get("category") or _CATEGORY, label),
        segmented_property_type=concept(given.get("type"), label),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=hd.UID(),
        tracking_id=label,
        anatomic_regions=[concept(each, label) for each in given.get("anatomy") or []] or None,
    )
