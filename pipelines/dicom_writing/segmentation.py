"""A mask as DICOM SEG (PS3.3 A.51), of the kinds BINARY and LABELMAP."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.seg import Segmentation, SegmentDescription
from nibabel import orientations
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


def type_of(given: str) -> str:
    """One of ``TYPES`` in any case; a ConfigError of another one."""
    if str(given).upper() not in TYPES:
        raise ConfigError(f"segmentation_type is {given!r}", how=f"choose from {', '.join(TYPES)}")
    return str(given).upper()


def check_codes(segments: Mapping[int, Mapping[str, Any]]) -> None:
    """Raise a ConfigError where something that ``segmentation`` is to call segments is no code."""
    for value, given in segments.items():
        if unknown := set(given) - {"category", "type", "anatomy"}:
            raise ConfigError(f"segment {value}: {sorted(unknown)} is unknown", how="give category, type and anatomy")
        for each in (given.get("category"), given.get("type"), *(given.get("anatomy") or [])):
            concept(each, str(value))


def on_source_grid(mask: NDArray[Any], affine: NDArray[Any], source: DicomSource) -> NDArray[np.uint8]:
    """A volume's mask with its axes as the source's slices lie: turned and mirrored, never resampled.

    Args:
        mask: label values, 0 to 255, (X, Y, Z).
        affine: 4x4, from its voxels to RAS millimetres.
        source: a series.

    Returns:
        (columns, rows, slices).

    Raises:
        GeometryError: it lies on another grid (another size, spacing or place), or a value is beyond 255.
    """
    assert source.affine is not None, "a picture lies nowhere in space"
    turn = orientations.io_orientation(np.linalg.inv(source.affine) @ affine)
    turned = orientations.apply_orientation(mask, turn)
    lies = affine @ orientations.inv_ornt_aff(turn, mask.shape)
    spacing = np.linalg.norm(source.affine[:3, :3], axis=0).min()
    wanted = _shape(source)
    if turned.shape != (wanted[2], wanted[1], wanted[0]) or np.abs(lies - source.affine).max() > spacing / 100:
        what = f"the mask of {mask.shape} voxels does not lie on the grid of its series"
        raise GeometryError(what, how="bring it back to the input's grid first (MONAI's Invertd, nearest neighbour)")
    if turned.size and not 0 <= turned.min() <= turned.max() <= 255:
        raise GeometryError(f"the mask has values from {turned.min()} to {turned.max()}", how="label values: 0 to 255")
    return turned.astype(np.uint8)


def _shape(source: DicomSource) -> tuple[int, int, int]:
    """Frames, rows and columns."""
    first = source.instances[0]
    number = len(source.instances) if source.frames is None else int(first.NumberOfFrames)
    return number, int(first.Rows), int(first.Columns)


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
    kind = type_of(kind)
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
    wanted = _shape(source)
    if planes.shape != wanted or (source.frames and len(source.frames) != wanted[0]):
        raise GeometryError(f"the mask has {planes.shape} and the series {wanted}")
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
