"""Adds to each finding of an evaluator what is written of it as DICOM, where its input was DICOM."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from ignite.engine import Engine
from numpy.typing import NDArray
from PIL import Image

from pipelines.dicom_writing.codes import OWN_SCHEME
from pipelines.dicom_writing.maker import Maker, Write, writer
from pipelines.dicom_writing.measurement_report import Figure, figures_of, measurement_report
from pipelines.dicom_writing.preview import preview
from pipelines.dicom_writing.segmentation import check_codes, on_source_grid, segment_numbers, segmentation, type_of
from pipelines.errors import PipelinesError
from pipelines.handlers.case_writer import Finding, FindingEvents
from pipelines.readers.dicom_source import DicomSource, read_source

logger = logging.getLogger(__name__)


class DicomResults:
    """Adds ``NAME_seg.dcm``, ``NAME_sr.dcm`` and ``NAME_preview.dcm`` to what a ``CaseWriter`` found in DICOM.

    A segmentation where there is a mask with anything in it, a report of TID 1500, and a secondary capture where there
    is an overlay. Study, patient and frame of reference are the source's; series and instances are new. An input that
    was no DICOM gets none, and its report's notes say so; so do they where an object cannot be made of what the source
    says.

    Args:
        bundle: its folder: name and version are the algorithm's.
        network, checkpoint: whose name and digest are told.
        label_names: value of the mask to name; not needed of a classifier.
        segments: of a label value: ``type``, ``category``, ``anatomy`` (``segmentation``).
        figures: of the report: ``key``, ``name``, ``unit``, ``factor``, ``label``, ``values`` (``Figure``). What
            ``MaskWriter`` measures and ``PictureClassWriter`` says is told without.
        segmentation_type: BINARY or LABELMAP; viewers that show the latter are few.

    Raises:
        ConfigError: another type, a figure that has no key, or a code that is none.
    """

    def __init__(
        self,
        bundle: str,
        network: str = "",
        checkpoint: str | None = None,
        label_names: Mapping[Any, str] | None = None,
        segments: Mapping[Any, Mapping[str, Any]] | None = None,
        figures: Sequence[Mapping[str, Any]] = (),
        segmentation_type: str = "BINARY",
    ) -> None:
        self.kind = type_of(segmentation_type)
        self.bundle, self.network, self.checkpoint = Path(bundle), network, checkpoint
        self.names = {int(value): str(name) for value, name in (label_names or {}).items()}
        self.segments = {int(value): given for value, given in (segments or {}).items()}
        self.figures = figures_of(figures)
        check_codes(self.segments)
        self._maker: Maker | None = None

    def attach(self, engine: Engine) -> None:
        engine.register_events(*FindingEvents)
        engine.add_event_handler(FindingEvents.FOUND, self)

    def __call__(self, engine: Engine) -> None:
        state: Any = engine.state
        state.finding = self.extended(state.finding, state.finding_path)

    def extended(self, finding: Finding, path: Path) -> Finding:
        """A finding with its DICOM files, or with a note that says why there are none."""
        files: dict[str, tuple[str, Write]] = {}
        source = read_source(path)
        if source is None:
            notes = ["no DICOM was written: the input is none"]
        elif source.lacks:
            notes = [f"no DICOM was written: the source has no {' and no '.join(source.lacks)}"]
            logger.warning("%s: %s", finding.name, notes[0])
        else:
            try:
                files, notes = self._objects(finding, source)
            except Exception as error:  # highdicom raises nearly anything on what a source says
                # in words that may quote the source, so that only those of ours are told
                why = error.what if isinstance(error, PipelinesError) else type(error).__name__
                files, notes = {}, [f"no DICOM was written: the source does not allow it ({why})"]
                logger.warning("%s: %s", finding.name, notes[0])
                logger.debug("no DICOM", exc_info=error)
            spoilt = "is not well-formed in the source, and empty in what is written"
            notes += [f"{keyword} {spoilt}" for keyword in source.emptied]
        report = {**finding.report, "notes": [*finding.report.get("notes", []), *notes]}
        return replace(finding, report=report, files={**finding.files, **files})

    def _objects(self, finding: Finding, source: DicomSource) -> tuple[dict[str, tuple[str, Write]], list[str]]:
        maker = self._maker = self._maker or Maker.of(self.bundle, self.network, self.checkpoint)
        files: dict[str, tuple[str, Write]] = {}
        notes: list[str] = []
        seg, held = None, {}
        if finding.mask is not None:
            values = _values(finding.mask, source)
            if values.any():
                seg = segmentation(values, source, self.names, self.segments, maker, self.kind)
                held = {value: n for value, n in segment_numbers(self.names).items() if (values == value).any()}
                files["seg"] = ("seg.dcm", writer(seg))
            else:
                notes.append("no DICOM SEG was written: nothing was found, and viewers do not show an empty one")
        figures = [*self.figures, *usual_figures(finding.report, self.names)]
        report = measurement_report(finding.report, figures, source, maker, seg, held)
        files["sr"] = ("sr.dcm", writer(report))
        if (draw := finding.draw) is not None:
            common = maker.common("preview", 9003)
            files["preview"] = ("preview.dcm", lambda file: writer(preview(draw, source, maker, common))(file))
        return files, notes


def _values(mask: nib.Nifti1Image | Image.Image, source: DicomSource) -> NDArray[np.uint8]:
    """Of a volume (columns, rows, slices), of a picture (rows, columns)."""
    if isinstance(mask, nib.Nifti1Image):
        assert mask.affine is not None
        return on_source_grid(np.asarray(mask.dataobj), mask.affine, source)
    return np.asarray(mask).astype(np.uint8)


def usual_figures(report: Mapping[str, Any], names: Mapping[int, str]) -> list[Figure]:
    """What ``MaskWriter`` measures of each label, how probable it is that its mask is good, and the probabilities and
    threshold of a classifier."""
    found = []
    for value, name in names.items():
        if isinstance(report.get("volumes"), Mapping) and name in report["volumes"]:
            found.append(Figure(("volumes", name, "ml"), ("118565006", "SCT", "Volume"), "mL", label=value))
            found.append(Figure(("volumes", name, "share"), None, "percent", 100.0))
        if isinstance(report.get("confidence"), Mapping) and report["confidence"].get("of"):
            what = ("GOOD_MASK", OWN_SCHEME, f"Probability: the mask has a {report['confidence']['of']}")
            found.append(Figure(("confidence", "labels", name, "probability"), what, "number", label=value))
    if isinstance(report.get("probabilities"), Mapping):
        found += [Figure(("probabilities", name), None, "number") for name in report["probabilities"]]
        found += [Figure(("operating_point", "threshold"), None, "number")]
    return [*found, *([Figure(("refer",))] if "refer" in report else [])]
