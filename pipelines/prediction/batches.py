"""A case as the batch that an evaluator wants, without a copy of its image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.data import MetaTensor, list_data_collate


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


def _without_pixels(image: MetaTensor) -> MetaTensor:
    """A pixel with all that is said of an image."""
    return MetaTensor(torch.empty((1,) * image.ndim)).copy_meta_from(image)
