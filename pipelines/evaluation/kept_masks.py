"""The label maps that an evaluation measured, kept beside its figures: whoever doubts a number can look."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence, Sized
from pathlib import Path
from typing import IO, Any, TypedDict

import nibabel as nib
import numpy as np
from ignite.engine import Engine
from monai.data import MetaTensor
from numpy.typing import NDArray
from PIL import Image

from pipelines.files import make_folder, safe_name, sweep_unfinished, text, write_file

FOLDER = "masks"  # of the evaluation's folder
INDEX, NAMES = "cases.json", "labels.json"  # in it
ENDINGS = (".png", ".nii.gz")
_LONGEST = 120  # letters of a file's name
_EFFORT = 4  # of gzip


class KeptMask(TypedDict):
    """One case of ``masks/cases.json``.

    ``image`` and ``label`` are absolute paths, null where the evaluator's items did not say them; ``mask`` is the name
    of a file beside ``cases.json``.
    """

    case: str
    image: str | None
    label: str | None
    mask: str


class MaskKeeper:
    """Writes ``masks/CASE.png`` or ``masks/CASE.nii.gz`` as cases come, and ``masks/cases.json`` once all are there.

    A picture's mask is an 8-bit PNG of label values, a volume's compressed NIfTI (uint8) with the affine of the
    original grid. ``cases.json`` lists them (``KeptMask``), and ``labels.json`` has the names of the values. While an
    evaluation runs, and where one broke off, there is no ``cases.json``.

    Args:
        output_dir: of the evaluation.
        most: masks are kept where there are at most so many cases; 0 keeps none.
        classes: names by value.
    """

    def __init__(self, output_dir: Path, most: int, classes: Mapping[int, str]) -> None:
        self.folder = output_dir / FOLDER
        self.most = most
        self.classes = {0: "background", **classes}
        self.wanted = most > 0
        self._written = 0

    def start(self, engine: Engine) -> None:
        """Begin anew; the masks of a data set that is known to be too large are not even written."""
        self._written = 0
        data = getattr(engine.state.dataloader, "dataset", None)
        self.wanted = self.most > 0 and not (isinstance(data, Sized) and len(data) > self.most)

    def add(self, case: str, mask: NDArray, affine: NDArray | None, image: Any, label: Any) -> KeptMask | None:
        """Write a case's mask, and say what was written; None where masks are not wanted.

        Args:
            mask: X x Y or X x Y x Z label map. affine: 4 x 4 to RAS millimetres; None for a picture.
            image, label: as the evaluator has them; their meta say where they were read.

        Raises:
            OutputError: it cannot be written.
        """
        if not self.wanted or self._written >= self.most:
            self.wanted = False
            return None
        values = np.asarray(mask).astype(np.uint8)
        picture = affine is None and (values.ndim == 2 or values.shape[2] == 1)
        name = f"{safe_name(case)}{ENDINGS[0 if picture else 1]}"
        make_folder(self.folder)
        (self.folder / INDEX).unlink(missing_ok=True)  # of an earlier evaluation, whose masks are being replaced
        if picture:
            plane = np.ascontiguousarray(values.reshape(values.shape[:2]).T)
            write_file(self.folder / name, lambda file: Image.fromarray(plane).save(file, "PNG", optimize=True))
        else:
            volume = nib.Nifti1Image(values, np.eye(4) if affine is None else affine)
            volume.header.set_xyzt_units("mm")
            content = gzip.compress(volume.to_bytes(), _EFFORT, mtime=0)
            write_file(self.folder / name, lambda file: file.write(content))
        self._written += 1
        return {"case": case, "image": _path(image), "label": _path(label), "mask": name}

    def finish(self, kept: Sequence[KeptMask], n_cases: int) -> str:
        """Write the lists, remove what is of no case of this evaluation, and say in a sentence what is kept.

        Args:
            kept: of all processes. n_cases: that were evaluated.

        Raises:
            OutputError: a file cannot be written or removed.
        """
        sweep_unfinished(self.folder)
        whole = len(kept) == n_cases <= self.most
        names = {each["mask"] for each in kept} if whole else set()
        for path in self.folder.glob("*"):
            if path.name in (INDEX, NAMES) or (path.name.endswith(ENDINGS) and path.name not in names):
                path.unlink(missing_ok=True)
        if not whole:
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()
            why = f"there are more than {self.most} cases" if self.most else "keep_masks is 0"
            return f"Predicted masks are not kept: {why}."
        ordered = sorted(kept, key=lambda each: each["case"])
        labels = {str(value): name for value, name in sorted(self.classes.items())}
        for file, content in ((NAMES, labels), (INDEX, ordered)):
            write_file(self.folder / file, text(json.dumps(content, indent=1) + "\n"))
        return f"Predicted masks are in {FOLDER}/, on the grid that was measured; {FOLDER}/{INDEX} lists them."


def pool_masks(evaluations: Sequence[Path], output_dir: Path) -> None:
    """Put the masks of several evaluations, as the folds of a cross-validation are, into the folder of one of them all.

    Nothing is put there where one of them kept none, or a case is in two of them.

    Args:
        evaluations: folders of evaluations of the same classes.
        output_dir: another folder; what lies in its ``masks/`` goes.

    Raises:
        OutputError: a file cannot be written.
    """
    target = output_dir / FOLDER
    for path in target.glob("*"):
        path.unlink(missing_ok=True)
    sources = [each / FOLDER for each in evaluations]
    if not sources or not all((source / INDEX).is_file() for source in sources):
        return
    lists = [json.loads((source / INDEX).read_text(encoding="utf-8")) for source in sources]
    pooled = [entry for entries in lists for entry in entries]
    if len({entry["mask"] for entry in pooled}) < len(pooled):
        return
    make_folder(target)
    for source, entries in zip(sources, lists, strict=True):
        for entry in entries:
            write_file(target / entry["mask"], _copy_of(source / entry["mask"]))
    write_file(target / NAMES, _copy_of(sources[0] / NAMES))
    ordered = sorted(pooled, key=lambda each: each["case"])
    write_file(target / INDEX, text(json.dumps(ordered, indent=1) + "\n"))


def _copy_of(path: Path) -> Callable[[IO[bytes]], object]:
    return lambda file: file.write(path.read_bytes())


def _path(loaded: Any) -> str | None:
    found = loaded.meta.get("filename_or_obj") if isinstance(loaded, MetaTensor) else None
    return str(Path(str(found)).absolute()) if found else None
