"""Severity by way of the predicted mask: beside the mask, a class a slice and a case, a page a scan, a table of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipelines.errors import ConfigError
from pipelines.files import table
from pipelines.handlers import NOT_FOR_CARE, Finding
from pipelines.readers import CaseImage, read_label
from pipelines.tasks.lung_ct.case_page import draw_case_page
from pipelines.tasks.lung_ct.case_severity import case_severity, one_lung_slices
from pipelines.tasks.lung_ct.intensity import placed
from pipelines.tasks.lung_ct.severity import SeverityScale
from pipelines.tasks.lung_ct.severity_summary import read_severities, write_severity_summary
from pipelines.tasks.lung_ct.writers.masks import EXTENT, VOLUMES, LungMaskWriter
from pipelines.transforms.confidence import CERTAINTY, Certain

FORMATS = ("png", "pdf")
NOT_SEVERITY = "The extent of lesions on CT is not the clinical severity of a disease."
_COLUMNS = (
    "slice", "file_index", "lung_px", "lesion_px", "extent", "extent_low", "extent_high", "class", "borderline",
    "true_extent", "true_class",
)  # fmt: skip


class SeverityWriter(LungMaskWriter):
    """``LungMaskWriter``, and for each case its severity by the mask (``case_severity``).

    - ``NAME_report.json`` gets ``severity``; ``NAME_severity.csv`` is its slices as a table;
    - ``NAME_case_report.png`` or ``.pdf``, for volumes: a page with the worst slices, the extent along the scan,
      volumes and class;
    - ``severity.csv``: a row a case of all that lie in ``output_dir``, and where true masks are known
      ``severity_summary.md`` and ``.json`` with confusions, errors of the extent and the coverage of its interval, and
      plots of them. They are made anew each time the evaluator has run to its end.

    An item has the prediction, ``member_counts`` (``CountMembersd``) for the intervals, and, where it is known,
    ``label_file``, the path of the true mask, and ``patient``.

    Args:
        output_dir, provenance, key: as ``CaseWriter``.
        scale: classes and their thresholds.
        interval_width: of the extent's interval, in standard deviations of the members' extents, above 0. Where the
            weights have a measured interval (``MaskConfidence.extent``), that one is taken, and these three are not.
        interval_share: and in parts of the extent, 0 or more.
        interval_floor: and at least this (0..1), where any lesion is found.
        report_format: of the page.

    Raises:
        ConfigError: an unknown format, or a width that is not above 0.
    """

    def __init__(
        self,
        output_dir: str,
        scale: SeverityScale,
        interval_width: float = 2.0,
        interval_share: float = 0.0,
        interval_floor: float = 0.0,
        report_format: str = "png",
        provenance: Mapping[str, Any] | None = None,
        key: str = "pred",
    ) -> None:
        super().__init__(output_dir, provenance, key)
        if report_format not in FORMATS:
            raise ConfigError(f"report_format is {report_format!r}", how=f"choose one of {', '.join(FORMATS)}")
        if not (interval_width > 0 and interval_share >= 0 and 0 <= interval_floor <= 1):
            raise ConfigError(
                f"interval_width is {interval_width}, interval_share {interval_share}, interval_floor {interval_floor}",
                how="give standard deviations above 0, a part of the extent from 0, and an extent from 0 to 1",
            )
        self.scale = scale
        self.interval_width = interval_width
        self.interval_share = interval_share
        self.interval_floor = interval_floor
        self.report_format = report_format
        self._known: dict[str, dict[str, Any]] | None = None  # of all cases in the folder, once they have been read

    def summarise(self) -> None:
        if self._known is None:
            self._known = read_severities(self.output_dir, self.scale)
        write_severity_summary(self.output_dir, self.scale, self._known)

    def write(self, finding: Finding) -> dict[str, Path]:
        files = super().write(finding)
        if self._known is not None:
            self._known[finding.name] = finding.report["severity"]
        return files

    def find(self, name: str, case: CaseImage, item: Mapping[str, Any]) -> Finding:
        found = super().find(name, case, item)
        mask = case.axial(np.asarray(item[self.key].cpu())[0].astype(np.uint8))
        severity = self.severity(case, mask, item)
        figures = [EXTENT, {"key": "severity.class", "title": "class", "kind": "word"}, *VOLUMES]
        report = {**found.report, "severity": severity, "figures": figures}
        if report["doubt"]:  # a class would be believed
            for each in (severity, *(severity["slices"] if case.kind == "picture" else [])):
                each |= dict.fromkeys(("class", "extent", "extent_low", "extent_high", "borderline"))
                each["reason"] = report["doubt"]
        rows = [[each.get(column) for column in _COLUMNS] for each in severity["slices"]]
        files: dict[str, tuple[str, Callable[[IO[bytes]], object]]] = {
            "severity": ("severity.csv", lambda file: file.write(table(_COLUMNS, rows).encode()))
        }
        if case.kind == "volume":
            files["page"] = (
                f"case_report.{self.report_format}",
                lambda file: draw_case_page(
                    file, name, case.axial(case.array), mask, case.intensity, severity, _facts(report),
                    thresholds=self.scale.thresholds, footer=f"{NOT_SEVERITY} {NOT_FOR_CARE}",
                    file_format=self.report_format, aspect=_aspect(case),
                ),
            )  # fmt: skip
        return replace(found, report=report, files=files)

    def severity(self, case: CaseImage, mask: np.ndarray, item: Mapping[str, Any]) -> dict[str, Any]:
        """Severity of a case by its axial mask, with the truth where it is known."""
        counts = item.get("member_counts")
        members = None if counts is None else np.asarray(counts)
        spacing = None if case.spacing is None else case.spacing
        sure: Certain | None = item.get(CERTAINTY)
        known = None if sure is None or sure.confidence is None else sure.confidence.extent
        width, share, floor = self.interval_width, self.interval_share, self.interval_floor
        if known is not None:  # measured beats chosen
            width, share, floor = 0.0, known.factor, known.factor * known.floor
        found = case_severity(mask, self.scale, spacing=spacing, members=members, width=width, share=share, floor=floor)
        found["scale"] = {"names": list(self.scale.names), "thresholds": list(self.scale.thresholds)}
        if members is None or len(members) < 2:
            found["interval"] = None
        elif known is not None:
            found["interval"] = (
                f"{100 * share:.0f} % of the extent and {100 * floor:.1f} points: it held the truth in "
                f"{100 * known.covered:.0f} % of slices of {known.patients} patients left out"
            )
        else:
            found["interval"] = (
                f"{width:g} standard deviations of {len(members)} predictions, {100 * share:g} % of the extent, and "
                f"{100 * floor:g} points"
            )
        found["one_lung_slices"] = one_lung_slices(mask, placed(case)[0])
        for each, index in zip(found["slices"], case.slice_indices, strict=True):
            each["file_index"] = index
        if "label_file" in item:
            truth = case_severity(case.axial(read_label(item["label_file"], case)), self.scale, spacing=spacing)
            found["true"] = {key: truth[key] for key in ("class", "extent")} | {"patient": str(item["patient"])}
            for each, true in zip(found["slices"], truth["slices"], strict=True):
                each |= {"true_extent": true["extent"], "true_class": true["class"]}
        return found


def _aspect(case: CaseImage) -> float:
    return 1.0 if case.axial_spacing is None else case.axial_spacing[1] / case.axial_spacing[0]


def _facts(report: Mapping[str, Any]) -> dict[str, str]:
    slices = report["severity"]["slices"]
    rated = sum(each["extent"] is not None for each in slices)
    facts = {
        "lung with lesions": f"{report['lung_ml']:.0f} mL",
        "lesions": f"{report['lesion_ml']:.0f} mL",
        "slices with lesion": f"{sum(bool(each['extent']) for each in slices)} of {rated} rated",
        "borderline slices": str(sum(bool(each["borderline"]) for each in slices)),
        "input": Path(report["input"]).name,
        "voxels": " × ".join(map(str, report["shape"])),
        "spacing": " × ".join(f"{step:.2f}" for step in report["spacing_mm"]) + " mm",
        "network": str(report.get("network", "")),
        "weights": str(report.get("weights", "")),
    }
    if report["severity"]["one_lung_slices"]:
        facts["lung on one side"] = f"{len(report['severity']['one_lung_slices'])} slices"
    return facts
