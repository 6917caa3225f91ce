"""A network as MLflow keeps it in its registry: saved without pickled code, used for pictures of any size it takes.

Two flavours of one model. ``pytorch`` is the network exported by ``torch.export`` at the size it was trained at, since
an export writes down the sizes that a U-Net's skips depend on. ``python_function``, which ``mlflow.pyfunc`` and
``mlflow models serve`` use, builds the network anew from its definition and its weights as ``.safetensors``, by the
loader in this module.
"""

from __future__ import annotations

import json
import pydoc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow.pytorch
import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from monai.bundle import ConfigParser

from pipelines.errors import ConfigError, UnreadableFileError
from pipelines.weights import load_weights

FILES = "extra_files"  # of the model: definition, weights, calibration
DEFINITION = "network.json"
_TRUSTED = ("pipelines.networks.", "monai.networks.nets.")
_OTHER_SIZES = ((32, 64, 16), (19, 7, 5))  # added to a picture's (or volume's) size to see whether the network minds


def definition_of(config: ConfigParser) -> dict[str, Any]:
    """The ``network_def`` of a bundle's config, its references resolved to plain values."""
    raw = config.get("network_def")
    return {key: config.get_parsed_content(f"network_def#{key}") if key != "_target_" else raw[key] for key in raw}


def build(definition: Mapping[str, Any]) -> torch.nn.Module:
    """The network of a definition.

    Raises:
        ConfigError: it names what is no network of MONAI or of this package, or holds an expression to be evaluated.
    """
    target = definition.get("_target_")
    plain = json.dumps(definition)
    if not _is_network(target) or any(mark in plain for mark in ('"$', '"@', '"%')) or plain.count('"_target_"') != 1:
        raise ConfigError("the definition is not that of a network", where=DEFINITION, how="register it by `promote`")
    try:
        network = ConfigParser({"network": dict(definition)}).get_parsed_content("network")
    except (ModuleNotFoundError, ValueError, RuntimeError, TypeError) as error:
        network = error
    if not isinstance(network, torch.nn.Module):
        raise ConfigError("the definition is not that of a network", where=DEFINITION, how="register it by `promote`")
    return network


def _is_network(target: object) -> bool:
    """Whether a definition names a class of networks; a short name is one of MONAI's. Nothing is called to find out."""
    if not isinstance(target, str):
        return False
    place = target if "." in target else f"monai.networks.nets.{target}"
    found = pydoc.locate(place) if place.startswith(_TRUSTED) else None
    return isinstance(found, type) and issubclass(found, torch.nn.Module)


def signature_of(network: torch.nn.Module, example: np.ndarray, *, free: bool = True) -> ModelSignature:
    """Shapes of what goes in and comes out, with -1 where the network takes any: batch, and with ``free`` the size.

    The tensors have no names: a named one would make MLflow take a dictionary only.

    Args:
        network: in evaluation mode.
        example: a batch at the size the network was trained at, B x C x H x W (or x D).
    """
    shape = [-1, *example.shape[1:]]
    answer = _shape(network, example.shape)
    out = [-1, *answer[1:]]
    if free:
        sizes = [[size + more for size, more in zip(example.shape[2:], step, strict=False)] for step in _OTHER_SIZES]
        others = [_shape(network, (*example.shape[:2], *size)) for size in sizes]
        if all(others):
            shape[2:] = [-1] * (len(shape) - 2)
            same = [len({size, *(other[axis] for other in others)}) == 1 for axis, size in enumerate(answer)]
            out = [size if fixed and axis else -1 for axis, (size, fixed) in enumerate(zip(answer, same, strict=True))]
    kind = np.dtype(np.float32)
    return ModelSignature(Schema([TensorSpec(kind, tuple(shape))]), Schema([TensorSpec(kind, tuple(out))]))


def _shape(network: torch.nn.Module, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of the answer to an input of this shape; () if the network does not take it."""
    try:
        with torch.inference_mode():
            return tuple(network(torch.zeros(*shape)).shape)
    except (RuntimeError, ValueError, IndexError):
        return ()


def save_model(
    path: str,
    mlflow_model: Model,
    *,
    network: torch.nn.Module,
    definition: Mapping[str, Any],
    example: np.ndarray,
    files: Sequence[Path],
) -> None:
    """Save both flavours; called by ``mlflow.models.Model.log``, whose flavour this module is.

    Args:
        path: where; made.
        mlflow_model: completed here.
        network: in evaluation mode, on the CPU, with its weights.
        definition: of the network.
        example: a batch of two or more (``torch.export`` takes a batch of one for a constant).
        files: the weights as ``.safetensors``, and what belongs to them.

    Raises:
        ConfigError: ``torch.export`` cannot write the network down.
    """
    place = Path(path).parent / DEFINITION
    place.write_text(json.dumps(definition, indent=2) + "\n", encoding="utf-8")
    try:
        mlflow.pytorch.save_model(
            network,
            path,
            mlflow_model=mlflow_model,
            signature=signature_of(network, example, free=False),
            input_example=example,
            extra_files=[str(place), *map(str, files)],
            serialization_format="pt2",
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
        )
    except (MlflowException, OSError):
        raise  # of the store or the disk
    except Exception as error:  # torch.export has no error of its own
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        what = f"torch.export cannot write this network down ({reason[:300]})"
        raise ConfigError(what, where=definition.get("_target_"), how="promote a run of another network") from error
    mlflow_model.signature = signature_of(network, example)
    flavour = mlflow_model.flavors["python_function"]
    flavour |= {"loader_module": __name__, "data": FILES}
    mlflow_model.save(str(Path(path) / "MLmodel"))


def weights_in(folder: Path) -> Path:
    """The weights among a registered model's files.

    Raises:
        UnreadableFileError: there are none, or several.
    """
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise UnreadableFileError(
            "this registered model has no weights as .safetensors", where=folder, how="register it by `promote`"
        )
    return found[0]


class RegisteredNetwork:
    """What ``mlflow.pyfunc`` calls: an array in, the network's answer out, as the model's signature has them."""

    def __init__(self, network: torch.nn.Module, device: torch.device) -> None:
        self.network = network.eval().to(device)
        self.device = device

    def predict(self, data: np.ndarray, params: Mapping[str, Any] | None = None) -> np.ndarray:
        """The network's answer, before softmax.

        Args:
            data: B x C x H x W, float32, preprocessed as the bundle's ``inference.yaml`` does.
            params: none are known.
        """
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32)).to(self.device)
            return self.network(given).cpu().numpy()


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> RegisteredNetwork:
    """The entry point that MLflow calls with the folder of the files.

    Raises:
        ConfigError, UnreadableFileError, WeightsError: the files are not those that ``save_model`` wrote.
    """
    folder = Path(path)
    try:
        definition = json.loads((folder / DEFINITION).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableFileError("the network's definition cannot be read", where=folder / DEFINITION) from error
    network = build(definition)
    load_weights(network, weights_in(folder))
    given = (model_config or {}).get("device")
    return RegisteredNetwork(network, torch.device(given or ("cuda" if torch.cuda.is_available() else "cpu")))
