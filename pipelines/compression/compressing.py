"""The steps, one after the other: each a file, measured against the network as it is shipped."""

from __future__ import annotations

import copy
import gzip
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.compression import costs
from pipelines.compression.files import int8_description, write_graph, write_network
from pipelines.compression.measuring import Measured, SessionNetwork, measure
from pipelines.compression.page import Row, write_page
from pipelines.compression.plan import TRAINED, Compression
from pipelines.compression.pruning import pruned, pruned_channels
from pipelines.compression.quantising import quantise
from pipelines.cross_validation import Processes
from pipelines.errors import UsageError
from pipelines.exporting import BundleExport
from pipelines.exporting.network_inputs import network_inputs
from pipelines.files import held, make_folder
from pipelines.prediction import fault_behind, open_inference
from pipelines.preparation.cases import cases_to_segment
from pipelines.runtimes import open_session
from pipelines.runtimes.machine import machine
from pipelines.sigterm import SigtermUnwinds
from pipelines.weights import load_weights

logger = logging.getLogger(__name__)
Say = Callable[[str], None]


@dataclass
class _Form:
    """A form of the network, before it is measured: a network for PyTorch, or a graph."""

    step: str
    file: Path
    network: torch.nn.Module
    graph: bytes | None
    numbers: tuple[int, int]
    seconds: float
    measured: Measured | None = field(default=None)


def compress(plan: Compression, say: Say = logger.info) -> dict[str, Path]:
    """Do the steps, measure each on the test part, and write the table.

    Files in ``plan.out``: ``NETWORK.onnx`` and ``.json`` (fp32, as ``export`` writes them), one file a step
    (``NETWORK_STEP.safetensors``, for ``--checkpoint``; of int8 ``NETWORK_int8.onnx`` and its JSON),
    ``evaluations/STEP`` with the bundle's report, ``trainings/STEP`` with the log, and the three files of
    ``write_page``. What an earlier call left under these names is replaced, each file in one step.

    Args:
        say: told what happens, in lines.

    Returns:
        The paths of the table by kind: csv, json, md.

    Raises:
        UsageError: see ``Compression.check``; a training failed.
        DisagreementError: the exported network does not answer as PyTorch does.
        OutputError: a file cannot be written, or another call writes to the folder.
        Otherwise as ``open_inference`` and the bundle's evaluation.
    """
    plan.check()
    with held(plan.out, ".compressing"), SigtermUnwinds(), Processes() as processes:
        return _Run(plan, processes, say).all()


class _Run:
    """One call of ``compress``."""

    def __init__(self, plan: Compression, processes: Processes, say: Say) -> None:
        self.plan = plan
        self.processes = processes
        self.say = say
        self.export = _export(plan)
        self.name = self.export.network_name
        self.checkpoint = self.export.checkpoint

    def all(self) -> dict[str, Path]:
        plan, export = self.plan, self.export
        begun = time.monotonic()
        written = export.write()  # the weights are loaded, the graph is held against PyTorch
        self.network = export.network.eval()
        took = time.monotonic() - begun
        image = self._images("test", 1)
        plain, graph = Path(self.checkpoint), written.file.read_bytes()
        numbers = costs.parameters(self.network)
        forms = [
            _Form("fp32", plain, self.network, None, numbers, 0.0),
            _Form("fp32", written.file, SessionNetwork(graph), graph, numbers, took),
        ]
        for step in dict.fromkeys(plan.steps):
            self.say(f"{step} is made")
            begun = time.monotonic()
            form = self._int8(graph, written.description) if step == "int8" else self._weights(step, image)
            form.seconds = time.monotonic() - begun
            forms.append(form)
        for form in forms:
            name = form.step if form is not forms[1] else "fp32-onnx"
            self.say(f"{name} is measured on the test part")
            form.measured = measure(plan, form.network, self.checkpoint, plan.out / "evaluations" / name)
        self.say("times and memory are measured")
        rows = self._rows(forms, image.numpy())
        return write_page(rows, self._about(rows), plan.out)

    def _images(self, section: str, most: int) -> torch.Tensor:
        cases = cases_to_segment(None, self.plan.prepared, self.plan.datalist, section=section)
        picked = np.linspace(0, len(cases) - 1, min(most, len(cases))).astype(int)
        chosen = [cases[k] for k in picked]  # of the whole list: neighbours resemble each other
        export = self.export
        return network_inputs(chosen, export.preprocessing, export.inferer, export.network, most, most)

    def _int8(self, graph: bytes, description: Path) -> _Form:
        images = self._images("training", self.plan.images).numpy()
        found = quantise(graph, images)
        about = json.loads(description.read_text(encoding="utf-8"))
        against = self._images("test", 16)
        file = write_graph(
            found.graph, self.plan.out, f"{self.name}_int8",
            lambda path: int8_description(about, path, found, self.network, against, len(images)),
        )  # fmt: skip
        return _Form("int8", file, SessionNetwork(found.graph), found.graph, (found.weights, found.non_zero), 0.0)

    def _weights(self, step: str, image: torch.Tensor) -> _Form:
        network, plan = copy.deepcopy(self.network), self.plan
        if step.startswith("prune"):
            network = pruned(network, plan.share)
        elif step.startswith("channels"):
            network = pruned_channels(network, image, plan.share)
        if step in TRAINED:
            self._trained(step, network)
        half = step == "fp16"
        file = write_network(network, plan.out / f"{self.name}_{step}.safetensors", half=half)
        load_weights(network, file)  # what was rounded is what is measured
        return _Form(step, file, network.eval(), None, costs.parameters(network), 0.0)

    def _trained(self, step: str, network: torch.nn.Module) -> None:
        """Go on training a network as a process of its own, and load what came out."""
        folder = self.plan.out / "trainings" / step
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        start = write_network(network, folder / "start.safetensors")
        self.say(f"{step}: {self.plan.epochs} epochs of training")
        self.processes.run(self.plan.training(step, start, folder), folder / "train.log")
        if not (folder / "last.pt").is_file():
            raise UsageError("the training left no last.pt", where=folder, how="read train.log")
        load_weights(network, folder / "last.pt")

    def _rows(self, forms: list[_Form], image: NDArray[np.float32]) -> list[Row]:
        keys = [f"{number} {form.step}" for number, form in enumerate(forms)]
        ways = {
            key: costs.eager_forward(form.network) if form.graph is None else open_session("onnxruntime", form.graph)
            for key, form in zip(keys, forms, strict=True)
        }
        seconds = costs.times_in_turns(ways, image)
        rows = []
        for key, form in zip(keys, forms, strict=True):
            own = keys[0] if form.graph is None else keys[1]
            peak = costs.peak_memory(form.network if form.graph is None else form.graph, image)
            to_eager, to_same = (costs.ratio(seconds[key], seconds[other]) for other in (keys[0], own))
            rows.append(_row(form, forms[0], peak, to_eager, to_same))
        return rows

    def _about(self, rows: list[Row]) -> Mapping[str, Any]:
        plan, about = self.plan, machine()
        settings = {
            "share": plan.share, "epochs": plan.epochs, "images": plan.images, "datalist": plan.datalist,
            **({"teacher": plan.teacher} if plan.teacher else {}),
            **dict(zip((word[2:] for word in plan.knobs[::2]), plan.knobs[1::2], strict=True)),
        }  # fmt: skip
        return {
            "bundle": plan.bundle.name,
            "network": self.name,
            "weights": Path(self.checkpoint).name,
            "cases": rows[0].n,
            "settings": settings,
            "machine": {"threads": about["threads"], "capability": about["capability"], **about["versions"]},
        }


def _export(plan: Compression) -> BundleExport:
    """The bundle's own export, opened: the network, its preprocessing and inferer, of one pass, on the CPU."""
    more: dict[str, Any] = {} if plan.checkpoint is None else {"checkpoint": plan.checkpoint}
    workflow = open_inference(
        plan.bundle, plan.network, beyond=[plan.bundle / "configs" / "export.yaml"], output_dir=str(plan.out),
        dataset_dir=str(plan.prepared), datalist=plan.datalist, device=torch.device("cpu"), export_to="onnx", **more,
    )  # fmt: skip
    with _faults():
        return workflow.parser.get_parsed_content("export")


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # MONAI's, of a fault within the config
        if (fault := fault_behind(error)) is not None:
            raise fault from None
        raise


def _row(form: _Form, reference: _Form, peak: float | None, to_eager: float, to_same: float) -> Row:
    assert form.measured is not None
    assert reference.measured is not None
    found, content = form.measured, form.file.read_bytes()
    paired = None if form is reference else found.difference(reference.measured)
    apart = (math.nan,) * 3 if paired is None else (
        paired.difference.estimate, paired.difference.low, paired.difference.high,
    )  # fmt: skip
    return Row(
        form.step, "eager" if form.graph is None else "onnxruntime", form.file.name, *form.numbers, len(content),
        len(gzip.compress(content, mtime=0)), peak, to_eager, to_same, found.metric, found.estimate, found.low,
        found.high, found.n, found.compared, *apart, math.nan if paired is None else paired.p_value, form.seconds,
    )  # fmt: skip
