"""By what a bundle's network is run: what `predict` asks for, and when there is enough to do to choose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from pipelines.errors import UsageError
from pipelines.runtimes import RuntimeNetwork, enough_work

_PROBED = 4  # slices of the middle of a volume, on which runtimes are compared


def runtime_options(bundle: Path, runtime: str | None = None, precision: str | None = None) -> dict[str, Any]:
    """The ids of a bundle's inference that say by what its network is run: "auto" where nothing is asked for; none
    where the bundle knows no runtimes.

    Raises:
        UsageError: something is asked for, and the bundle knows no runtimes.
    """
    config = bundle / "configs" / "inference.yaml"
    known = ConfigParser.load_config_file(str(config)) if config.is_file() else {}
    asked = {key: value for key, value in (("runtime", runtime), ("precision", precision)) if value is not None}
    if missing := [key for key in asked if key not in known]:
        raise UsageError(
            f"this bundle's inference has no {' and no '.join(missing)}", where=config,
            how="leave it out, or write the ids as in a bundle of `pipelines new`",
        )  # fmt: skip
    return ({"runtime": "auto"} if "runtime" in known else {}) | asked


def runtime_network(workflow: ConfigWorkflow) -> RuntimeNetwork | None:
    """What runs the network of a bundle's inference; None where its config has nothing of the kind."""
    network = workflow.evaluator.network
    return network if isinstance(network, RuntimeNetwork) else None


@contextmanager
def running(workflow: ConfigWorkflow, image: torch.Tensor, cases: int) -> Iterator[set[str]]:
    """While a case is run: a runtime is chosen before, where "auto" is to choose and there is enough to do.

    It is chosen on the middle of the case, through the bundle's own inferer, so that all of a case, and of all that
    come after it, is computed in the same way.

    Args:
        workflow: of the bundle, its weights loaded.
        image: the preprocessed case (C, X, Y) or (C, X, Y, Z).
        cases: how many there are to do, this one too.

    Yields:
        What ran, known afterwards: names such as ``openvino bf16``.
    """
    network = runtime_network(workflow)
    if network is None:
        del image
        yield set()
        return
    network.settling = False
    slices = int(image.shape[3]) if image.ndim == 4 else 1
    if network.runtime == "auto" and not _chosen(workflow.inferer, network, image) and enough_work(slices, cases):
        _choose(workflow, network, image)
    del image  # a long volume is not to be held here while it is run
    network.used = set()
    network.watched()  # of what ran while it was chosen
    yield network.used


def _chosen(inferer: Any, network: RuntimeNetwork, image: torch.Tensor) -> bool:
    """Whether it was chosen what runs such a case: any case where the inferer resamples all to one size."""
    one_size = getattr(inferer, "slice_size", None) is not None or hasattr(inferer, "sizes")
    return bool(network.choices) and (one_size or tuple(image.shape) in network.met)


def _choose(workflow: ConfigWorkflow, network: RuntimeNetwork, image: torch.Tensor) -> None:
    inferer = workflow.inferer
    # nothing of the case is done yet, and each view's shape is to be met
    kept = {name: getattr(inferer, name) for name in ("progress", "seen", "view_tolerance") if hasattr(inferer, name)}
    for name in kept:
        setattr(inferer, name, None)
    network.settling = True
    try:
        with torch.no_grad():
            network.eval()
            inferer(_middle(image, inferer)[None].to(workflow.evaluator.state.device), network)
    finally:
        network.settling = False
        network.met.add(tuple(image.shape))
        for name, value in kept.items():
            setattr(inferer, name, value)


def _middle(image: torch.Tensor, inferer: Any) -> torch.Tensor:
    """A few slices of the middle; of what is seen by windows of three dimensions, the middle window."""
    plain = image.as_tensor() if hasattr(image, "as_tensor") else image
    if plain.ndim < 4:
        return plain
    window = getattr(inferer, "roi_size", None) or ()
    sizes = window if len(window) == 3 else (*plain.shape[1:3], _PROBED)
    starts = [max(0, (length - size) // 2) for length, size in zip(plain.shape[1:], sizes, strict=True)]
    parts = tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return plain[(slice(None), *parts)]
