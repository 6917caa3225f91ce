"""Pictures that have a class as a whole: their training set, and the features of an encoder that does not learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from monai.data import CacheDataset, Dataset
from torch import Tensor


class Encoder(Protocol):
    """A network whose features come apart from its classifier."""

    def features(self, x: Tensor) -> Tensor: ...
    def eval(self) -> Any: ...


class ClassifiedPictures(CacheDataset):
    """A CacheDataset of pictures, in memory up to their first random transform; ``labels``: their classes, (N,) int64.

    Args:
        data: items of a datalist with classes; ``label`` is an int.
        transform: a ``Compose``.
        progress: show a bar while it is filled.
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], transform: Callable, progress: bool = False) -> None:
        super().__init__(list(data), transform, progress=progress)
        self.labels = np.array([int(item["label"]) for item in data], dtype=np.int64)


class EncoderFeatures(Dataset):
    """The features that a frozen encoder has of pictures, computed once, and then as many times with augmentation.

    An item is ``image``, a vector of features of one of the pictures'
    variants, drawn at random, and ``label``.

    Args:
        pictures: items with ``image`` and ``label``, their transform random or not.
        network: its ``features`` take B x C x W x H; the encoder is put into evaluation mode.
        variants: how many times each picture is drawn from ``pictures``.
        batch_size: pictures a forward pass.
        device: where the network is.

    Raises:
        ValueError: there is no picture, or ``variants`` is below 1.
    """

    def __init__(
        self,
        pictures: ClassifiedPictures,
        network: Encoder,
        variants: int = 4,
        batch_size: int = 32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not len(pictures) or variants < 1:
            raise ValueError(f"features need pictures and at least one variant, got {len(pictures)} and {variants}")
        self.labels = pictures.labels
        self.variants = variants
        encoder = getattr(network, "module", network)
        encoder.eval()
        parts = []
        with torch.no_grad():
            for _ in range(variants):
                for start in range(0, len(pictures), batch_size):
                    items = [pictures[k]["image"] for k in range(start, min(start + batch_size, len(pictures)))]
                    batch = torch.stack([torch.as_tensor(each).as_subclass(Tensor) for each in items]).to(device)
                    parts.append(encoder.features(batch).cpu())
        self.features = torch.cat(parts).reshape(variants, len(pictures), -1)
        super().__init__(list(range(len(pictures))), None)

    def _transform(self, index: int) -> dict[str, Any]:
        variant = int(torch.randint(self.variants, (1,)))
        return {"image": self.features[variant, index], "label": int(self.labels[index])}
