"""A report's figures as a structured report of TID 1500 (PS3.16): sizes, classes, thresholds, and the model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import highdicom as hd
from highdicom import sr
from pydicom.sr.codedict import codes

from pipelines import key_figures
from pipelines.dicom_writing.codes import concept
from pipelines.dicom_writing.maker import PROJECT, Maker
from pipelines.errors import ConfigError
from pipelines.readers.dicom_source import DicomSource

_MOST_IMAGES = 10_000
# UCUM codes by the words that configs use: MONAI takes "%" in a config for a reference
UNITS = {
    "percent": ("%", "UCUM", "Percent"),
    "mL": ("mL", "UCUM", "milliliter"),
    "mm": ("mm", "UCUM", "millimeter"),
    "number": ("1", "UCUM", "no units"),
}


@dataclass(frozen=True)
class Figure:
    """A figure of the report and what it is called.

    Raises:
        ConfigError: by ``of``, another unit, or a code that is none.

    Attributes:
        key: where it stands in the report; a number is the place in a list.
        name: code of what is measured, or None for one of our own, made of the key.
        unit: of a number, one of ``UNITS``; None for a word (a class).
        factor: from the report's unit to this one.
        label: the value of the mask that it is a measure of; None for all of the case.
        values: codes of words.
    """

    key: tuple[str | int, ...]
    name: Sequence[str] | None = None
    unit: str | None = None
    factor: float = 1.0
    label: int | None = None
    values: Mapping[str, Sequence[str]] | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Figure:
        """From what a config says."""
        key = given["key"]
        if given.get("unit") not in {None, *UNITS}:
            raise ConfigError(f"the unit of {key} is {given['unit']!r}", how=f"choose from {', '.join(UNITS)}")
        for code in (given.get("name"), *(given.get("values") or {}).values()):
            concept(code, str(key))
        return cls(**{**given, "key": tuple(key.split(".") if isinstance(key, str) else key)})

    def value(self, report: Mapping[str, Any]) -> Any:
        """What the report has there; None without."""
        found: Any = report
        for part in self.key:
            if isinstance(found, Mapping):
                found = found.get(part)
            elif isinstance(found, (list, tuple)) and isinstance(part, int) and part < len(found):
                found = found[part]
            else:
                return None
        return found


def figures_of(given: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Figures by what a config says of them.

    Raises:
        ConfigError: one has no key, another unit, or a code that is none.
    """
    try:
        return [Figure.of(each) for each in given]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"figures of dicom.yaml: {error}", how="give each a key, and name, unit, …") from None


def measurement_report(
    report: Mapping[str, Any],
    figures: Sequence[Figure],
    source: DicomSource,
    maker: Maker,
    seg: hd.seg.Segmentation | None = None,
    segment_of: Mapping[int, int] | None = None,
) -> sr.ComprehensiveSR:
    """The structured report.

    Args:
        report: what ``NAME_report.json`` holds.
        figures: those that are told; one that the report lacks is left out.
        source: the images.
        maker: the algorithm.
        seg: the segmentation, whose segments volumes refer to; None without.
        segment_of: value of the mask to segment of ``seg``, of those that the mask holds.
    """
    algorithm = sr.AlgorithmIdentification(
        name=maker.name,
        version=maker.version,
        parameters=[f"{key}={value}" for key, value in maker.parameters.items()],
    )
    groups: list[Any] = []
    rest = list(figures)
    for label, number in (segment_of or {}).items():
        own = [each for each in figures if each.label == label and _number(each.value(report)) is not None]
        if seg is None or not own or source.picture:
            continue
        description = seg.get_segment_description(number)
        groups.append(
            sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(description.tracking_uid, description.tracking_id),
                referenced_segment=sr.ReferencedSegment(
                    seg.SOPClassUID,
                    seg.SOPInstanceUID,
                    number,
                    source_series=sr.SourceSeriesForSegmentation(source.instances[0].SeriesInstanceUID),
                ),
                finding_type=description.segmented_property_type,
                algorithm_id=algorithm,
                measurements=[_measurement(each, report) for each in own],
            )
        )
        rest = [each for each in rest if each not in own]
    numbers = [each for each in rest if each.unit is not None and _number(each.value(report)) is not None]
    words = [each for each in rest if each.unit is None and each.value(report) is not None]
    groups.append(
        sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(hd.UID(), "whole image"),
            finding_type=concept(None, "Automated assessment"),
            algorithm_id=algorithm,
            measurements=[_measurement(each, report) for each in numbers] or None,
            qualitative_evaluations=[_evaluation(each, report) for each in words]
            + [sr.QualitativeEvaluation(concept(None, "Use"), concept(None, "Research use only"))],
            source_images=[
                sr.SourceImageForMeasurementGroup(each.SOPClassUID, each.SOPInstanceUID)
                for each in source.instances[:_MOST_IMAGES]
            ],
        )
    )
    groups[-1][0].ContentSequence.extend(
        sr.TextContentItem(codes.DCM.Comment, text, sr.RelationshipTypeValues.CONTAINS) for text in remarks(report)
    )
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=maker.device_uid, name=maker.name, manufacturer_name=PROJECT, model_name=maker.network
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=sr.ObserverContext(codes.DCM.Device, device)),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion
        if str(source.instances[0].get("Modality")) == "CT"
        else concept(None, "Imaging procedure"),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about values of the source
        return sr.ComprehensiveSR(
            evidence=[*source.instances, *([] if seg is None else [seg])],
            content=content[0],
            is_complete=True,
            is_verified=False,
            **maker.common("measurements", 9002),
        )


def remarks(report: Mapping[str, Any]) -> list[str]:
    """What a reader of the report must know beside its figures: why it is doubtful or referred, and its notes."""
    return list(dict.fromkeys(map(str, [*key_figures.warnings(report), *report.get("notes", [])])))


def _measurement(figure: Figure, report: Mapping[str, Any]) -> sr.Measurement:
    value = _number(figure.value(report))
    assert value is not None
    unit = concept(UNITS[figure.unit or "number"], "unit")
    scaled = value * figure.factor
    return sr.Measurement(concept(figure.name, _words(figure)), float(f"{scaled:.6g}"), unit)


def _evaluation(figure: Figure, report: Mapping[str, Any]) -> sr.QualitativeEvaluation:
    found = figure.value(report)
    word = {True: "yes", False: "no"}.get(found, str(found)) if isinstance(found, bool) else str(found)
    return sr.QualitativeEvaluation(
        concept(figure.name, _words(figure)), concept((figure.values or {}).get(word), word)
    )


def _words(figure: Figure) -> str:
    return " ".join(str(part) for part in figure.key).replace("_", " ")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)
