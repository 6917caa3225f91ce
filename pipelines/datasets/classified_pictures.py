"""Pictures that have a class as a whole: their training set, and the features of an encoder that does not learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from monai.data import CacheDataset, Dataset
from torch import Tensor

from pipelines.inferers import resampled


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


class FeatureItems(Dataset):
    """Features of pictures that are there, ``features`` (variants, N, …).

    An item is ``image``, the features of one of the picture's variants, drawn at random, and ``label``.

    Args:
        features: an array or tensor (variants, N, …). labels: (N,) classes.
    """

    def __init__(self, features: Any, labels: np.ndarray) -> None:
        self.features = features
        self.labels = labels
        self.variants = len(features)
        super().__init__(list(range(len(labels))), None)

    def _transform(self, index: int) -> dict[str, Any]:
        variant = int(torch.randint(self.variants, (1,))) if self.variants > 1 else 0
        return {"image": torch.as_tensor(self.features[variant, index]), "label": int(self.labels[index])}


class EncoderFeatures(FeatureItems):
    """The features that a frozen encoder has of pictures, computed once, and then as many times with augmentation; in
    memory (``CachedCodes`` keeps them on disk).

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
        check_variants(len(pictures), variants)
        parts = [encoded(pictures, network, batch_size, device) for _ in range(variants)]
        features = torch.cat([batch for variant in parts for batch in variant])
        super().__init__(features.reshape(variants, len(pictures), *features.shape[1:]), pictures.labels)


def check_variants(pictures: int, variants: int) -> None:
    """ValueError where there is nothing to compute features of."""
    if not pictures or variants < 1:
        raise ValueError(f"features need pictures and at least one variant, got {pictures} and {variants}")


def encoded(
    pictures: Any,
    network: Any,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    size: Sequence[int] | None = None,
) -> Iterator[Tensor]:
    """An encoder's features (B x …, on the CPU) of all pictures in their order, a batch at a time.

    Args:
        pictures: a sequence of items with ``image``, C x W x H.
        network: see ``Encoder``; under DistributedDataParallel too. It is put into evaluation mode.
        batch_size: pictures a forward pass. device: where the network is.
        size: (W, H) that each picture is resampled to, as at inference; None where they are all of one size.
    """
    encoder = getattr(network, "module", network)
    encoder.eval()
    for start in range(0, len(pictures), batch_size):
        items = [pictures[k]["image"] for k in range(start, min(start + batch_size, len(pictures)))]
        plain = [torch.as_tensor(each).as_subclass(Tensor)[None] for each in items]
        batch = torch.cat(plain if size is None else [resampled(each, size) for each in plain]).to(device)
        with torch.no_grad():
            yield encoder.features(batch).cpu()
