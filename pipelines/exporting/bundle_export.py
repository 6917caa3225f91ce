"""What ``configs/export.yaml`` of a bundle makes: the exported file, compared with PyTorch, and the JSON beside it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.errors import DisagreementError
from pipelines.exporting.answering import AnsweringNetwork
from pipelines.exporting.formats import SUFFIXES, check_installed, open_network, write_network
from pipelines.exporting.network_inputs import network_inputs
from pipelines.files import held
from pipelines.handlers import NOT_FOR_CARE, publish, sweep_writing
from pipelines.runtimes import Agreement, dice
from pipelines.transforms import Calibration
from pipelines.transforms.temperature import read_calibration
from pipelines.weights import load_weights, state_digest

logger = logging.getLogger(__name__)

_LEAST_DICE = 0.999


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        file: the network.
        description: the JSON.
        text: how it compares, in a line.
    """

    file: Path
    description: Path
    text: str


class BundleExport:
    """Exports a bundle's network with its answer: one file, and one JSON that says how to feed it and read it.

    Args:
        root: the bundle's folder.
        network, network_name, checkpoint: the network, what it is called, and its weights, which are loaded here.
        cases: to compare on, as ``datasets.cases_to_segment`` gives them.
        preprocessing, inferer: the bundle's.
        answer: "mask" or "probabilities" (``AnsweringNetwork``).
        label_names: of values or classes.
        image: what goes in, in words and numbers; it becomes the JSON's ``input``.
        output_dir: where the files go: ``NETWORK.onnx`` and ``NETWORK.json``.
        form: "onnx", "torchscript" or "openvino".
        threshold: of a mask of one channel.
        calibration: the weights whose fitted temperature and operating point are taken; None for none.
        difference: that probabilities may have at most, and logits in parts of the largest.
        more: further entries of the JSON.
    """

    def __init__(
        self,
        root: str,
        network: torch.nn.Module,
        network_name: str,
        checkpoint: str,
        cases: Sequence[Mapping[str, Any]],
        preprocessing: Callable[[Any], Any],
        inferer: Callable[..., Any],
        answer: str,
        label_names: Mapping[int, str],
        image: Mapping[str, Any],
        output_dir: str,
        form: str = "onnx",
        threshold: float = 0.5,
        calibration: str | None = None,
        difference: float = 1e-3,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = Path(root)
        self.network = network
        self.network_name = network_name
        self.checkpoint = checkpoint
        self.cases = cases
        self.preprocessing = preprocessing
        self.inferer = inferer
        self.answer = answer
        self.label_names = {int(value): name for value, name in label_names.items()}
        self.image = dict(image)
        self.output_dir = Path(output_dir)
        self.form = form
        self.threshold = threshold
        self.calibration = calibration
        self.difference = difference
        self.more = dict(more or {})

    def write(self) -> Exported:
        """Load the weights, export, compare, and put the files in their place: both, or neither.

        Raises:
            UsageError: the form, or a package that it takes, is not there.
            DisagreementError: the exported network does not answer as PyTorch does.
            WeightsError, UnreadableFileError: weights, calibration or cases cannot be used.
            OutputError: the files cannot be written, or another call writes here.
        """
        check_installed(self.form)
        load_weights(self.network, self.checkpoint)
        fitted = None if self.calibration is None else read_calibration(self.calibration)
        self.network.eval()
        images = network_inputs(self.cases, self.preprocessing, self.inferer, self.network)
        whole = AnsweringNetwork(
            self.network.cpu(), self.answer, 1.0 if fitted is None else fitted.temperature, self.threshold
        ).eval()
        said: list[str] = []

        def fill(folder: Path) -> dict[str, Path]:
            path = folder / f"{self.network_name}{SUFFIXES[self.form]}"
            files = write_network(whole, images[:1], self.form, path, (self.answer, "logits"))
            compared = self._compare(whole, images, path)
            said.append(_in_a_line(compared))
            about = folder / f"{self.network_name}.json"
            content = self._about(images, fitted, files, compared)
            about.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            return {**{each.suffix: each for each in files}, "description": about}

        with held(self.output_dir, ".export.lock"):
            sweep_writing(self.output_dir)
            paths = publish(self.output_dir, fill)
        written = Exported(paths[SUFFIXES[self.form]], paths["description"], said[0])
        logger.info("%s: %s", written.file, written.text)
        return written

    def _compare(self, whole: torch.nn.Module, images: torch.Tensor, path: Path) -> dict[str, Any]:
        """Of all images in one batch, and of the first by itself."""
        run = open_network(self.form, path)
        given = images.numpy()
        answers, logits = run(given)
        alone = run(given[:1])
        with torch.no_grad():
            due_answers, due_logits = whole(images)
        found = Agreement.of(due_logits, torch.from_numpy(logits))
        worst_logit = float(np.abs(due_logits.numpy()).max())
        answered = np.abs(answers.astype(np.float32) - due_answers.numpy().astype(np.float32))
        one = float(np.abs(alone[1] - logits[:1]).max())
        compared = {
            "items": len(images),
            "with": "PyTorch, eager, float32",
            "logits_max_difference": found.logits_max,
            "logits_mean_difference": found.logits_mean,
            "largest_logit": worst_logit,
            "alone_or_in_a_batch_max_difference": one,
        }
        if self.answer == "mask":
            worst = min(dice(due_answers.numpy(), answers, max(self.label_names) + 1))
            compared |= {"dice": worst, "pixels_that_differ": float((answered > 0).mean())}
            bad = worst < _LEAST_DICE
        else:
            compared |= {"probabilities_max_difference": float(answered.max())}
            bad = not float(answered.max()) <= self.difference
        limit = self.difference * max(1.0, worst_logit)
        if bad or not found.logits_max <= limit or not one <= limit:
            raise DisagreementError(
                f"the exported network differs from PyTorch: {_in_a_line(compared)}", where=self.root,
                how="nothing was written; export to another form, or allow more: --export_difference",
            )  # fmt: skip
        return compared

    def _about(
        self, images: torch.Tensor, fitted: Calibration | None, files: Sequence[Path], compared: Mapping[str, Any]
    ) -> dict[str, Any]:
        metadata = json.loads((self.root / "configs" / "metadata.json").read_text(encoding="utf-8"))
        output: dict[str, Any] = {"name": self.answer, "label_names": self.label_names}
        if self.answer == "mask":
            single = len(self.label_names) == 2 and self._channels(images) == 1
            output |= {"dtype": "uint8", "shape": ["batch", *images.shape[2:]]}
            output |= {"threshold": self.threshold} if single else {"rule": "the likeliest label"}
        else:
            temperature = 1.0 if fitted is None else fitted.temperature
            output |= {"dtype": "float32", "shape": ["batch", len(self.label_names)], "temperature": temperature}
            point = None if fitted is None else fitted.operating_point
            output["rule"] = (
                "the likeliest class"
                if point is None
                else f"{point.positive} where its probability is at least {point.threshold}"
            )
            if point is not None:
                output |= {"positive": point.positive, "threshold": point.threshold}
        return {
            "bundle": self.root.resolve().name,
            "version": metadata["version"],
            "task": metadata.get("task", ""),
            "network": self.network_name,
            "weights": state_digest(self.network.state_dict()),
            "form": self.form,
            "files": {each.name: f"sha256:{hashlib.sha256(each.read_bytes()).hexdigest()}" for each in files},
            "input": {"name": "image", "dtype": "float32", "shape": ["batch", *images.shape[1:]], **self.image},
            "outputs": [output, {"name": "logits", "dtype": "float32"}],
            "not_in_the_file": "averaging over flips and scales, and the way back to the image's own grid",
            "compared": compared,
            **self.more,
            "use": NOT_FOR_CARE,
        }

    def _channels(self, images: torch.Tensor) -> int:
        with torch.no_grad():
            return int(self.network(images[:1]).shape[1])


def _in_a_line(compared: Mapping[str, Any]) -> str:
    metric = (
        f"Dice of the masks {compared['dice']:.4f}"
        if "dice" in compared
        else f"probabilities within {compared['probabilities_max_difference']:.1e}"
    )
    return (
        f"logits within {compared['logits_max_difference']:.1e} (mean {compared['logits_mean_difference']:.1e}), "
        f"{metric}, on {compared['items']} images"
    )
