"""Writes what a slice classifier found: a class a slice with its probabilities, a picture to look at, a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ConfigError
from pipelines.evaluation.class_pictures import SlicePicture, draw_slices
from pipelines.files import table
from pipelines.handlers import NOT_FOR_CARE, CaseWriter, Finding
from pipelines.readers import CaseImage
from pipelines.readers.burned_in import notes_of
from pipelines.tasks.lung_ct.intensity import placed
from pipelines.tasks.lung_ct.lungs import aerated_share
from pipelines.tasks.lung_ct.severity import LUNG_FLOOR_SHARE, SeverityScale
from pipelines.transforms import TemperatureScaled

SHOWN = 12  # slices of a volume in its picture
_NO_LUNG = "too little aerated lung: none is in view, or all of it is opaque"


class SliceClassWriter(CaseWriter):
    """For each case of an evaluator: ``NAME_report.json``, ``NAME_slices.csv`` and ``NAME_overlay.png``.

    The prediction is (classes, Z) probabilities, slices from the feet to the head. A slice is *referred* to a person
    where its highest probability is below ``refer_below``, and where it shows too little aerated lung, in which case it
    gets no class. A volume is of the first class while no more than ``tolerance`` of its lung area lies in slices of
    another: what a classifier gets wrong adds up over the slices of a scan. Else its class is the severity scale's for
    the mean over its slices, weighted by lung area, of an extent that is typical of their class. It is referred where a
    third of that area lies in referred slices, or where the tolerance decided. The area of a slice is at least that
    between the larger ones below and above it, so that diseased lung, which grey values do not find, has its weight.
    See ``CaseWriter``.

    Args:
        output_dir, provenance, key: as ``CaseWriter``.
        names: of the classes, from the least to the most severe.
        thresholds: extents (0..1) at which the second, third … class begin.
        typical_extents: of a slice of each class, 0..1.
        tolerance: 0..1; 0 for none.
        refer_below: 0..1.
        checkpoint: the weights, for the temperature in the report; it has been applied before.

    Raises:
        ConfigError: lengths that do not go together, a value out of its range, or an extent that is not of its class.
        WeightsError: while running, where the weights were trained for other classes.
    """

    REFERRED_PART = 1 / 3

    def __init__(
        self,
        output_dir: str,
        names: Sequence[str],
        thresholds: Sequence[float],
        typical_extents: Sequence[float],
        tolerance: float = 0.25,
        refer_below: float = 0.6,
        checkpoint: str | None = None,
        provenance: Mapping[str, Any] | None = None,
        key: str = "pred",
    ) -> None:
        super().__init__(output_dir, provenance, key)
        self.scale = SeverityScale(tuple(names), tuple(thresholds))
        self.typical = np.asarray(typical_extents, dtype=float)
        if self.typical.shape != (len(self.scale.names),) or not ((self.typical >= 0) & (self.typical <= 1)).all():
            raise ConfigError(f"typical_extents {list(typical_extents)} must be one of 0..1 a class")
        if [self.scale.index(extent) for extent in self.typical] != list(range(len(self.typical))):
            raise ConfigError(
                f"typical_extents {list(typical_extents)} are not typical: {self.scale}",
                how="give --typical_extents one within each class",
            )
        for name, value in (("refer_below", refer_below), ("tolerance", tolerance)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value}", how="give a part from 0 to 1")
        self.tolerance = tolerance
        self.refer_below = refer_below
        self.calibration = TemperatureScaled(key, checkpoint)

    def check_weights(self) -> None:
        """Hold the calibration against the weights, and the classes against those that they were trained for.

        Raises:
            UnreadableFileError, WeightsError: see ``TemperatureScaled``.
        """
        self.calibration.require(self.scale.names, self.scale.thresholds)

    def find(self, name: str, case: CaseImage, item: Mapping[str, Any]) -> Finding:
        self.check_weights()
        probabilities = np.asarray(item[self.key].cpu(), dtype=float).reshape(len(self.scale.names), -1).T
        scaled, window = placed(case)
        if len(probabilities) != scaled.shape[2]:
            raise ValueError(f"{len(probabilities)} slices are predicted, the case has {scaled.shape[2]}")
        lung = aerated_share(scaled)
        slices = [self._slice(z, row, lung[z]) for z, row in enumerate(probabilities)]
        summary = self._summary(slices, probabilities, lung)
        if window.doubtful:
            summary |= {"refer": True, "reason": "; ".join(filter(None, [summary["reason"], window.note]))}
        report = {
            **self.about(case),
            **summary,
            "rule": str(self.scale),
            "refer_below": self.refer_below,
            "temperature": round(self.calibration.temperature, 4),
            "slices": slices,
            "figures": [{"key": "class", "title": "class", "kind": "word"}],
            "notes": [*notes_of(case), *([window.note] if window.note else [])],
            **self.provenance,
            "use": NOT_FOR_CARE,
        }
        return Finding(
            name,
            report,
            draw=lambda file: draw_slices(_pictures(scaled, slices), file, columns=4),
            files={"slices": ("slices.csv", lambda file: file.write(self._table(slices).encode()))},
        )

    def _slice(self, z: int, row: NDArray, lung: float) -> dict[str, Any]:
        rated = lung >= LUNG_FLOOR_SHARE
        reason = _NO_LUNG if not rated else None
        if rated and row.max() < self.refer_below:
            reason = f"the highest probability is below {self.refer_below:g}"
        return {
            "slice": z,
            "class": self.scale.names[int(row.argmax())] if rated else None,
            "probabilities": {n: round(float(p), 6) for n, p in zip(self.scale.names, row, strict=True)},
            "refer": reason is not None,
            "reason": reason,
        }

    def _summary(self, slices: Sequence[dict[str, Any]], probabilities: NDArray, lung: NDArray) -> dict[str, Any]:
        """The case as a whole: the one slice of a picture, or a volume's slices weighed by their lung."""
        if len(slices) == 1:
            (only,) = slices
            return {key: only[key] for key in ("class", "probabilities", "refer", "reason")}
        rated = np.array([each["class"] is not None for each in slices])
        number = {name: sum(each["class"] == name for each in slices) for name in self.scale.names}
        counted = {"slices_by_class": {**number, "unrated": int((~rated).sum())}}
        if not rated.any():
            return {"class": None, "probabilities": None, "refer": True, "reason": _NO_LUNG, **counted}
        shares = np.where(rated, lung, 0)
        area = np.minimum(np.maximum.accumulate(shares), np.maximum.accumulate(shares[::-1])[::-1])
        referred = float(area[[each["refer"] for each in slices]].sum() / area.sum())
        weight = area * rated / (area * rated).sum()
        predicted = probabilities.argmax(axis=1)
        ill = float(weight[predicted > 0].sum())
        extent = float((weight * self.typical[predicted]).sum())
        reasons = []
        if referred > self.REFERRED_PART:
            reasons.append(f"{100 * referred:.0f} % of the lung is in slices that are referred")
        if 0 < ill <= self.tolerance:
            reasons.append(f"{100 * ill:.0f} % of the lung is in slices that are not {self.scale.names[0]}")
        return {
            "class": self.scale.names[0] if ill <= self.tolerance else self.scale.name(min(extent, 1.0)),
            "probabilities": {
                name: round(float((weight * probabilities[:, k]).sum()), 6) for k, name in enumerate(self.scale.names)
            },
            "refer": bool(reasons),
            "reason": "; ".join(reasons) or None,
            **counted,
        }

    def _table(self, slices: Sequence[dict[str, Any]]) -> str:
        head = ["slice", "class", "refer", *(f"p_{name}" for name in self.scale.names)]
        return table(
            head, ((s["slice"], s["class"], int(s["refer"]), *map(float, s["probabilities"].values())) for s in slices)
        )


def _pictures(scaled: NDArray[np.float32], slices: Sequence[dict[str, Any]]) -> list[SlicePicture]:
    rated = [each for each in slices if each["class"] is not None] or list(slices)
    chosen = np.unique(np.linspace(0, len(rated) - 1, min(SHOWN, len(rated))).round().astype(int))
    pictures = []
    for index in chosen:
        each = rated[index]
        best = max(each["probabilities"].values())
        words = f"{each['class'] or 'not rated'}{f' {best:.2f}' if each['class'] else ''}"
        title = f"slice {each['slice']}: {words}{', refer' if each['refer'] else ''}"
        pictures.append(SlicePicture(title, (scaled[:, :, each["slice"]] * 255).astype(np.uint8).T))
    return pictures
