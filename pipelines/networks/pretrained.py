"""Weights of a network's trunk that somebody else trained: downloaded, from a file, or none."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from pipelines.errors import UnreadableFileError
from pipelines.weights import read_weights


def pretrained_state(pretrained: bool | str | Path, url: str) -> dict[str, Tensor] | None:
    """The state dict to start from.

    Args:
        pretrained: True fetches ``url`` (kept in torch.hub's cache; its name holds the first digits of its SHA-256,
            which are checked); False is none; a path is read, ``.safetensors`` or a ``.pth`` with tensors only.
        url: where the library that the network is from has them.

    Raises:
        UnreadableFileError: there is no file, it is damaged, or nothing could be fetched.
        WeightsError: the file would run code, or holds NaN.
    """
    if pretrained is False:
        return None
    if pretrained is not True:
        return read_weights(pretrained)
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True, progress=False
        )
    except (URLError, OSError, RuntimeError) as error:  # a wrong hash is a RuntimeError
        raise UnreadableFileError(
            f"the pretrained weights could not be fetched ({error})",
            where=url,
            how="give the path of a file with them, or false to start from random ones",
        ) from error
