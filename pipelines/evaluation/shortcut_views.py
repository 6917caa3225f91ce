"""What a shortcut control sees of a picture, and the scores of what learns the classes from that alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from pipelines.inferers import MixedPrecisionInferer

FEATURES = ("width", "height", "aspect", "mean", "deviation", "p1", "p5", "p25", "p50", "p75", "p95", "p99")
_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01


class View(Protocol):
    """What a control with a network is left of a picture, of a task's own.

    Attributes:
        name: of the control.
        meaning: what it sees, and what a high figure says.
        caveat: what a reader must know of it, as a sentence; may be empty.
    """

    name: str
    meaning: str
    caveat: str

    def seen(self, size: int) -> NDArray[np.bool_]:
        """Where it sees, (S, S) of a picture of S pixels a side, columns before rows."""


@dataclass(frozen=True, eq=False)
class SeenPictures:
    """Pictures as the controls get them.

    Attributes:
        planes: (N, 1, S, S) float32, reduced to one size, columns before rows as the loader gives them.
        features: (N, len(FEATURES)), of the pictures as read.
    """

    planes: Tensor
    features: NDArray[np.float64]


def see_pictures(
    paths: Sequence[str], preprocessing: Callable[[Mapping[str, Any]], Mapping[str, Any]], size: int
) -> SeenPictures:
    """Read pictures, one after the other, and keep what the controls need of them.

    Args:
        paths: of N files.
        preprocessing: makes of ``{"image": path}`` the same with a tensor (1, W, H), grey 0..1.
        size: pixels a side of the reduced pictures, averaged over areas; the aspect is not kept, as by the bundle.
    """
    planes, features = [], []
    for path in paths:
        plane = torch.as_tensor(preprocessing({"image": path})["image"]).as_subclass(Tensor).float()
        features.append(picture_features(plane[0].numpy()))
        planes.append(functional.interpolate(plane[None], (size, size), mode="area")[0])
    return SeenPictures(torch.stack(planes), np.array(features))


def picture_features(plane: NDArray[np.float32]) -> list[float]:
    """Numbers that know nothing of where in a picture something lies: its size and the distribution of its greys.

    Args:
        plane: (W, H), grey 0..1.

    Returns:
        As ``FEATURES`` names them: pixels, their ratio, and greys 0..1.
    """
    width, height = plane.shape
    greys = np.percentile(plane, _PERCENTILES)
    return [width, height, width / height, float(plane.mean()), float(plane.std()), *map(float, greys)]


def picture_frame(size: int, border: float) -> Tensor:
    """The outer frame of a picture, bool (S, S): ``border``, above 0 and below 0.5, is its width as part of a side, at
    least a pixel."""
    width = max(1, round(border * size))
    frame = torch.ones(size, size, dtype=torch.bool)
    frame[width:-width, width:-width] = False
    return frame


def picture_views(size: int, border: float, views: Sequence[View] = ()) -> dict[str, Tensor]:
    """What each control with a network is left of a picture: 1 where it sees, 0 where it does not; float32 (S, S).

    Args:
        views: of the task, beside the whole picture and its border.
    """
    return {
        "whole_picture": torch.ones(size, size),
        **{view.name: torch.as_tensor(view.seen(size)).float() for view in views},
        "borders": picture_frame(size, border).float(),
    }


def tree_scores(training: NDArray, labels: NDArray, evaluated: NDArray, *, seed: int = 0) -> NDArray[np.float64]:
    """Scores (M,) of boosted trees that learned from features (N, F); higher for class 1.

    The rarer class weighs more. With fewer than about 40 pictures to learn from no tree is grown, and all scores are
    equal.

    Args:
        training, evaluated: features (N, F) and (M, F).
        labels: (N,) 0 or 1, some of each.
    """
    trees = HistGradientBoostingClassifier(class_weight="balanced", early_stopping=False, random_state=seed)
    return np.asarray(trees.fit(training, labels).predict_proba(evaluated)[:, 1], dtype=np.float64)


def network_scores(
    training: Tensor,
    labels: NDArray,
    evaluated: Tensor,
    view: Tensor,
    build: Callable[[], nn.Module],
    *,
    epochs: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    amp: bool = False,
) -> NDArray[np.float64]:
    """Logits (M,) of a network that learned from pictures of which it sees a part; higher for class 1.

    AdamW, one cycle of the learning rate, the rarer class weighs more, nothing augmented, and the last epoch counts:
    nothing is chosen. The network should have no dropout: before a batch norm it shifts the variances that the norm
    meets in use (Li et al., CVPR 2019), most where most of a picture is blank. The state of torch's generators is as
    before afterwards.

    Args:
        training, evaluated: (N, 1, S, S) and (M, 1, S, S).
        labels: (N,) 0 or 1, some of each.
        view: (S, S), 1 where the network sees, 0 where it does not.
        build: makes the network, of random weights: (B, 1, S, S) to (B, 1) logits.
        epochs: at least 1.
        amp: in bfloat16.
    """
    device = torch.device(device)
    view = view.to(device)
    target = torch.as_tensor(labels, dtype=torch.float32)
    infer = MixedPrecisionInferer(amp)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        loss_function = nn.BCEWithLogitsLoss(pos_weight=((1 - target).sum() / target.sum()).to(device))
        optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        steps = epochs * math.ceil(len(training) / BATCH_SIZE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(2, steps))
        network.train()
        for _ in range(epochs):
            for drawn in torch.randperm(len(training)).split(BATCH_SIZE):
                logits = infer(training[drawn].to(device) * view, network)[:, 0]
                loss = loss_function(logits, target[drawn].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        # a short training leaves the norms with statistics of an earlier network, and all scores then look alike
        update_bn((each.to(device) * view for each in training.split(4 * BATCH_SIZE)), network)
        network.eval()
        with torch.inference_mode():
            parts = [infer(each.to(device) * view, network)[:, 0].cpu() for each in evaluated.split(4 * BATCH_SIZE)]
    return torch.cat(parts).double().numpy()
