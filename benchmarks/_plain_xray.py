"""What ``xray_folder.py`` has MONAI's bundle run write by: the bundle's writer, its picture by ``monai.visualize``."""

from __future__ import annotations

from typing import Any

import torch
from monai.visualize import GradCAM

from pipelines.tasks.chest_xray.writer import XrayClassWriter


class PlainXrayWriter(XrayClassWriter):
    """``XrayClassWriter`` whose Grad-CAM is MONAI's: of the whole network, forwards and backwards once more."""

    _cam: GradCAM | None = None  # one for all pictures: each leaves hooks in the network

    def layers(self) -> list[str]:
        return []  # nothing of the pass that gave the class is kept

    def heat(self, given: torch.Tensor, index: int, known: Any = None, features: Any = None) -> torch.Tensor:
        if self._cam is None:
            assert self.network is not None
            self._cam = GradCAM(nn_module=self.network, target_layers=str(self.target_layer))
        with torch.enable_grad():
            return self._cam(x=given, class_idx=index).detach().cpu()
