"""What TensorBoard shows of a training, written beside what MLflow records of it.

TensorBoard itself is imported here, and only here: by a training that is to write events.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.handlers import TensorBoardStatsHandler
from monai.utils import CommonKeys
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from pipelines.files import markdown_cell
from pipelines.inferers import VolumeSliceInferer
from pipelines.tracking.class_counts import ClassCounts, count_forward, count_voxels, strides, thinned, truth_on_grid
from pipelines.tracking.event_folders import events_of, fresh_folder, point_to
from pipelines.tracking.shown_cases import case_name, shown_case

logger = logging.getLogger(__name__)
ITERATIONS = "iterations"  # the folder of what is written each iteration: its steps are not epochs
TRAINING, VALIDATION = "training", "validation"  # what the names of scalars begin with
_BLANK = (64, 64)  # pixels
_CASES = 4  # that are shown of a validation
_VALUES = 1_000_000  # of a weight's, that are counted in its histogram


class TensorBoardEvents:
    """Writes one training's events, from its first epoch on; a fault of the writer is warned of once, and training goes
    on.

    - Scalars: by epoch all that MLflow has (``training/train_loss``, ``validation/val_…``), by iteration loss and
      learning rate (MONAI's TensorBoardStatsHandler). TensorBoard knows one step, and takes back by it what a resumed
      training does again, so that what is counted in iterations has a folder of its own, ``iterations``.
    - Images: the validation's first cases, with the outlines of label and prediction, or with the true and the
      predicted class. (MONAI's TensorBoardImageHandler shows image, label and prediction of one item apart, and can
      draw neither.)
    - Precision and recall of each class over all of validation, histograms of weights and of the last gradients each
      epoch, the network's graph, the parameters (text and HPARAMS).

    Of several processes only the first writes: its scalars are of all of them, pictures and curves of its own share.

    Args:
        root: trainings' folders are made here.
        ckpt_dir: the folder of the checkpoints; a resumed training goes on in the folder that is noted there.
        network: the network that is trained.
        evaluator: the engine that validates.
        label_names: of the labels' values, or of the classes.
        sample: what the network's graph is traced with; None: the first batch's first image.
    """

    def __init__(
        self,
        root: Path,
        *,
        ckpt_dir: Path | None = None,
        network: torch.nn.Module | None = None,
        evaluator: Engine | None = None,
        label_names: Mapping[int, str] | None = None,
        sample: torch.Tensor | None = None,
    ) -> None:
        self.root, self.ckpt_dir = root, ckpt_dir
        self.network = network.module if isinstance(network, torch.nn.parallel.DistributedDataParallel) else network
        self.evaluator = evaluator
        self.names = {int(value): str(name) for value, name in (label_names or {}).items()}
        self.folder: Path | None = None
        self._writer: SummaryWriter | None = None
        self._by_iteration: SummaryWriter | None = None
        self._described: tuple[Mapping[str, Any], Mapping[str, str]] | None = None  # until the first epoch starts
        self._goes_on = False
        self._undrawn = False  # the network's graph is still to be written
        self._sample = sample
        self._ended: Any = None
        self._drawn_epoch = -1
        self._looks = True
        self._forget_validation()

    def attach(self, trainer: Engine) -> None:
        """Listen to the trainer, and to its evaluator."""
        self._trainer = trainer
        trainer.add_event_handler(Events.EPOCH_STARTED, self._open)
        trainer.add_event_handler(Events.ITERATION_STARTED, self._keep_sample)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iterated)
        if self.evaluator is None:
            return
        self.evaluator.add_event_handler(Events.EPOCH_STARTED, lambda _: self._forget_validation())
        if IterationEvents.FORWARD_COMPLETED in self.evaluator._allowed_events:
            self.evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._count)
        self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._show)
        self.evaluator.add_event_handler(Events.COMPLETED, self._validated)
        inferer = getattr(self.evaluator, "inferer", None)
        if isinstance(inferer, VolumeSliceInferer):
            inferer.seen = self._count_slices

    def begin(self, name: str, params: Mapping[str, Any], texts: Mapping[str, str], *, resumed: bool) -> Path:
        """Choose the folder; it is made when the first epoch starts.

        Args:
            name: the run's. params: every knob. texts: shown as they are, by name. resumed: a checkpoint is gone on
                from: its training's events are too, where they are found.

        Returns:
            The folder.
        """
        earlier = events_of(self.ckpt_dir) if resumed else None
        self.folder = earlier or fresh_folder(self.root, name)
        self._goes_on = earlier is not None
        self._described = params, texts
        self._drawn_epoch = -1
        return self.folder

    def scalars(self, values: Mapping[str, float], epoch: int, group: str) -> None:
        """Numbers of an epoch; with those of ``TRAINING`` its histograms, and once the graph."""

        def write(writer: SummaryWriter) -> None:
            for name, value in values.items():
                writer.add_scalar(f"{group}/{name}", value, epoch)
            if group == TRAINING:
                self._histograms(writer, epoch)
                self._draw_graph(writer)
            writer.flush()

        self._write(write)

    def picture(self, name: str, picture: NDArray[np.uint8], epoch: int) -> None:
        """A grey picture, (rows, columns)."""
        self._write(lambda writer: writer.add_image(name, picture, epoch, dataformats="HW"))

    def close(self, *, finished: bool = False) -> None:
        """Write what waits, however the training ended."""
        if finished and self._ended is not None:
            self._write(lambda writer: writer._get_file_writer().add_summary(self._ended))
        for each in filter(None, (self._writer, self._by_iteration)):
            with contextlib.suppress(Exception):  # a full disk was warned of
                each.close()
        self._writer = self._by_iteration = self._described = self._ended = None

    def _open(self, engine: Engine) -> None:
        described, self._described = self._described, None
        if described is None or self.folder is None:
            return
        state = engine.state
        # of events of these steps and later ones, which an interrupted training left, nothing is shown
        steps = (state.epoch, state.iteration + 1) if self._goes_on else (None, None)
        try:
            self._writer = SummaryWriter(str(self.folder), purge_step=steps[0])
            self._by_iteration = SummaryWriter(str(self.folder / ITERATIONS), purge_step=steps[1])
            point_to(self.folder, self.ckpt_dir)
        except Exception as error:  # whatever the disk, or an error of our own about it
            self._lose(error)
            return
        logger.info("events for TensorBoard in %s", self.folder)
        self._undrawn = not self._goes_on
        self._per_iteration = TensorBoardStatsHandler(
            self._by_iteration, epoch_log=False, output_transform=self._of_iteration
        )
        self._write(lambda writer: self._describe(writer, *described, state.epoch))

    def _describe(self, writer: SummaryWriter, params: Mapping[str, Any], texts: Mapping[str, str], epoch: int) -> None:
        rows = [f"| {markdown_cell(name)} | {markdown_cell(str(value))} |" for name, value in params.items()]
        writer.add_text("parameters", "\n".join(["| parameter | value |", "|---|---|", *rows]), epoch)
        for name, content in texts.items():
            writer.add_text(name, "\n".join(f"    {line}" for line in content.splitlines()), epoch)
        if self._goes_on:  # the table of HPARAMS has one line for a folder
            return
        key = getattr(getattr(self.evaluator, "state", None), "key_metric_name", None)
        metric = f"{VALIDATION}/{key}" if key else f"{TRAINING}/train_loss"
        plain = {
            name: each if isinstance(each, (bool, int, float, str)) else str(each) for name, each in params.items()
        }
        # not SummaryWriter.add_hparams: it writes a point of the metric, at step 0
        experiment, started, self._ended = hparams(plain, {metric: 0.0})
        writer._get_file_writer().add_summary(experiment)
        writer._get_file_writer().add_summary(started)

    def _keep_sample(self, engine: Engine) -> None:
        """An image to trace the network with: not yet, for the time that it takes is none of the epoch's."""
        if self._undrawn and self._sample is None and isinstance(engine.state.batch, Mapping):
            image = engine.state.batch.get(CommonKeys.IMAGE)
            if isinstance(image, torch.Tensor):
                self._sample = torch.as_tensor(image[:1]).as_subclass(torch.Tensor).float().clone()

    def _draw_graph(self, writer: SummaryWriter) -> None:
        if not self._undrawn or self.network is None:
            return
        self._undrawn, sample, self._sample = False, self._sample, None
        if sample is None:
            logger.warning("TensorBoard shows no graph of the network: the batches have no 'image'")
        else:
            _add_graph(writer, self.network, sample)

    def _iterated(self, engine: Engine) -> None:
        self._write(lambda _: self._per_iteration.iteration_completed(engine))

    def _of_iteration(self, output: Any) -> dict[str, float] | None:
        first = output[0] if isinstance(output, Sequence) and output else output
        loss = first.get(CommonKeys.LOSS) if isinstance(first, Mapping) else None
        if loss is None:
            return None
        found = {"iteration/loss": float(torch.as_tensor(loss).detach().float().mean())}
        groups = getattr(getattr(self._trainer, "optimizer", None), "param_groups", [])
        for index, group in enumerate(groups):
            found["iteration/learning_rate" + (f"_{index}" if index else "")] = float(group["lr"])
        return found

    def _histograms(self, writer: SummaryWriter, epoch: int) -> None:
        for name, weight in [] if self.network is None else self.network.named_parameters():
            for kind, values in (("weights", weight.detach()), ("weights_gradients", weight.grad)):
                if values is None:
                    continue
                flat = values.reshape(-1)
                flat = flat[:: -(-flat.numel() // _VALUES) or 1].float()
                flat = flat[flat.isfinite()]
                if flat.numel():
                    writer.add_histogram(f"{kind}/{name}", flat, epoch)

    def _forget_validation(self) -> None:
        self._counts = ClassCounts(self.names)
        self._pictures: dict[str, Any] = {}
        self._truth: tuple[tuple[int, int], torch.Tensor | None] | None = None

    def _count(self, evaluator: Engine) -> None:
        output = evaluator.state.output
        if isinstance(output, Mapping):
            self._look(lambda: count_forward(self._counts, output))

    def _count_slices(self, case: int, start: int, probabilities: torch.Tensor) -> None:
        """Of an inferer that keeps labels alone: probabilities (N, K, X, Y) of the slices from ``start`` on."""

        def count() -> None:
            state = cast(Engine, self.evaluator).state
            output = cast(Mapping[str, Any], state.output)
            shape = tuple(output[CommonKeys.IMAGE].shape[2:])
            if len(shape) != 3:
                return
            steps = (*strides(shape)[:2], 1)
            if self._truth is None or self._truth[0] != (state.iteration, case):
                self._truth = ((state.iteration, case), truth_on_grid(output, case, shape, steps))
            truth = self._truth[1]
            if truth is not None:
                seen = thinned(probabilities.movedim(0, -1), steps)
                count_voxels(self._counts, seen, truth[..., start : start + len(probabilities)])

        self._look(count)

    def _show(self, evaluator: Engine) -> None:
        outputs, batch = evaluator.state.output, evaluator.state.batch
        if len(self._pictures) >= _CASES or not isinstance(outputs, list):
            return
        inputs = batch if isinstance(batch, list) and len(batch) == len(outputs) else [{}] * len(outputs)

        def draw() -> None:
            for given, output in zip(inputs, outputs, strict=True):
                item = self._seen({**given, **output})
                name = case_name(item, len(self._pictures))
                picture = shown_case(item, name, self.names) if len(self._pictures) < _CASES else None
                if picture is not None:
                    self._pictures[name] = picture

        self._look(draw)

    def _seen(self, item: dict[str, Any]) -> dict[str, Any]:
        """An item with a picture in the place of a code of it: the one that the network decodes it to."""
        code, decode = item.get(CommonKeys.IMAGE), getattr(self.network, "decode", None)
        if decode is None or not isinstance(code, torch.Tensor) or code.shape[0] <= 3:
            return item
        with torch.no_grad():
            picture = decode(code[None].to(next(self.network.parameters()).device).float())[0]  # type: ignore[union-attr]
        return {**item, CommonKeys.IMAGE: picture.cpu()}

    def _validated(self, _: Engine) -> None:
        epoch = self._trainer.state.epoch
        if epoch == self._drawn_epoch:
            return
        self._drawn_epoch = epoch

        def write(writer: SummaryWriter) -> None:
            for name, picture in self._pictures.items():
                writer.add_image(f"{VALIDATION}/{name}", picture, epoch, dataformats="HWC")
            add_curves(writer, self._counts, VALIDATION, epoch)
            writer.flush()

        self._write(write)

    def _look(self, look: Callable[[], object]) -> None:
        """Look at what validation does; a fault in that (a case of a form that nobody thought of) ends it alone."""
        if self._writer is None or not self._looks:
            return
        try:
            look()
        except Exception as error:
            self._looks = False
            fault = f"{type(error).__name__}: {error}"
            logger.warning("TensorBoard shows no pictures and curves of these cases (%s)", fault)
            logger.debug("what failed", exc_info=error)

    def _write(self, write: Callable[[SummaryWriter], object]) -> None:
        """Do it, if there is a writer; a fault ends all writing, and nothing else."""
        if self._writer is None:
            return
        try:
            write(self._writer)
        except Exception as error:  # a full disk, a folder that is gone: the training is worth more
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        fault = f"{type(error).__name__}: {error}"
        logger.warning("no more events for TensorBoard are written to %s (%s)", self.folder, fault)
        logger.debug("what failed", exc_info=error)
        self.close()


def add_curves(writer: SummaryWriter, counts: ClassCounts, group: str, step: int) -> None:
    """Precision and recall of each class, ``GROUP/CLASS``."""
    for name, curve in counts.curves().items():
        writer.add_pr_curve_raw(
            f"{group}/{name}",
            true_positive_counts=curve.counts[0],
            false_positive_counts=curve.counts[1],
            true_negative_counts=curve.counts[2],
            false_negative_counts=curve.counts[3],
            precision=curve.precision,
            recall=curve.recall,
            global_step=step,
            num_thresholds=curve.counts.shape[1],
        )


def _add_graph(writer: SummaryWriter, network: torch.nn.Module, sample: torch.Tensor) -> None:
    """The network's graph, traced on a batch of one; a warning where that cannot be done.

    Where the batches hold features of a network that takes pictures (its ``in_channels``), it is traced on a blank one.
    """
    channels = getattr(network, "in_channels", None)
    if channels is not None and (sample.ndim < 4 or sample.shape[1] != channels):
        sample = torch.zeros(1, channels, *_BLANK)
    try:
        copied = copy.deepcopy(network).eval()  # tracing must leave nothing behind
        device = next((each.device for each in copied.parameters()), torch.device("cpu"))
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            torch.random.fork_rng(),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            writer.add_graph(copied, sample.to(device))
    except Exception as error:  # whatever torch.jit.trace, or a network's own code, raises
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        logger.warning(
            "TensorBoard shows no graph of the network: torch cannot trace it (%s: %s)", type(error).__name__, reason
        )
