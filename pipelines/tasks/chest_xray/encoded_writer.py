"""Writes what a classifier on codes found in chest X-rays, and whether they are like the pictures of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipelines.errors import ConfigError
from pipelines.evaluation.familiarity import TITLES, beyond, measure
from pipelines.files import save_png
from pipelines.handlers import Finding
from pipelines.handlers.reconstructions import beside, difference
from pipelines.readers import XrayPicture
from pipelines.tasks.chest_xray.writer import XrayClassWriter

UNLIKE = "this is unlike the training pictures"


class EncodedXrayWriter(XrayClassWriter):
    """``XrayClassWriter``, with the picture's reconstruction: ``NAME_reconstruction.png`` (the picture, the
    reconstruction, and four times their difference) and ``reconstruction`` in the report.

    A picture beyond a limit that is stored with the weights' calibration (``FamiliarityFit``) is referred.

    Args:
        unlike_by: the measures that refer, of "mse", "ssim" and "code_distance"; the others are reported only.
        **arguments: those of ``XrayClassWriter``; the network is an ``EncodedClassifier``.

    Raises:
        ConfigError: there is no such measure, or what ``XrayClassWriter`` raises.
    """

    def __init__(self, unlike_by: Sequence[str] = ("code_distance",), **arguments: Any) -> None:
        super().__init__(**arguments)
        unknown = [name for name in unlike_by if name not in TITLES]
        if unknown:
            raise ConfigError(f"there is no measure {unknown[0]!r}", how=f"choose of {', '.join(TITLES)}")
        self.unlike_by = list(unlike_by)

    def find(self, name: str, case: XrayPicture, item: Mapping[str, Any]) -> Finding:
        finding = super().find(name, case, item)
        picture = torch.from_numpy(np.ascontiguousarray(self.pixels(case), dtype=np.float32) / 255)
        found = measure(self.network, picture, self.image_size)
        calibration = self.calibration.calibration
        limits = None if calibration is None else calibration.familiarity
        reasons = [] if limits is None else beyond(found.measures, limits.limits, self.unlike_by)
        report = dict(finding.report)
        if reasons:
            words = [*filter(None, [report["reason"]]), f"{UNLIKE}: {' and '.join(reasons)}"]
            report |= {"refer": True, "reason": "; ".join(words)}
        report["reconstruction"] = {
            **{key: float(f"{value:.5g}") for key, value in found.measures.items()},
            "limits": None if limits is None else dict(limits.limits),
            "refers_by": self.unlike_by,
        }
        seen = [[each] for each in (found.picture, found.reconstruction)]
        columns = [*seen, [difference(found.picture, found.reconstruction)]]
        drawn = ("reconstruction.png", lambda file: save_png(beside(columns), file))
        return replace(finding, report=report, files={**finding.files, "reconstruction": drawn})
