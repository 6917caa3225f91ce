"""What keeps the memory that a long volume takes small: no copy of its image in a batch, freed memory given back."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.data import MetaTensor, list_data_collate
from monai.engines import IterationEvents

_LONG = 2**24  # voxels: 64 slices of 512 x 512


def case_as_batch(cases: Sequence[dict[str, Any]]) -> Any:
    """As MONAI's ``list_data_collate``, whose batch of one case is another copy of its image: here it is a view, since
    the float32 of a scan of 600 slices takes more than half a GiB."""
    if len(cases) != 1 or not isinstance(cases[0], dict):
        return list_data_collate(cases)
    (case,) = cases
    images = {key: value for key, value in case.items() if isinstance(value, MetaTensor)}
    batch = list_data_collate([{**case, **{key: _without_pixels(image) for key, image in images.items()}}])
    for key, image in images.items():
        whole = MetaTensor(image.as_tensor()[None])
        batch[key] = whole.copy_meta_from(batch[key], copy_attr=False)
    return batch


def give_back_after_network(evaluator: Engine) -> None:
    """Lets an evaluator give what the network freed back to the system (glibc's ``malloc_trim``; elsewhere nothing
    changes) before a long volume's masks are put together: 0.1 GiB of 600 slices."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None

    def give_back(engine: Engine) -> None:
        image = engine.state.batch["image"] if isinstance(engine.state.batch, dict) else None
        if trim is not None and isinstance(image, torch.Tensor) and image.numel() > _LONG:
            trim(0)

    evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, give_back)


def _without_pixels(image: MetaTensor) -> MetaTensor:
    """A pixel with all that is said of an image."""
    return MetaTensor(torch.empty((1,) * image.ndim)).copy_meta_from(image)
