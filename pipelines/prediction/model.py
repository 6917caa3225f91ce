"""A bundle's inference as something to call: an image in, what was found out, nothing on disk but what is asked for."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import IO, Any, overload

import nibabel as nib
import numpy as np
import pydicom
import torch
from monai.bundle import ConfigWorkflow
from monai.data import list_data_collate
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import SeriesError, UnreadableFileError, UsageError
from pipelines.handlers import CaseWriter, Finding, publish
from pipelines.prediction.batches import case_as_batch, give_back_after_network
from pipelines.prediction.opening import fault_behind, open_inference
from pipelines.prediction.running import running, runtime_network
from pipelines.preparation.cases import look_for_cases
from pipelines.readers import on_grid_of

Progress = Callable[[int, int], object]


@dataclass(frozen=True, eq=False)
class Result:
    """What a bundle found in one image.

    Attributes:
        name: of the case; files that ``save`` writes are called after it.
        report: what ``predict`` writes into ``NAME_report.json``.
        mask: uint8 label values, as the image that was given holds its voxels: (X, Y, Z) of a volume, (rows, columns)
            of a picture; None of a classifier.
        mask_image: the mask as an image on the input's grid, of the kind that was given where that is NIfTI, ITK or
            SimpleITK; else NIfTI for volumes and a PIL picture for pictures; None of a classifier.
        finding: what all of this is taken from.
    """

    name: str
    report: dict[str, Any]
    mask: NDArray[np.uint8] | None
    mask_image: Any
    finding: Finding = field(repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets what is written, and not the network that would draw it."""
        found = self.finding
        draw = None if found.draw is None else functools.partial(_emit, _drawn(found.draw))
        files = {
            kind: (ending, functools.partial(_emit, _drawn(write))) for kind, (ending, write) in found.files.items()
        }
        return Result, (self.name, self.report, self.mask, self.mask_image, replace(found, draw=draw, files=files))

    def overlay(self) -> Image.Image | None:
        """The picture that ``predict`` writes as ``NAME_overlay.png``; None where the bundle has none."""
        if self.finding.draw is None:
            return None
        return Image.open(io.BytesIO(_drawn(self.finding.draw)))

    def save(self, folder: str | os.PathLike[str]) -> dict[str, Path]:
        """Write the files that ``predict`` writes of a case; all of them or none.

        Returns:
            Their paths by kind: ``mask``, ``overlay``, ``report``, ….

        Raises:
            OutputError: they cannot be written.
        """
        return publish(Path(folder), self.finding.write)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case before the network.

    Attributes:
        item: ``image``, a path or what the bundle's reader made of one, and ``case``, its name.
        data: the bundle's preprocessing of it.
    """

    item: dict[str, Any]
    data: dict[str, Any]

    @property
    def flat(self) -> bool:
        """A picture, or a volume of one slice."""
        return self.data["image"].ndim < 4 or self.data["image"].shape[3] == 1


def _drawn(write: Callable[[IO[bytes]], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def _taking_turns(lock: AbstractContextManager[Any], write: Callable[[IO[bytes]], object], file: IO[bytes]) -> None:
    with lock:  # a class-activation picture runs the network
        write(file)


def _emit(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


class Model:
    """A bundle with its weights, ready to be called; ``pipelines.load_bundle`` makes one.

    It may be called from several threads: calls of one model take turns. Neither the random numbers of the caller nor
    anything else of the process is set.

    Args:
        bundle, network, overlays, overrides: as ``open_inference``.

    Attributes:
        bundle: its folder.
        cases: how many there are to do, where that is known: with ``runtime="auto"`` much to do is done by the fastest
            runtime, and little by eager.

    Raises:
        UsageError, ConfigError, WeightsError, UnreadableFileError: as ``open_inference``.
    """

    def __init__(
        self, bundle: Path, network: str | None = None, overlays: Sequence[str] = (), **overrides: Any
    ) -> None:
        self.bundle = bundle
        self.cases = 1
        self._lock = threading.RLock()
        # cases come one by one, and random numbers are the caller's
        own: dict[str, Any] = {"dataset#data": [{}], "initialize": []}
        with torch.random.fork_rng(devices=[]):  # a network is made with random weights first
            self._workflow = open_inference(bundle, network, overlays, more=own, **overrides)
            self._make_engine()

    @property
    def workflow(self) -> ConfigWorkflow:
        """MONAI's, parsed."""
        return self._workflow

    @property
    def writer(self) -> CaseWriter:
        """What says what was found, and writes it."""
        return next(handler for handler in self._workflow.handlers if isinstance(handler, CaseWriter))

    @overload
    def __call__(self, image: Sequence[pydicom.Dataset], *, name: str | None = None) -> Result: ...
    @overload
    def __call__(self, image: list[Any] | tuple[Any, ...]) -> Iterator[Result]: ...
    @overload
    def __call__(
        self,
        image: Any,
        *,
        name: str | None = None,
        affine: NDArray | None = None,
        spacing: Sequence[float] | None = None,
        progress: Progress | None = None,
    ) -> Result: ...

    def __call__(
        self,
        image: Any,
        *,
        name: str | None = None,
        affine: NDArray | None = None,
        spacing: Sequence[float] | None = None,
        progress: Progress | None = None,
    ) -> Result | Iterator[Result]:
        """What the bundle finds in an image, as ``predict`` would.

        Args:
            image: a path (file, DICOM series folder, archive of one case); nibabel's image; an ITK or SimpleITK image;
                a pydicom data set, or the list of a series'; a PIL picture; or an array, (X, Y, Z) in Hounsfield units
                or 0..255 with its affine, or (rows, columns[, 3]) for a picture. A list of images gives an iterator,
                which raises the fault of an image when it is its turn, and goes on behind it.
            name: of the case; default: the file's, or "image".
            affine: 4x4, voxel indices of an array to RAS millimetres.
            spacing: of an array's voxels in mm; where an affine is given too, the two must agree.
            progress: called with how many slices are done and how many there are.

        Raises:
            PipelinesError: of the kind that names the fault; UsageError where a bundle cannot look at such a thing.
        """
        if isinstance(image, (list, tuple)) and not (image and all(isinstance(e, pydicom.Dataset) for e in image)):
            named = f"{name or 'image'}_{{:03d}}".format
            call = functools.partial(self._numbered, affine=affine, spacing=spacing, named=named)
            return map(call, range(len(image)), image)
        name = None if name is None else _harmless(str(name))
        if isinstance(image, (str, os.PathLike)):
            if affine is not None or spacing is not None:
                raise UsageError("a file states its own grid", where=image, how="leave out affine and spacing")
            item = _only_case(Path(image))
            return self._result(self.find(item | ({"case": name} if name else {}), progress), image)
        loader = self._workflow.preprocessing.transforms[0]
        if not hasattr(loader, "take"):
            raise UsageError("this bundle reads files alone", where=self.bundle, how="give a path")
        taken = loader.take(image, affine=affine, spacing=spacing)
        return self._result(self.find({"image": taken, "case": name or "image"}, progress), image)

    def find(self, item: dict[str, Any], progress: Progress | None = None) -> Finding:
        """What was found of one case.

        Args:
            item: ``image``, a path or what the bundle's reader makes of one, and ``case``, its name.
            progress: called with how many slices are done and how many there are.

        Raises:
            PipelinesError: the fault that the image has; anything else that goes wrong as it is.
        """
        return self.compute(self.prepare(item), progress)

    def prepare(self, item: dict[str, Any]) -> Prepared:
        """Read a case and preprocess it: what comes before the network.

        Raises:
            PipelinesError: the fault that the image has; anything else that goes wrong as it is.
        """
        with self._lock:
            workflow = self._workflow
            if isinstance(item["image"], str) and hasattr(workflow.preprocessing.transforms[0], "take"):
                item = {**item, "image": self.writer.read(Path(item["image"]))}  # for the network and for the report
            try:
                # Preprocessed here and not by the evaluator's loader: a refused input must not leave the engine
                # half-way.
                data = workflow.preprocessing(item)
                if isinstance(data["image"], torch.Tensor):  # not a crop that holds on to the whole
                    data["image"] = data["image"].contiguous()
                return Prepared(item, data)
            except Exception as error:
                if (fault := fault_behind(error)) is not None and fault is not error:
                    raise fault from error
                raise

    def compute(self, prepared: Prepared, progress: Progress | None = None) -> Finding:
        """What the network finds of a case that is prepared, and all that comes behind it but writing.

        The case is used up: its image, which is large, is let go once the network has seen it.

        Raises:
            PipelinesError: the fault that the image has; anything else that goes wrong as it is.
        """
        found: list[Finding] = []
        item = prepared.item
        with self._lock:
            workflow, writer = self._workflow, self.writer
            workflow.dataset.data, workflow.dataset.transform = [prepared.data], _handed_over
            writer.taker = found.append
            if not isinstance(item["image"], str):
                writer.given[item["case"]] = item["image"]
            with contextlib.suppress(AttributeError):
                workflow.inferer.progress = progress
            try:
                with (
                    torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
                    running(workflow, prepared.data["image"], self.cases) as used,
                ):
                    workflow.evaluator.run()
            except BaseException as error:
                with torch.random.fork_rng(devices=[]):
                    workflow.initialize()  # a failed engine is not run again
                    self._make_engine()
                if (fault := fault_behind(error)) is not None and fault is not error:
                    raise fault from error
                raise
            finally:
                workflow.dataset.data = []
                writer.given.clear()
                writer.taker = None
            workflow.evaluator.state.batch = workflow.evaluator.state.output = None  # a long volume is large
            # a network that takes turns with whoever draws: a case is drawn while the next one is computed
            by_runtime = runtime_network(workflow)
        (finding,) = found
        drawing = functools.partial(_taking_turns, self._lock if by_runtime is None else by_runtime.lock)
        draw = functools.partial(drawing, finding.draw) if finding.draw else None
        files = {kind: (ending, functools.partial(drawing, write)) for kind, (ending, write) in finding.files.items()}
        fast = sorted(used - {"eager"})
        report = {**finding.report, "runtime": ", ".join(fast)} if fast else finding.report
        return replace(finding, report=report, draw=draw, files=files)

    def _make_engine(self) -> None:
        """The evaluator, made now and not within the first call; its loader draws from no one else's numbers."""
        if "dataloader" in self._workflow.parser:
            loader = self._workflow.parser.get_parsed_content("dataloader")
            loader.generator = torch.Generator()
            if getattr(loader, "collate_fn", None) is list_data_collate:
                loader.collate_fn = case_as_batch
        try:
            # for good: what turns modes for a while and back would turn them for others who run the network meanwhile
            evaluator = self._workflow.evaluator
            evaluator.network.eval()
            for handler in self._workflow.handlers:
                if hasattr(handler, "watch"):  # before a runtime is chosen: graphs are made of what is kept, too
                    handler.watch(evaluator.network)
            give_back_after_network(evaluator)
        except RuntimeError as error:  # MONAI's, of a fault within the config
            if (fault := fault_behind(error)) is not None:
                raise fault from None
            raise

    def _numbered(self, number: int, image: Any, named: Callable[[int], str], **grid: Any) -> Result:
        on_disk = isinstance(image, (str, os.PathLike))
        return self(image, name=None if on_disk else named(number), **({} if on_disk else grid))

    @staticmethod
    def _result(finding: Finding, image: Any) -> Result:
        mask = finding.mask
        if isinstance(mask, nib.Nifti1Image):
            values = np.asarray(mask.dataobj)
            return Result(finding.name, dict(finding.report), values, on_grid_of(image, mask), finding)
        flat = None if mask is None else np.asarray(mask)
        return Result(finding.name, dict(finding.report), flat, mask, finding)


def _harmless(name: str) -> str:
    """A name after which files can be called.

    Raises:
        UsageError: it leads out of the folder that they are saved to.
    """
    parts = PurePath(name).parts
    if not parts or PurePath(name).is_absolute() or ".." in parts or "\0" in name:
        raise UsageError(f"{name!r} cannot be the name of a case", how="give a word, or words with / between them")
    return name


def _only_case(path: Path) -> dict[str, Any]:
    items, passed = look_for_cases(path)
    faults = [each.fault for each in passed if each.fault is not None]
    if len(items) == 1:
        return items[0]
    if items:
        shown = ", ".join(str(item["image"]) for item in items[:3])
        raise SeriesError(f"there are {len(items)} cases here", where=path, how=f"give one of them, or a list: {shown}")
    raise faults[0] if faults else UnreadableFileError("there is no case here", where=path, how="give an image")


def _handed_over(item: dict[str, Any]) -> dict[str, Any]:
    """All of an item, which is empty then: whoever is done with the image is the last to hold it."""
    own = dict(item)
    item.clear()
    return own
