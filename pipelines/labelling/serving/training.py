"""A training from the labels that were submitted: the bundle's ``train.yaml`` over them, tracked like any other."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from pipelines import errors
from pipelines.bundle import run_environment
from pipelines.errors import ConfigError, DatalistError, PipelinesError
from pipelines.files import text, write_file
from pipelines.labelling.about import TRAINED, AboutBundle, first, true, weights_file
from pipelines.labelling.serving.monailabel_import import TrainTask, device_list, name_to_device
from pipelines.labelling.submitted import Datastore, items_of, read_submitted, split_labels, write_record
from pipelines.model_pt import MODEL
from pipelines.tracking.run_file import read_run_file

logger = logging.getLogger(__name__)
_OVERLAY = "training.json"
_FAULT = re.compile(r"^pipelines\.errors\.(\w+): (.*)")


class BundleTraining(TrainTask):
    """A segmentation of MONAI Label that learns from submitted labels (those with the tag ``final``).

    A part of the images is kept for validation; each image counts as its own patient. The best weights become
    ``models/trained.pt``, which requests get from then on if they name no others; ``models/model.pt`` stays what was
    shipped. A request may say: ``max_epochs``, ``val_split`` (a part, 0.2), ``pretrained`` (start from weights, yes),
    ``model_filename`` (which), ``device``.

    Args:
        about: the bundle.
        tracking_uri: the store that the run is recorded in; None for the config's own.
    """

    def __init__(self, about: AboutBundle, tracking_uri: str | None = None) -> None:
        super().__init__(about.description)
        self.about = about
        self.tracking_uri = tracking_uri
        self.configs = about.folder / "configs"

    def config(self) -> dict[str, Any]:
        """What a client shows as options."""
        return {
            "device": device_list(),
            "pretrained": True,
            "model_filename": list(self.about.weights),
            "max_epochs": 50,
            "val_split": 0.2,
        }

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, and say which run it was.

        Raises:
            DatalistError: fewer than two images have a label.
            PipelinesError: of the kind that the training ended with.
        """
        asked = {**self.config(), **request}
        base = ConfigParser.load_config_file(str(self.configs / "train.yaml"))
        folder = self.about.folder / "labels"
        items, left = items_of(read_submitted(datastore), self.about.labels, folder, self._read)
        for name, reason in left.items():
            logger.warning("%s is left out: %s", name, reason)
        training, validation = split_labels(items, float(asked["val_split"]))
        labels = {str(value): name for name, value in {"background": 0, **self.about.labels}.items()}
        datalist = write_record(folder, self.about.folder.name, labels, training, validation)
        overlay = self._overlay(asked, base) | {
            "dataset_dir": str(folder),
            "datalist": datalist.name,
            "train#dataset#data": training,
            "validate#dataset#data": validation,
        }
        write_file(folder / _OVERLAY, text(json.dumps(overlay, indent=2) + "\n"))
        self._run(folder / _OVERLAY)
        best = self.about.folder / "models" / str(base["network_name"]) / MODEL
        write_file(self.about.folder / "models" / TRAINED, lambda file: file.write(best.read_bytes()))
        run = read_run_file(best)
        return {
            "run_id": None if run is None else run.run_id,
            "model_filename": TRAINED,
            "images": len(items),
            "left_out": left,
        }

    def _overlay(self, asked: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
        """What is laid over ``train.yaml`` beside the data."""
        device = name_to_device(first(asked["device"]) or "cpu")
        weights = str(weights_file(self.about, asked["model_filename"])) if true(asked["pretrained"]) else None
        epochs = int(asked["max_epochs"])
        if epochs < 1:
            raise ConfigError(f"max_epochs is {epochs}", how="give 1 or more")
        overlay: dict[str, Any] = {
            "bundle_root": str(self.about.folder),
            "epochs": epochs,
            "device": f"$torch.device('{device}')",
            "pretrained": weights,
        }
        if self.tracking_uri:
            overlay["tracking_uri"] = self.tracking_uri
        if "encoder_weights" in base:  # they would be fetched, and are part of the weights it starts from
            overlay["encoder_weights"] = False
        return overlay

    def _read(self, image: Path) -> object:
        """Read an image as the bundle does.

        Raises:
            PipelinesError: of the kind that names its fault.
        """
        parser = ConfigParser()
        parser.read_config(str(self.configs / "train.yaml"))
        return parser.get_parsed_content("train#deterministic_transforms#0")({"image": str(image)})

    def _run(self, overlay: Path) -> None:
        """Run it as a process of its own, whose lines are passed on.

        Raises:
            PipelinesError: what it ended with, in its own words.
        """
        configs = [str(self.configs / "train.yaml"), str(overlay)]
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", repr(configs)]
        last: deque[str] = deque(maxlen=1000)
        with subprocess.Popen(
            command, cwd=self.about.folder, env=run_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                last.append(line.rstrip())
                sys.stdout.write(line)
                sys.stdout.flush()
        if process.returncode:
            raise _fault(list(last), overlay)


def _fault(lines: list[str], overlay: Path) -> PipelinesError:
    """What a failed training said, as the error that it is."""
    for line in reversed(lines):
        found = _FAULT.match(line)
        kind = getattr(errors, found[1], None) if found else None
        if found and isinstance(kind, type) and issubclass(kind, PipelinesError):
            return kind(found[2])
    return DatalistError(f"the training failed ({lines[-1] if lines else 'it said nothing'})", where=overlay)
