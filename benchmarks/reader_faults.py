"""What MONAI's two DICOM readers and ours say of a series with a fault: the table of docs/reference/series-faults.md.

    python benchmarks/reader_faults.py            # prints the table
    python benchmarks/reader_faults.py --write    # puts it into the page
    python benchmarks/reader_faults.py --others DIR [--write]   # the page's second table: the loaders of other projects

DIR holds what is no part of this project's environment, and is looked at last:
`pip install --no-deps --target DIR lungmask more_itertools fill_voids fastremap TotalSegmentator dicom2nifti`.
What is missing there is left out, and said.

A phantom series of 20 slices (64 x 64, 2.0 mm apart) is spoilt in one way at a time and read as a folder. "Silent"
means that a volume came out and nothing was said: no exception, no warning, no line on stderr.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from nibabel import orientations

sys.path.insert(0, str(Path(__file__).resolve().parent))
from series_faults import FAULTS, READABLE, SLICES, SPACING, spoilt, write_good

from pipelines.errors import PipelinesError
from pipelines.readers import read_case

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "series-faults.md"
BEGIN, END = "<!-- faults -->\n", "\n<!-- end of faults -->"
OTHERS = "<!-- others -->\n", "\n<!-- end of others -->"
Volume = tuple[np.ndarray, np.ndarray]  # values, and the affine to RAS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    parser.add_argument(
        "--others", metavar="DIR", help="where lungmask and TotalSegmentator are, for a table of theirs"
    )
    args = parser.parse_args()
    begin, end = (BEGIN, END) if args.others is None else OTHERS
    made = table() if args.others is None else others(args.others)
    if args.write:
        text = PAGE.read_text(encoding="utf-8")
        head, rest = text.split(begin)
        PAGE.write_text(f"{head}{begin}{made}{end}{rest.split(end)[1]}", encoding="utf-8")
    else:
        print(made)


def table() -> str:
    lines = ["| fault | ITKReader | PydicomReader | ours |", "|---|---|---|---|"]
    with series() as (good, out):
        for fault in FAULTS:
            with spoilt(good, fault, out) as folder:
                theirs = [monai(name, folder, fault) for name in ("ITKReader", "PydicomReader")]
                lines.append(f"| {' | '.join([fault, *theirs, ours(folder)])} |")
    return "\n".join(lines)


def others(folder: str) -> str:
    """The table of the loaders that are in a folder, or in the environment."""
    sys.path.append(folder)
    loaders = {}
    for package, (needed, load, *behind_it) in _OTHERS.items():
        try:
            importlib.import_module(needed)
            behind = "".join(f", {each} {version(each)}" for each in behind_it)
            loaders[f"{package} {version(package)}{behind}"] = load
        except ImportError as error:
            sys.stderr.write(f"{package} is left out: {error}\n")
    lines = [f"| {' | '.join(['fault', *loaders])} |", "|---" * (len(loaders) + 1) + "|"]
    with series() as (good, out):
        for fault in FAULTS:
            with spoilt(good, fault, out) as spoilt_series:
                said = [_what_came(lambda load=load: load(spoilt_series), fault) for load in loaders.values()]
                lines.append(f"| {' | '.join([fault, *said])} |")
    return "\n".join(lines)


def _by_lungmask(folder: Path) -> Volume:
    import SimpleITK
    from lungmask.utils import load_input_image

    logging.getLogger("lungmask").setLevel(logging.WARNING)  # else it says what it looks at, whatever it finds
    image = load_input_image(str(folder), disable_tqdm=True)
    size, direction = image.GetDimension(), np.array(image.GetDirection()).reshape(image.GetDimension(), -1)
    affine = np.eye(4)
    affine[:size, :size] = direction * image.GetSpacing()
    affine[:size, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, np.diag([-1.0, -1, 1, 1]) @ affine  # LPS to RAS


def _by_totalsegmentator(folder: Path) -> Volume:
    import nibabel
    from totalsegmentator.dicom_io import dcm_to_nifti

    with tempfile.TemporaryDirectory() as made:
        dcm_to_nifti(folder, Path(made) / "converted_dcm.nii.gz")
        image = nibabel.load(Path(made) / "converted_dcm.nii.gz")
        return np.asarray(image.get_fdata()), np.asarray(image.affine)


_OTHERS = {
    "lungmask": ("lungmask.utils", _by_lungmask, "SimpleITK"),
    "TotalSegmentator": ("totalsegmentator.dicom_io", _by_totalsegmentator, "dicom2nifti"),
}


@contextmanager
def series() -> Iterator[tuple[Path, Path]]:
    """The good series, and a folder for spoilt ones."""
    with tempfile.TemporaryDirectory() as made:
        yield write_good(Path(made) / "good"), Path(made)


def ours(folder: Path) -> str:
    """The error's class, its sentence and the way out; or how it was read, and what was noted."""
    try:
        case = read_case(folder)
    except PipelinesError as error:
        where = "" if error.where in (None, str(folder)) else f"{Path(str(error.where)).name}: "
        return f"**{type(error).__name__}**: {where}{error.what}; {error.how}".replace("|", "\\|")
    noted = "".join(f"; note: {note}" for note in case.notes)
    return f"{_told((case.array, case.affine))}{noted}"


def monai(name: str, folder: Path, fault: str) -> str:
    """What came of one of MONAI's readers."""
    import monai.data

    reader: Any = getattr(monai.data, name)()

    def read() -> Volume:
        array, meta = reader.get_data(reader.read(str(folder)))
        return np.asarray(array), np.asarray(meta["affine"], dtype=float)

    return _what_came(read, fault)


def _what_came(read: Callable[[], Volume], fault: str) -> str:
    """How a loader's volume differs from the good one, and what it said; or its error."""
    logged: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = logged.append  # type: ignore[method-assign]
    with warnings.catch_warnings(record=True) as warned, _stderr() as said, _handling("lungmask", handler):
        warnings.simplefilter("always")
        try:
            volume = read()
        except (Exception, SystemExit) as error:
            return f"error: {type(error).__name__}"
    loud = [f"warns ({warned[0].category.__name__})"] if warned else ["a line on stderr"] if said else []
    loud += ["a line in its log"] if logged else []
    told = _told(volume)
    if told == "right" and fault in READABLE:
        return told
    told = told.replace("right", "read as if nothing were wrong")
    if fault == "gantry tilted by 20°":
        told = "tilt dropped"
    return f"{told}; {loud[0]}" if loud else f"{told}; **silent**"


@contextmanager
def _handling(name: str, handler: logging.Handler) -> Iterator[None]:
    """Hears what a logger says that writes to stdout."""
    logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger(name).removeHandler(handler)


@contextmanager
def _stderr() -> Iterator[list[str]]:
    """What C++ and Python write to stderr."""
    said: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said += file.read().decode(errors="replace").splitlines()


def _told(volume: Volume) -> str:
    """How a volume differs from that of the good series."""
    array, affine = volume
    right = _good()
    if array.ndim != 3:
        return f"an array of {' x '.join(map(str, array.shape))}"
    if np.allclose(affine, np.eye(4)):
        return f"{_slices(array)}identity affine"
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-6:
        return f"{_slices(array)}an affine that cannot be inverted"
    array, affine = _upright(array, affine)
    faults = []
    if array.shape[2] != SLICES:
        faults.append(f"{array.shape[2]} slices")
    spacing = float(np.linalg.norm(affine[:3, 2]))
    if abs(spacing - SPACING) > 1e-3:
        faults.append(f"spacing {spacing:.4g} mm")
    if not faults and not np.allclose(affine, right[1], atol=1e-2):
        faults.append("in another place or direction")
    if array.shape != right[0].shape:
        if array.shape[:2] != right[0].shape[:2]:
            faults.append(f"{array.shape[0]} x {array.shape[1]} pixels")
    elif (off := float(np.abs(array - right[0]).max())) > 1.5:
        same = {plane.tobytes() for plane in np.moveaxis(right[0], 2, 0).astype(np.int32)}
        here = {plane.tobytes() for plane in np.moveaxis(np.rint(array), 2, 0).astype(np.int32)}
        faults.append("slices in another order" if same == here else f"values up to {off:.0f} HU off")
    return ", ".join(faults) or "right"


def _upright(array: np.ndarray, affine: np.ndarray) -> Volume:
    """Axes turned to RAS, so that a reader may store them as it likes."""
    turn = orientations.io_orientation(affine)
    return orientations.apply_orientation(array, turn), affine @ orientations.inv_ornt_aff(turn, array.shape)


def _slices(array: np.ndarray) -> str:
    return "" if array.shape[2] == SLICES else f"{array.shape[2]} slices, "


def _good() -> Volume:
    if not _GOOD:
        with series() as (good, _):
            case = read_case(good)
            _GOOD.append(_upright(case.array, case.affine))
    return _GOOD[0]


_GOOD: list[Volume] = []

if __name__ == "__main__":
    main()
