"""Weights in and out, without ever running code from a file."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch

from pipelines.errors import UnreadableFileError, WeightsError
from pipelines.fetched import local

logger = logging.getLogger(__name__)


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict in a ``.safetensors`` file, or in a ``.pt`` file that holds tensors and nothing else.

    Args:
        path: the file, or an address with its hash (``fetched.local``).

    Raises:
        UnreadableFileError: missing, empty or damaged; not to be fetched.
        WeightsError: the file would run code (a pickle of anything but tensors), holds no state dict, tensors without
            numbers of their own (sparse, quantised), or NaN; an address that ``fetched.local`` refuses.
        OutputError: the cache cannot be written.
    """
    path = local(path)
    if not path.is_file():
        raise UnreadableFileError(
            "there are no weights here", where=path, how="train first, or give another checkpoint"
        )
    _check_begin(path)
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "the file holds Python objects that run code when loaded, so it is refused",
            where=path,
            how="ask its author for .safetensors",
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # torch raises nearly anything on damaged files
        raise UnreadableFileError("the weights are damaged", where=path, how="fetch or train them again") from error
    if isinstance(state, dict) and "network" in state and isinstance(state["network"], dict):
        state = state["network"]  # a training checkpoint (last.pt)
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError("the file holds no weights by name", where=path)
    odd = [key for key, value in state.items() if value.layout != torch.strided or value.is_quantized or value.is_meta]
    if odd:
        raise WeightsError(
            f"{len(odd)} tensors are sparse, quantised or empty shells, {odd[0]} for one",
            where=path,
            how="save the weights as plain tensors",
        )
    _check_finite(state, path)
    return state


def _check_finite(state: Mapping[str, torch.Tensor], path: Path) -> None:
    bad = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if bad:
        raise WeightsError(f"{len(bad)} tensors hold NaN or infinity, {bad[0]} for one", where=path, how="train again")


def _check_begin(path: Path) -> None:
    """Name what people give for weights without knowing it: torch says of a web page that it may hold code."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UnreadableFileError(
            f"the weights cannot be read ({error.strerror})", where=path, how="check its rights"
        ) from None
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    fault = how = ""
    if not head:
        fault, how = "the file is empty", "fetch or train the weights again"
    elif text.startswith(b"version https://git-lfs"):
        fault, how = "is a pointer of Git LFS, not the weights themselves", "fetch them with `git lfs pull`"
    elif text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        fault = "is a web page, not weights: the download gave a page to log in, to confirm, or of an error"
        how = "open its address in a browser, and download the file behind it"
    elif text and all(32 <= byte < 127 or byte in (9, 10, 13) for byte in head):
        fault, how = "is a text, not weights", "give the .safetensors or .pt file"
    if fault:
        raise UnreadableFileError(fault, where=path, how=how)


def load_weights(network: torch.nn.Module, path: str | Path) -> None:
    """Loads weights into a network whose keys and shapes they must match exactly.

    Raises:
        UnreadableFileError, WeightsError: see ``read_weights``; also WeightsError where they are another network's.
    """
    path = local(path)
    state = read_weights(path)
    target = getattr(network, "module", network)
    own = target.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    if missing or extra or shapes:
        raise WeightsError(
            f"the weights are not those of {type(target).__name__}: {len(missing)} tensors missing, "
            f"{len(extra)} unknown, {len(shapes)} of another shape ({(missing + extra + shapes)[0]} for one)",
            where=path,
            how="choose the network's overlay (configs/networks) that belongs to them",
        )
    state = {key: value.to(own[key].dtype) for key, value in state.items()}
    _check_finite(state, path)  # a number of float64 may be beyond those of the network
    target.load_state_dict(state)
    logger.info("loaded weights from %s", path)


def weights_digest(path: str | Path) -> str:
    """``sha256:…`` of the numbers in a file of weights: the same for .pt and .safetensors, in float32.

    Raises:
        UnreadableFileError, WeightsError: see ``read_weights``.
    """
    return state_digest(read_weights(path))


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """``weights_digest`` of a state dict."""
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        digest.update(f"{key} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def save_weights(
    network: torch.nn.Module | Mapping[str, torch.Tensor], path: str | Path, metadata: dict[str, str] | None = None
) -> None:
    """Writes a network's weights, or a state dict, as ``.safetensors`` with ``metadata`` (strings) in its head.

    They may lie in memory in any order (``torch.channels_last``).
    """
    given = network.state_dict() if isinstance(network, torch.nn.Module) else network
    state = {key: value.detach().cpu().contiguous() for key, value in given.items()}
    safetensors.torch.save_file(state, path, metadata=metadata)
