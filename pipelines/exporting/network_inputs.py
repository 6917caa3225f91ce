"""What a bundle's network is given of real cases: each goes through the bundle's own transforms and inferer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.prediction import fault_behind

_CASES, _SLICES, _ITEMS = 8, 4, 16


class _Listening(torch.nn.Module):
    """Another network, and what it was given."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.heard: list[torch.Tensor] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.heard.append(inputs.detach().float().cpu().contiguous())
        return self.network(inputs)


def network_inputs(
    cases: Sequence[Mapping[str, Any]],
    preprocessing: Callable[[Any], Any],
    inferer: Callable[..., Any],
    network: torch.nn.Module,
    most_cases: int = _CASES,
    most_items: int = _ITEMS,
) -> torch.Tensor:
    """Images (B, C, …) as the network gets them, of the first of some cases: of volumes a few slices of the middle.

    Args:
        cases: ``{"image": path, …}``; those that cannot be read are left out.
        preprocessing: the bundle's.
        inferer: the bundle's, which brings images to the network's size.
        network: in evaluation mode.
        most_cases, most_items: how many cases are read, and how many images of them are given, at most.

    Raises:
        UnreadableFileError: no case can be read.
    """
    listening, fault = _Listening(network).eval(), None
    for case in cases[:most_cases]:
        try:
            image = preprocessing(dict(case))["image"]
        except Exception as error:
            if (fault := fault_behind(error)) is None:
                raise
            continue
        plain = image.as_tensor() if hasattr(image, "as_tensor") else image
        if plain.ndim == 4 and len(getattr(inferer, "roi_size", None) or ()) != 3:
            middle = max(0, plain.shape[3] // 2 - _SLICES // 2)
            plain = plain[..., middle : middle + _SLICES]
        device = next(network.parameters()).device
        with torch.no_grad():
            inferer(plain[None].to(device), listening)
    if not listening.heard:
        raise _nothing(fault)
    first = listening.heard[0]
    same = torch.cat([each for each in listening.heard if each.shape[1:] == first.shape[1:]])
    return same[torch.linspace(0, len(same) - 1, min(len(same), most_items)).long()]  # of all cases some


def _nothing(fault: PipelinesError | None) -> PipelinesError:
    return fault or UnreadableFileError("there is no case to compare the export on", how="give --input")
