"""What is compressed, how, and the commands and configs that follow from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from pipelines.bundle import read_configs, weights_of
from pipelines.compression.pruning import check_share
from pipelines.compression.quantising import check_quantiser
from pipelines.cross_validation import bundle_command
from pipelines.errors import ConfigError, UsageError
from pipelines.files import text, write_file
from pipelines.prediction import fast_options, network_overlays

STEPS = {
    "fp16": "the weights in half precision",
    "int8": "weights and activations as 8-bit integers, calibrated on training cases",
    "prune": "the smallest weights 0",
    "prune-tune": "the smallest weights 0, then trained on",
    "channels": "whole channels 0",
    "channels-tune": "whole channels 0, then trained on",
    "tune": "trained on, nothing else: what the training alone does",
    "distil": "trained on, also after the probabilities of a teacher",
}
DEFAULT_STEPS = ("fp16", "int8", "prune", "prune-tune")
TRAINED = ("prune-tune", "channels-tune", "tune", "distil")
_FIXED = ("dataset_dir", "datalist", "ckpt_dir", "pretrained", "epochs", "resume", "tracking_uri", "run_name")


@dataclass(frozen=True)
class Compression:
    """What is done, and where.

    Attributes:
        bundle: its folder; one that segments or classifies.
        prepared: a prepared folder: its training part calibrates and trains, its test part is measured.
        out: the folder of the files.
        uri: the tracking store of the trainings.
        network: an overlay of ``configs/networks``; None for the bundle's own.
        checkpoint: weights in the place of those that are shipped.
        steps: of ``STEPS``.
        datalist: the list in ``prepared``.
        share: of the weights, or of each layer's channels, that pruning sets to 0.
        epochs: of each training.
        images: at most so many, of as many training cases, calibrate the 8-bit ranges.
        teacher: the network that is distilled from, with the weights that the bundle has of it.
        knobs: words of the trainings' command (``--learning_rate 0.001``).
    """

    bundle: Path
    prepared: Path
    out: Path
    uri: str
    network: str | None = None
    checkpoint: str | None = None
    steps: Sequence[str] = DEFAULT_STEPS
    datalist: str = "datalist.json"
    share: float = 0.5
    epochs: int = 10
    images: int = 64
    teacher: str | None = None
    knobs: Sequence[str] = ()

    def check(self) -> None:
        """Raises:
        UsageError: no such bundle, network, step or teacher; numbers or knobs that cannot be; a package is missing.
        """
        configs = self.bundle / "configs"
        needed = ("train.yaml", "evaluate.yaml", "inference.yaml", "export.yaml")
        missing = [name for name in needed if not (configs / name).is_file()]
        if missing:
            what = f"the bundle has no configs/{missing[0]}, and what it loses could not be measured"
            raise UsageError(what, where=self.bundle, how="give a bundle that segments or classifies")
        known = network_overlays(self.bundle)
        for network in (self.network, self.teacher):
            if network is not None and network not in known:
                how = f"choose from {', '.join(known)}"
                raise UsageError(f"there is no network {network!r}", where=self.bundle, how=how)
        strange = [step for step in self.steps if step not in STEPS]
        if strange:
            raise UsageError(f"there is no step {strange[0]!r}", how=f"choose from {', '.join(STEPS)}")
        check_share(self.share)
        if self.epochs < 1 or self.images < 1:
            raise UsageError("--epochs and --images must be 1 or more")
        if set(self.steps) & set(TRAINED) and "pretrained" not in self.config:
            what = "its training cannot start from weights: it has no id `pretrained`"
            raise UsageError(what, where=configs / "train.yaml", how=f"leave out {', '.join(TRAINED)}")
        if "distil" in self.steps and self.teacher is None:
            raise UsageError("the step distil needs a teacher", how="give --teacher NETWORK")
        if len(self.knobs) % 2 or not all(word.startswith("--") for word in self.knobs[::2]):
            raise UsageError(f"{' '.join(self.knobs)} is not a list of --KNOB VALUE")
        for word in self.knobs[::2]:
            if word.removeprefix("--") in _FIXED:
                raise UsageError(f"{word} is set by this command", how="leave it out")
            if word.removeprefix("--").split("#")[0] not in self.config:
                raise UsageError(f"{word[2:]!r} is no knob of the training", where=configs / "train.yaml")
        check_quantiser()

    @property
    def train_files(self) -> list[Path]:
        """The configs of the training, in the order in which they are laid over one another."""
        files = [self.bundle / "configs" / "train.yaml"]
        return files if self.network is None else [*files, network_overlays(self.bundle)[self.network]]

    @property
    def config(self) -> dict[str, Any]:
        """The training's config, with the network's overlay.

        Raises:
            ConfigError: it cannot be read.
        """
        return read_configs(self.train_files)

    def evaluation(self, checkpoint: str, folder: Path) -> ConfigParser:
        """MONAI's parser of the bundle's evaluation on the test part, on the CPU in float32 and of one pass a case
        (what ``--fast`` turns off stays off), which writes its report to ``folder`` and nothing to the tracking store.

        Raises:
            ConfigError: it cannot be read, or writes no report.
        """
        parser = ConfigParser()
        files = [*self.train_files, self.bundle / "configs" / "evaluate.yaml"]
        values: dict[str, Any] = {
            "bundle_root": str(self.bundle), "dataset_dir": str(self.prepared), "datalist": self.datalist,
            "checkpoint": checkpoint, "output_dir": str(folder), "device": torch.device("cpu"),
            "amp": False, "keep_masks": 0, **fast_options(self.bundle),
        }  # fmt: skip
        try:
            parser.read_config([str(path) for path in files])
            for key, value in values.items():
                if key in parser:
                    parser[key] = value
            handlers = parser.get("validate")["handlers"]
            reports = [each for each in handlers if str(each.get("_target_", "")).endswith("Report")]
            parser["validate#handlers"] = reports
            parser.get_parsed_content("imports")
        except Exception as error:
            raise ConfigError(f"the evaluation cannot be read ({error})", where=files[-1]) from error
        if not reports:
            raise ConfigError("the evaluation writes no report", where=files[-1], how="add an EvaluationReport to it")
        return parser

    @property
    def metric(self) -> str:
        """The metric that the evaluation names first, without ``test_``.

        Raises:
            ConfigError: it names none.
        """
        config = ConfigParser.load_config_file(str(self.bundle / "configs" / "evaluate.yaml"))
        found = next(iter(config.get("validate#key_metric") or {}), "")
        if not found:
            raise ConfigError("the evaluation has no key metric", where=self.bundle / "configs" / "evaluate.yaml")
        return str(found).removeprefix("test_")

    def training(self, step: str, start: Path, folder: Path) -> list[str]:
        """The command that goes on training from weights: ``epochs`` epochs, without choosing anything on the way.

        Args:
            step: of ``TRAINED``. start: the weights.
            folder: of the training; its overlay, ``compress.yaml``, is written there.
        """
        overlay = folder / "compress.yaml"
        write_file(overlay, text(json.dumps(self._overlay(step), indent=1) + "\n"))  # JSON is YAML
        fixed = {
            "dataset_dir": self.prepared, "datalist": self.datalist, "ckpt_dir": folder, "tracking_uri": self.uri,
            "experiment": f"{self.bundle.name}_compression", "run_name": f"{self.network or 'network'}-{step}",
            "pretrained": start, "epochs": self.epochs, "val_interval": self.epochs, "patience": self.epochs,
        }  # fmt: skip
        config = self.config
        words = [word for key, value in fixed.items() if key in config for word in (f"--{key}", str(value))]
        return bundle_command(self.bundle, [*self.train_files, overlay], [*words, *self.knobs])

    def _overlay(self, step: str) -> Mapping[str, Any]:
        if step in ("prune-tune", "channels-tune"):
            return {"+train#handlers": [{"_target_": "pipelines.handlers.HeldZeros", "network": "@network"}]}
        if step != "distil" or self.teacher is None:
            return {}
        files = [self.bundle / "configs" / "train.yaml", network_overlays(self.bundle)[self.teacher]]
        teacher = read_configs(files)["network_def"]
        return {
            "teacher_def": teacher,
            "supervised_loss": self.config["loss_function"],
            "loss_function": {
                "_target_": "pipelines.compression.DistillationLoss",
                "loss": "@supervised_loss",
                "student": "@network",
                "teacher": "@teacher_def",
                "teacher_weights": weights_of(self.bundle, self.teacher),
            },
        }
