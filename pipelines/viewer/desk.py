"""What the server holds while it runs: the cases, the images that are open, and what was measured."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request

from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.predicted import lies_in
from pipelines.viewer import measures, thumbnails
from pipelines.viewer.cases import Case, Folder, Layer, read_folder
from pipelines.viewer.corrections import Corrections, version
from pipelines.viewer.images import Images, Shown, is_picture, open_mask, stamp
from pipelines.viewer.pairs import CORRECTED_LAYER, Entry, kept, pair

_Mark = tuple[Path, str, str]  # a mask, its version, and the image that it lies on
_MOST_MASKS = 2**30  # bytes of masks that are kept in memory
_MOST_PIXELS = 60_000_000  # of an overlay


class Desk:
    """Answers by numbers and keys; raises HTTPException for those that are not there.

    Args:
        folders: one or two.
        cache: an empty folder.
    """

    def __init__(self, folders: Sequence[Folder], cache: Path) -> None:
        self.folders: list[Folder] = list(folders)
        self.entries: list[Entry] = pair(folders)
        self._images = Images(cache)
        self._corrections = Corrections()
        self._masks: OrderedDict[_Mark, NDArray[np.uint8]] = OrderedDict()
        self._measured: dict[_Mark, dict[str, Any]] = {}
        self._thumbnails: dict[int, tuple[list[str], Image.Image]] = {}
        self._lock = threading.Lock()
        self._rereading = threading.Lock()

    def read_again(self) -> None:
        """Read the lists and reports anew: predict may have added cases. A folder that cannot be read just now stays as
        it was; each case keeps its number."""
        with self._rereading:
            try:
                folders = [read_folder(folder.path) for folder in self.folders]
            except PipelinesError:
                return
            self.folders, self.entries = folders, kept(self.entries, pair(folders))

    def number(self, request: Request) -> int:
        number = int(request.path_params["number"])
        if not 0 <= number < len(self.entries):
            raise HTTPException(404, "there is no such case")
        return number

    def entry(self, request: Request) -> Entry:
        return self.entries[self.number(request)]

    def image(self, entry: Entry) -> Shown:
        """The image of an entry; where the first folder's is gone, the second's."""
        given = [case for case in entry.cases if case is not None and case.image is not None]
        if not given:
            raise UnreadableFileError("no image is known", where=entry.first.name, how="predict it again")
        for case in given[:-1]:
            if case.image is not None and stamp(case.image):
                return self._images.open(case.image, case.kind)
        last = given[-1]
        assert last.image is not None
        return self._images.open(last.image, last.kind)

    def mask(self, entry: Entry, key: str) -> NDArray[np.uint8]:
        """A mask in the page's order."""
        path, labels = self._mask_file(entry, key)
        shown = self.image(entry)
        mark = path, version(path), shown.file.name
        with self._lock:
            if mark in self._masks:
                self._masks.move_to_end(mark)
                return self._masks[mark]
        mask = np.asfortranarray(open_mask(path, shown, labels))
        with self._lock:
            self._masks[mark] = mask
            while len(self._masks) > 1 and sum(each.nbytes for each in self._masks.values()) > _MOST_MASKS:
                self._masks.popitem(last=False)
        return mask

    def measures(self, entry: Entry, key: str) -> dict[str, Any]:
        """What `measure` says of a mask."""
        path, labels = self._mask_file(entry, key)
        shown = self.image(entry)
        mark = path, version(path), shown.file.name
        if mark not in self._measured:
            self._measured[mark] = measures.measure(self.mask(entry, key), labels, shown.spacing)
        return self._measured[mark]

    def comparison(self, entry: Entry, first: str, second: str) -> dict[str, Any]:
        """Dice and sizes of two masks, by label, and the extents of both."""
        a, b = self.mask(entry, first), self.mask(entry, second)
        one, two = self.measures(entry, first), self.measures(entry, second)
        values = {each["value"] for each in (*one["labels"], *two["labels"])}
        both = {value: _in_both(a, b, value) for value in values}
        extents = [one["extent"], two["extent"]]
        return {"labels": measures.agreement(one, two, both), "extents": extents}

    def difference(self, entry: Entry, first: str, second: str, value: int) -> NDArray[np.uint8]:
        """Where two masks have a label: see `differences`."""
        return measures.differences(self.mask(entry, first), self.mask(entry, second), value)

    def overlay(self, entry: Entry, side: int) -> Image.Image | None:
        """The overlay that the writer made of a side's case."""
        case = entry.cases[side] if side < len(entry.cases) else None
        if case is None or case.overlay is None or not lies_in(case.overlay, case.folder):
            return None
        return open_png(case.overlay)

    def thumbnail(self, number: int) -> Image.Image | None:
        """A small picture of a case for the list; None where there is nothing to show, or where a volume would have to
        be read for it that nobody has opened yet."""
        entry = self.entries[number]
        files = [path for case in entry.cases if case is not None for path in _drawn(case)]
        marks = [f"{path}\0{stamp(path)}" for path in files]
        known = self._thumbnails.get(number)
        if known is not None and known[0] == marks:
            return known[1]
        found = self._thumbnail(entry)
        if found is not None:
            self._thumbnails[number] = marks, found
        return found

    def read_ahead(self) -> None:
        """Open the case that the page begins with, while the browser starts; faults are told when it asks."""
        for entry in self.entries:
            if entry.first.status in ("done", "data"):
                with contextlib.suppress(PipelinesError, OSError):
                    self.image(entry)
                    for key, _, _ in entry.layers():
                        self.measures(entry, key)
                return

    def corrected_side(self, entry: Entry, key: str) -> int:
        """Which side's mask is saved under a key: ``0-corrected``, ``1-corrected``, or ``corrected`` where only one
        side has a mask that can be corrected.

        Raises:
            HTTPException: there is none, or the key does not say which.
        """
        sides = entry.correctable()
        if key == CORRECTED_LAYER:
            if len(sides) > 1:
                raise HTTPException(400, "both folders have a mask of this case: say which one was corrected")
            if not sides:
                raise HTTPException(404, entry.first.not_correctable or "there is no such mask")
            return sides[0]
        for side, case in enumerate(entry.cases):
            if key == f"{side}-{CORRECTED_LAYER}":
                if side not in sides:
                    why = None if case is None else case.not_correctable
                    raise HTTPException(404, why or "this folder does not have the case")
                return side
        raise HTTPException(404, "there is no such mask")

    def save(self, entry: Entry, number: int, side: int, mask: NDArray[np.uint8], base: str | None) -> dict[str, Any]:
        """Save the corrected mask of a side of ``corrected_side``; see `Corrections.save`."""
        case = entry.cases[side]
        assert case is not None
        saved = self._corrections.save(case, self.image(entry), mask, self._labels(entry, case), base)
        return {
            "corrected": saved.relative_to(case.folder).as_posix(),
            "key": f"{side}-{CORRECTED_LAYER}",
            "side": side,
            "version": version(saved),
            "number": number,
        }

    def _mask_file(self, entry: Entry, key: str) -> tuple[Path, dict[int, str]]:
        if key.endswith(CORRECTED_LAYER):
            for each, _, case, path in entry.corrections():
                if key in (each, CORRECTED_LAYER):
                    return path, self._labels(entry, case)
            raise HTTPException(404, "this case has no corrected mask")
        found = entry.layer(key)
        if found is None:
            raise HTTPException(404, "there is no such mask")
        case, layer = found
        return _still_there(case, layer), self._labels(entry, case)

    def _labels(self, entry: Entry, case: Case) -> dict[int, str]:
        """The labels of a case, or of its like in the other folder where it names none."""
        for each in (case, *entry.cases):
            if each is not None and each.labels:
                return dict(each.labels)
        return {0: "background", 1: "label 1", 2: "label 2", 3: "label 3"}

    def _thumbnail(self, entry: Entry) -> Image.Image | None:
        for side, case in enumerate(entry.cases):
            overlay = self.overlay(entry, side)
            if overlay is not None and case is not None:
                return thumbnails.from_overlay(overlay, case.report, _mask_inside(case))
        case = entry.first
        if case.image is None or case.status not in ("done", "data") or not stamp(case.image):
            return None
        if not is_picture(case.image, case.kind) and not self._images.is_open(case.image, case.kind):
            return None
        shown = self.image(entry)
        layers = entry.layers()
        mask = self.mask(entry, layers[0][0]) if layers else None
        return thumbnails.from_image(shown, mask)


def open_png(path: Path) -> Image.Image | None:
    """A PNG as RGB; None where it is none, or too large. What is sent is what was decoded, never the file."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("PNG",)) as picture:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
        return None


def _still_there(case: Case, layer: Layer) -> Path:
    if not (layer.path.is_file() if layer.outside else lies_in(layer.path, case.folder)):
        raise UnreadableFileError(
            "the mask is not there any more", where=layer.path, how="put it back, or predict again"
        )
    return layer.path


def _drawn(case: Case) -> list[Path]:
    """The files that a thumbnail is made from."""
    return [path for path in (case.overlay, case.image, *(layer.path for layer in case.layers)) if path is not None]


def _mask_inside(case: Case) -> Path | None:
    masks = [layer.path for layer in case.layers if lies_in(layer.path, case.folder)]
    return masks[0] if masks else None


def _in_both(first: NDArray[np.uint8], second: NDArray[np.uint8], value: int) -> int:
    return sum(
        int(np.count_nonzero((first[:, :, z] == value) & (second[:, :, z] == value))) for z in range(first.shape[2])
    )
