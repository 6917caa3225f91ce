"""Writes what a classifier found in pictures: a class with its probabilities, and where the network looked."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from monai.visualize import GradCAM
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import ConfigError
from pipelines.handlers.case_writer import NOT_FOR_CARE, CaseWriter
from pipelines.readers import read_picture
from pipelines.transforms import TemperatureScaled

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class GreyPicture:
    """A grey picture as it is on disk: ``array`` float32 (W, H), 0..255."""

    path: Path
    array: NDArray[np.float32]
    notes: tuple[str, ...]


class PictureClassWriter(CaseWriter):
    """For each picture of an evaluator: ``NAME_report.json`` and, where a layer is given, ``NAME_overlay.png``.

    The report holds ``class``, ``probabilities`` by name and ``refer``: whether the likelier class has less than
    ``refer_below``, so that a person should look. The class follows the operating point that is stored with the
    weights. The overlay is the picture with Grad-CAM of the class that is said (Selvaraju et al.,
    https://arxiv.org/abs/1610.02391; monai.visualize): where the last features speak for it. It is no proof of why.

    Args:
        output_dir, provenance, key: as ``CaseWriter``.
        names: of the classes.
        refer_below: 0..1.
        checkpoint: the weights, for the operating point and the temperature in the report; the latter has been applied.
        network: the classifier, for Grad-CAM.
        target_layer: the name of its last layer with a spatial extent, or "auto" for the one before the last adaptive
            pooling; None for no overlay.
        image_size: (W, H) that the network was trained at.

    Raises:
        ConfigError: a value out of its range, or a layer that the network does not have.
        WeightsError: while running, where the weights were trained for other classes.
    """

    def __init__(
        self,
        output_dir: str,
        names: Sequence[str],
        refer_below: float = 0.6,
        checkpoint: str | None = None,
        network: torch.nn.Module | None = None,
        target_layer: str | None = None,
        image_size: Sequence[int] | None = None,
        provenance: Mapping[str, Any] | None = None,
        key: str = "pred",
    ) -> None:
        super().__init__(output_dir, provenance, key)
        if not 0 <= refer_below <= 1:
            raise ConfigError(f"refer_below is {refer_below}", how="give a part from 0 to 1")
        self.names = [str(name) for name in names]
        self.refer_below = refer_below
        self.calibration = TemperatureScaled(key, checkpoint)
        self.network = network
        self.target_layer = (
            last_spatial_layer(network) if network is not None and target_layer == "auto" else target_layer
        )
        if network is not None and self.target_layer not in {None, *(name for name, _ in network.named_modules())}:
            raise ConfigError(f"the network has no layer {target_layer!r}", how="give --target_layer auto")
        self.image_size = None if image_size is None else tuple(image_size)

    def check_weights(self) -> None:
        """Hold the calibration against the weights, and the classes against those that they were trained for.

        Raises:
            UnreadableFileError, WeightsError: see ``TemperatureScaled``.
        """
        self.calibration.require(self.names, [])

    def read(self, path: Path) -> GreyPicture:
        grey = read_picture(path, smallest=1)
        return GreyPicture(path, grey.array[:, :, 0], grey.notes)

    def fill(self, folder: Path, name: str, case: GreyPicture, item: Mapping[str, Any]) -> dict[str, Path]:
        self.check_weights()
        probabilities = np.asarray(item[self.key].detach().cpu(), dtype=float).reshape(1, len(self.names))
        said = int(self.calibration.predict(probabilities, self.names)[0])
        point = None if self.calibration.calibration is None else self.calibration.calibration.operating_point
        refer = bool(probabilities.max() < self.refer_below)
        report = {
            "input": str(case.path),
            "kind": "picture",
            "size_px": {"width": case.array.shape[0], "height": case.array.shape[1]},
            "class": self.names[said],
            "probabilities": {n: round(float(p), 6) for n, p in zip(self.names, probabilities[0], strict=True)},
            "refer": refer,
            "reason": f"the likelier class has less than {self.refer_below:g}" if refer else None,
            "refer_below": self.refer_below,
            "temperature": round(self.calibration.temperature, 4),
            "operating_point": None
            if point is None
            else {"positive": point.positive, "threshold": point.threshold, "rule": point.rule},
            "notes": list(case.notes),
            **self.provenance,
            "use": NOT_FOR_CARE,
        }
        files = {"report": folder / f"{name}_report.json"}
        files["report"].parent.mkdir(parents=True, exist_ok=True)
        files["report"].write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8", "backslashreplace")
        if self.network is not None and self.target_layer is not None:
            files["overlay"] = folder / f"{name}_overlay.png"
            Image.fromarray(self.overlay(case.array, said)).save(files["overlay"])
        return files

    def overlay(self, grey: NDArray, said: int) -> NDArray[np.uint8]:
        """The picture and, beside it, the picture with Grad-CAM of a class: uint8 (H, 2 W, 3).

        Args:
            grey: (W, H), 0..255.
            said: the class.
        """
        network = self.network
        assert network is not None and self.target_layer is not None  # noqa: PT018 - see fill
        given = torch.from_numpy(np.ascontiguousarray(grey, dtype=np.float32) / 255)[None, None]
        given = given.to(next(network.parameters()).device)
        if self.image_size is not None:
            given = torch.nn.functional.interpolate(given, self.image_size, mode="bilinear", antialias=True)
        with torch.enable_grad():
            heat = GradCAM(nn_module=network, target_layers=self.target_layer)(given.requires_grad_(), class_idx=said)
        map_ = torch.nn.functional.interpolate(torch.as_tensor(heat), grey.shape, mode="bilinear")[0, 0]
        strength = 1 - map_.detach().cpu().numpy().T  # MONAI's normaliser turns it round: 0 is where it looked
        plain = np.repeat(grey.T[:, :, None].astype(np.float32), 3, axis=2)
        colours = colormaps["inferno"](strength)[:, :, :3] * 255
        weight = 0.6 * strength[:, :, None]
        blended = plain * (1 - weight) + colours * weight
        return np.concatenate([plain, blended], axis=1).round().clip(0, 255).astype(np.uint8)


def last_spatial_layer(network: torch.nn.Module) -> str:
    """The name of the layer before a network's last adaptive pooling: its last features that lie somewhere.

    Raises:
        ConfigError: there is none.
    """
    names = [name for name, layer in network.named_modules() if isinstance(layer, torch.nn.AdaptiveAvgPool2d)]
    head, _, place = names[-1].rpartition(".") if names else ("", "", "")
    if not place.isdigit() or int(place) == 0:
        raise ConfigError(
            "the network has no adaptive pooling behind features", how="name a layer: --target_layer NAME"
        )
    return f"{head}.{int(place) - 1}"
