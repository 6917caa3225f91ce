"""How sure a bundle's masks are, held against true ones: measured case by case, and fitted."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import DatalistError, PipelinesError, UnreadableFileError, UsageError
from pipelines.evaluation.confidence_fit import LEAST_ITEMS, fit_curve, fit_extent, kept_and_good
from pipelines.files import make_folder, text, write_file
from pipelines.handlers.case_writer import Finding
from pipelines.prediction.model import Model
from pipelines.preparation.datalist import DATALIST, load_datalist
from pipelines.transforms import LoadLabeld
from pipelines.transforms.confidence import parts_of
from pipelines.transforms.mask_confidence import Curve, MaskConfidence
from pipelines.weights import weights_digest

logger = logging.getLogger(__name__)
MEASURED = "masks_measured.json"
GOOD = 0.7  # a mask is good whose Dice is above this
LEASTS = (0.5, 0.7, 0.9)  # of min_confidence, in the table
Say = Callable[[str], object]


@dataclass(frozen=True)
class Measured:
    """What masks were held against the truth.

    Attributes:
        network: an overlay's name.
        masks: of each label of each case whose mask is not empty: ``case``, ``patient``, ``label``, ``certainty``,
            ``dice``.
        parts: of each part: ``case``, ``patient``, ``certainty``, ``inside`` (the share of it that is true).
        extents: of each case that has one: ``case``, ``patient``, ``extent``, ``true``.
    """

    network: str
    masks: list[dict[str, Any]] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)
    extents: list[dict[str, Any]] = field(default_factory=list)

    def write(self, folder: Path) -> Path:
        """Write ``masks_measured.json`` into a folder, which is made; its path.

        Raises:
            OutputError: it cannot be written.
        """
        make_folder(folder)
        path = folder / MEASURED
        write_file(path, text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"))
        return path

    @classmethod
    def read(cls, places: Sequence[Path]) -> Measured:
        """What was measured in several folders, together.

        Raises:
            UnreadableFileError: one of them is missing or damaged.
            UsageError: they are of several networks.
        """
        found: list[Measured] = []
        for place in places:
            path = place / MEASURED if place.is_dir() else place
            try:
                found.append(cls(**json.loads(path.read_text(encoding="utf-8"))))
            except (OSError, ValueError, TypeError) as error:
                raise UnreadableFileError("what was measured cannot be read", where=path, how=str(error)) from error
        networks = sorted({each.network for each in found})
        if len(networks) != 1:
            raise UsageError(f"these were measured of several networks: {', '.join(networks)}")
        joined = cls(networks[0])
        for each in found:
            joined.masks.extend(each.masks)
            joined.parts.extend(each.parts)
            joined.extents.extend(each.extents)
        return joined


def measure(model: Model, network: str, items: Sequence[Mapping[str, Any]], say: Say) -> Measured:
    """Predict cases whose truth is known, none of which the weights may have been trained on.

    Args:
        model: of a segmentation.
        network: its overlay's name.
        items: of a datalist: ``image``, ``label``, ``case``, ``patient``.
        say: gets a line now and then.

    Raises:
        UsageError: the bundle says nothing of its masks' certainty.
        DatalistError: there are no cases.
    """
    if not items:
        raise DatalistError("there are no cases to measure", how="give a datalist with cases in that section")
    found = Measured(network)
    for number, item in enumerate(items, start=1):
        try:
            finding = model.find({"image": str(item["image"]), "case": str(item["case"])})
        except PipelinesError as error:
            say(f"left out: {error}")
            continue
        _hold(model, finding, item, found)
        if number % 50 == 0 or number == len(items):
            say(f"{number} of {len(items)} cases")
    return found


def refuse_seen(checkpoint: Path, items: Sequence[Mapping[str, Any]]) -> None:
    """Refuse patients that a fold's weights were trained on, as the fold's own datalist, ``data/`` beside them, says:
    cross-validation with extra training data trains on the fold's validation part too.

    Args:
        checkpoint: weights; without such a datalist beside them nothing is known, and nothing refused.
        items: to be measured: ``case``, ``patient``.

    Raises:
        DatalistError: the weights have seen some of them, or the datalist is damaged.
    """
    path = checkpoint.parent / "data" / DATALIST
    if not path.is_file():
        return
    seen = {str(item.get("patient", item["case"])) for item in load_datalist(path.parent)["training"]}
    known = [str(item["case"]) for item in items if str(item.get("patient", item["case"])) in seen]
    if known:
        raise DatalistError(
            f"the weights were trained on the patients of {len(known)} of these {len(items)} cases, {known[0]} for one",
            where=path, how="measure what they have not seen: --split test of the fold's own datalist",
        )  # fmt: skip


def _hold(model: Model, finding: Finding, item: Mapping[str, Any], found: Measured) -> None:
    report = finding.report
    if finding.mask is None or "confidence" not in report:
        how = "its inference.yaml must have MaskCertaintyd"
        raise UsageError("this bundle says nothing of its masks' certainty", where=model.bundle, how=how)
    mask = _array(finding.mask)
    loaded = model.workflow.preprocessing.transforms[0]({"image": str(item["image"])})
    label = LoadLabeld("label", values=tuple(range(256)))({**loaded, "label": str(item["label"])})["label"]
    truth = np.asarray(label)[0].reshape(mask.shape)
    about = {"case": str(item["case"]), "patient": str(item.get("patient", item["case"]))}
    values = {name: int(value) for value, name in report["labels"].items()}
    said = report["confidence"]
    for name, each in said["labels"].items():
        if each["certainty"] is not None:
            dice = _dice(mask == values[name], truth == values[name])
            found.masks.append({**about, "label": name, "certainty": each["certainty"], "dice": dice})
    own = values[said["parts_of"]]
    for part, row in zip(parts_of(mask, own, np.zeros_like(mask)), said["parts"], strict=True):
        box, within = part.where
        inside = float((truth[box] == own)[within].mean())
        found.parts.append({**about, "certainty": row["certainty"], "inside": round(inside, 4)})
    true = model.writer.extent_of(truth)
    if report.get("extent") is not None and true is not None:
        found.extents.append({**about, "extent": float(report["extent"]), "true": true})


def fit(measured: Measured, weights: Path, note: str) -> tuple[MaskConfidence, list[list[str]]]:
    """What certainties mean, and the rows of a table (``HEAD``) about it.

    Args:
        measured: of cases that the weights, or the folds' like them, were not trained on.
        weights: that the file is for.
        note: what it was measured on.

    Raises:
        DatalistError: there is too little to fit on.
        UnreadableFileError, WeightsError: the weights cannot be read.
    """
    curves: dict[str, Curve] = {}
    rows: list[list[str]] = []
    for name in dict.fromkeys(str(each["label"]) for each in measured.masks):
        own = [each for each in measured.masks if each["label"] == name]
        good = np.array([each["dice"] > GOOD for each in own])
        curves[name], unseen = _curve(own, good)
        rows.append(_row(f"{name}: Dice above {GOOD:g}", curves[name], unseen, good))
    if not curves:
        raise DatalistError("no mask was found in these cases", how="give cases that have something to find")
    parts = None
    if len(measured.parts) >= LEAST_ITEMS:
        right = np.array([each["inside"] >= 0.5 for each in measured.parts])
        parts, unseen = _curve(measured.parts, right)
        rows.append(_row("a part: half of it or more is true", parts, unseen, right))
    extent = None
    if measured.extents:
        said, true, whose = ([each[key] for each in measured.extents] for key in ("extent", "true", "patient"))
        try:
            extent = fit_extent(said, true, whose)
        except DatalistError as error:  # the masks' confidence is known all the same
            logger.warning("no interval of the extent: %s", error)
    return MaskConfidence(weights_digest(weights), GOOD, curves, parts, extent, note), rows


HEAD = ["what", "number", "patients", "good", "calibration error", "AUC", "Brier"]
HEAD += [f"from {100 * least:g} %: kept, good of these" for least in LEASTS]


def said_of_extent(known: MaskConfidence) -> str:
    """A sentence on the interval of the extent; nothing where there is none."""
    if known.extent is None:
        return ""
    one = known.extent
    return (
        f"The extent's interval reaches {one.factor:.2f} times (extent + {100 * one.floor:g} points) to each side: made"
        f" to hold the truth in {100 * one.coverage:g} %, it held it in {100 * one.covered:.1f} % of {one.items} slices"
        f" of {one.patients} patients, each left out in turn and counting the same; median width"
        f" {100 * one.width:.1f} points."
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """The rows, as Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|" + "---:|" * (len(HEAD) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _curve(items: Sequence[Mapping[str, Any]], good: NDArray[np.bool_]) -> tuple[Curve, NDArray[np.float64]]:
    return fit_curve([each["certainty"] for each in items], good, [each["patient"] for each in items])


def _row(what: str, curve: Curve, unseen: NDArray[np.float64], good: NDArray[np.bool_]) -> list[str]:
    cells = [f"{curve.items}", f"{curve.patients}", f"{100 * curve.share:.1f} %", f"{curve.ece:.3f}"]
    cells += ["–" if curve.auc is None else f"{curve.auc:.3f}", f"{curve.brier:.3f}"]
    for least in LEASTS:
        kept, right = kept_and_good(unseen, good, least)
        cells.append(f"{100 * kept:.0f} %, " + ("–" if np.isnan(right) else f"{100 * right:.1f} %"))
    return [what, *cells]


def _array(mask: Any) -> NDArray[np.uint8]:
    """(X, Y, Z), or (W, H) of a picture."""
    values = np.asarray(mask.dataobj) if isinstance(mask, nib.Nifti1Image) else np.asarray(mask).T
    return values.astype(np.uint8)


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))
