"""What every writer of predictions does: a finding a case, and a few files of it, all of them or none."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

import nibabel as nib
import numpy as np
from ignite.engine import Engine, EventEnum, Events
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import OutputError
from pipelines.readers import CaseImage, read_case
from pipelines.readers.shown_path import shown_path
from pipelines.transforms.confidence import CERTAINTY, PARTS, confidence_report
from pipelines.transforms.looks import LIKENESS, said

logger = logging.getLogger(__name__)

WRITING = ".writing-"  # begins the name of a folder whose files are not all there yet
NOT_FOR_CARE = "Research use only: not a medical device, not for diagnosis or treatment."


@dataclass(frozen=True, eq=False)
class Finding:
    """What was found of one case, before anything of it is on disk.

    Attributes:
        name: of the case; its files are called after it.
        report: what ``NAME_report.json`` holds.
        mask: label values on the input's own grid: NIfTI (uint8) for a volume, an 8-bit grey picture for a picture;
            None of a classifier.
        draw: writes the overlay as PNG; None where there is none.
        files: further files: kind -> (ending behind ``NAME_``, what writes one).
    """

    name: str
    report: Mapping[str, Any]
    mask: nib.Nifti1Image | Image.Image | None = None
    draw: Callable[[IO[bytes]], object] | None = None
    files: Mapping[str, tuple[str, Callable[[IO[bytes]], object]]] = field(default_factory=dict)

    def write(self, folder: Path) -> dict[str, Path]:
        """Write mask, overlay, report and further files into a folder; their paths by kind.

        Raises:
            OSError: they cannot be written.
        """
        paths: dict[str, Path] = {}
        (folder / self.name).parent.mkdir(parents=True, exist_ok=True)
        if self.mask is not None:
            picture = isinstance(self.mask, Image.Image)
            paths["mask"] = folder / f"{self.name}_mask{'.png' if picture else '.nii.gz'}"
            if isinstance(self.mask, Image.Image):
                self.mask.save(paths["mask"])
            else:
                nib.save(self.mask, paths["mask"])
        drawn = {} if self.draw is None else {"overlay": ("overlay.png", self.draw)}
        for kind, (ending, write) in {**drawn, **self.files}.items():
            paths[kind] = folder / f"{self.name}_{ending}"
            with paths[kind].open("wb") as file:
                write(file)
        paths["report"] = folder / f"{self.name}_report.json"
        text = json.dumps(self.report, indent=2, ensure_ascii=False) + "\n"
        paths["report"].write_text(text, "utf-8", "backslashreplace")
        return paths


class FindingEvents(EventEnum):
    """``FOUND``: ``engine.state.finding`` is what was found of the case at ``engine.state.finding_path``, nothing of
    it on disk yet; a handler may put another one in its place, with further files."""

    FOUND = "finding_found"


class CaseWriter(ABC):
    """Base of the handlers that write what inference found of each case of an evaluator.

    A subclass says in ``find`` what was found of a case. Its files appear together or not at all; ``written`` lists
    them by case and kind, of which ``report`` is always one.

    Attributes:
        given: images that are in memory and not on disk, by case.
        taker: where set, gets the findings, and nothing is written.

    Args:
        output_dir: made if missing.
        provenance: entries for the report (network, weights).
        key: of the prediction in the engine's output.

    Raises:
        OutputError: while running, where the folder cannot be written.
    """

    def __init__(self, output_dir: str, provenance: Mapping[str, Any] | None = None, key: str = "pred") -> None:
        self.output_dir = Path(output_dir)
        self.provenance = {k: _without_folder(v) for k, v in (provenance or {}).items()}
        self.key = key
        self.written: dict[str, dict[str, Path]] = {}
        self.given: dict[str, Any] = {}
        self.taker: Callable[[Finding], object] | None = None

    def attach(self, engine: Engine) -> None:
        engine.register_events(*FindingEvents)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._completed)

    def __call__(self, engine: Engine) -> None:
        batch, outputs = cast(list, engine.state.batch), cast(list, engine.state.output)
        for item, output in zip(batch, outputs, strict=True):
            path = Path(item["image"].meta["filename_or_obj"])
            name = str(item.get("case") or path.name.split(".")[0])
            image = item.pop("image")
            likeness = (image.meta[LIKENESS], said(image)) if LIKENESS in image.meta else None
            del image  # the preprocessed copy of a long volume is large
            output.pop("image", None)  # and the evaluator gives it once more
            case = self.given[name] if name in self.given else self.read(path)
            found = self.find(name, case, {**item, **output})
            found = replace(found, report=_with_confidence(found.report, output, output[self.key], case))
            if likeness is not None:
                found = replace(found, report=_with_likeness(found.report, *likeness))
            engine.state.finding = found  # type: ignore[attr-defined]
            engine.state.finding_path = path  # type: ignore[attr-defined]
            engine.fire_event(FindingEvents.FOUND)
            finding = engine.state.finding  # type: ignore[attr-defined]
            engine.state.finding = None  # type: ignore[attr-defined] # a long volume's mask is large
            if self.taker is not None:
                self.taker(finding)
            else:
                self.write(finding)
                logger.info("%s: %s", name, self.written[name]["report"])

    def _completed(self, engine: Engine) -> None:
        if self.taker is None:
            self.summarise()

    def check_weights(self) -> None:  # noqa: B027 - most writers have nothing to check
        """Hold what lies beside the weights against them, before the first case; a subclass says what that is."""

    def read(self, path: Path) -> Any:
        """The input as it is on disk: ``read_case``, where a subclass does not read another kind of image."""
        return read_case(path)

    def write_case(self, name: str, case: Any, item: Mapping[str, Any]) -> dict[str, Path]:
        """Write the files of one case.

        Args:
            name: of the case; files are called after it.
            case: the input, as ``read`` gives it.
            item: of the evaluator's batch and output.

        Returns:
            The files' paths by their kind.

        Raises:
            OutputError: they cannot be written.
        """
        return self.write(self.find(name, case, item))

    @abstractmethod
    def find(self, name: str, case: Any, item: Mapping[str, Any]) -> Finding:
        """What was found of a case (see ``write_case``)."""

    def write(self, finding: Finding) -> dict[str, Path]:
        """Write the files of a finding below ``output_dir``.

        Raises:
            OutputError: they cannot be written.
        """
        self.written[finding.name] = publish(self.output_dir, finding.write)
        return self.written[finding.name]

    def summarise(self) -> None:  # noqa: B027 - most writers have nothing to sum up
        """Write what is to be said of all cases together; a subclass says what that is."""

    def extent_of(self, mask: NDArray) -> float | None:
        """What a label map comes to as an extent (the report's ``extent``), 0..1; None where there is no such thing."""
        return None

    def about(self, case: CaseImage) -> dict[str, Any]:
        """What each report begins with: the input and its grid."""
        return {
            "input": shown_path(case.path),
            "kind": case.kind,
            "shape": list(case.array.shape),
            "spacing_mm": None if case.spacing is None else [round(float(s), 6) for s in case.spacing],
        }


def _with_likeness(report: Mapping[str, Any], unlike: float, found: str | None) -> dict[str, Any]:
    """A report that says how unlike training's images the case's is, and that it is doubtful where it is."""
    told = {**report, LIKENESS: round(unlike, 3)}
    if found is None:
        return told
    key = "reason" if "refer" in report else "doubt"
    told[key] = "; ".join(filter(None, [report.get(key), found]))
    return {**told, "refer": True} if "refer" in report else told


def _with_confidence(report: Mapping[str, Any], output: Mapping[str, Any], mask: Any, case: Any) -> Mapping[str, Any]:
    """A report that says how sure the mask is, where ``MaskCertaintyd`` was asked."""
    if CERTAINTY not in output:
        return report
    values, parts = (np.asarray(each.cpu()).astype(np.uint8) for each in (mask, output[PARTS]))  # float as inverted
    values = values[0] if values.ndim == parts.ndim else values
    volume = isinstance(case, CaseImage) and case.kind == "volume"
    said = confidence_report(output[CERTAINTY], values, parts[0], case.affine if volume else None, report.get("extent"))
    name = said["confidence"]["parts_of"]
    if "figures" in report and said["confidence"]["labels"][name].get("probability") is not None:
        shown = {"key": ["confidence", "labels", name, "probability"], "title": "confidence", "kind": "share"}
        report = {**report, "figures": [*report["figures"], shown]}
    place = list(report).index("figures") if "figures" in report else len(report)
    return {**dict(list(report.items())[:place]), **said, **dict(list(report.items())[place:])}


def publish(output_dir: Path, fill: Callable[[Path], dict[str, Path]]) -> dict[str, Path]:
    """Let ``fill`` write into a folder aside, then move what it wrote to ``output_dir``: all of it or none.

    Raises:
        OutputError: it cannot be written.
    """
    final: dict[str, Path] = {}
    moved: list[Path] = []
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output_dir, prefix=WRITING) as folder:
            files = fill(Path(folder))
            final = {kind: output_dir / file.relative_to(folder) for kind, file in files.items()}
            for kind, file in files.items():
                final[kind].parent.mkdir(parents=True, exist_ok=True)
                file.replace(final[kind])
                moved.append(final[kind])
    except OSError as error:
        for path in moved:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise OutputError(
            f"the prediction cannot be written ({error.strerror or error})",
            where=output_dir,
            how="give the scan, or the folder of the results, a shorter name"
            if error.errno == errno.ENAMETOOLONG
            else "free space or choose a folder you may write to",
        ) from error
    return final


def sweep_writing(output_dir: Path) -> None:
    """Remove what a process left in a folder that was killed within ``publish``. The caller holds the folder's lock."""
    for left in output_dir.glob(f"{WRITING}*"):
        shutil.rmtree(left, ignore_errors=True)


def _without_folder(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and os.sep in value else value
