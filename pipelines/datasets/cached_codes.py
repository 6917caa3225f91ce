"""An encoder's codes of pictures, computed once and kept on disk under a fingerprint of all that they depend on."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import monai
import numpy as np
import torch
from monai.data import Dataset
from monai.transforms import Compose, Randomizable, Transform

from pipelines.datasets.classified_pictures import FeatureItems, check_variants, encoded
from pipelines.errors import StaleCacheError
from pipelines.files import file_digest, make_folder, text, write_file
from pipelines.weights import state_digest

logger = logging.getLogger(__name__)

CODES, HEAD = "codes.npy", "codes.json"
DTYPES = ("float16", "float32")
WORDS = {
    "data": "other pictures, classes or a split that has changed",
    "preprocessing": "another preprocessing",
    "encoder": "another encoder",
}


class CachedCodes(FeatureItems):
    """The codes that a frozen encoder has of classified pictures, on disk: computed at the first use, then read.

    The folder has ``codes.npy`` (variants, N, C, h, w) and ``codes.json``, which is written last: what was interrupted
    has none, and is computed again. It holds three fingerprints: of the data (each picture's contents, class and place
    in the list), of the preprocessing (the transforms with their arguments, sizes, type and MONAI's version) and of the
    encoder's weights. Of several processes the first one computes, and the others wait.

    Args:
        data: items of a datalist with classes: ``image`` is a path, ``label`` an int.
        transform: gives ``image``, C x W x H; random for variants.
        network: a frozen encoder (see ``Encoder``); ``encoder_prefix`` is what its encoder's weights begin with.
        folder: of the cache.
        image_size: (W, H) that pictures are resampled to, as at inference; None where the transform has done it.
        variants: how many times each picture goes through the transform.
        dtype: "float16" or "float32", on disk.
        seed: of random transforms.
        renew: compute anew, whatever there is.
        batch_size: pictures a forward pass. device: where the network is.

    Raises:
        ValueError: there is no picture, ``variants`` is below 1, or the type is none of the two.
        StaleCacheError: the codes there are of other data, preprocessing or weights.
        OutputError: they cannot be written.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable,
        network: Any,
        folder: str | Path,
        image_size: Sequence[int] | None = None,
        variants: int = 1,
        dtype: str = "float16",
        seed: int = 0,
        renew: bool = False,
        batch_size: int = 32,
        device: torch.device | str = "cpu",
    ) -> None:
        check_variants(len(data), variants)
        if dtype not in DTYPES:
            raise ValueError(f"codes are kept as {' or '.join(DTYPES)}, got {dtype!r}")
        self.folder = Path(folder)
        size = None if image_size is None else [int(side) for side in image_size]
        rules = [described(transform), size, variants, dtype, seed if variants > 1 else None, monai.__version__]
        self.prints = {
            "data": _data_print(data),
            "preprocessing": _text_print(json.dumps(rules, sort_keys=True)),
            "encoder": encoder_print(network),
        }
        ranks = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        first = ranks == 1 or torch.distributed.get_rank() == 0
        if first and (renew or not self._whole()):
            self._compute(data, transform, network, size, variants, np.dtype(dtype), seed, batch_size, device)
        if ranks > 1:
            torch.distributed.barrier()
        codes = np.load(self.folder / CODES, mmap_mode="c")  # torch wants arrays that may be written to
        super().__init__(codes, np.array([int(item["label"]) for item in data], dtype=np.int64))

    def require(self, network: Any) -> None:
        """Hold the encoder of a network against the one that the codes are of.

        Raises:
            StaleCacheError: it is another one.
        """
        if encoder_print(network) != self.prints["encoder"]:
            raise StaleCacheError(
                "the codes are of another encoder than that of the weights that training begins with",
                where=self.folder,
                how="give the same autoencoder by --encoder_weights",
            )

    def _whole(self) -> bool:
        """Whether the codes are there and those that are wanted."""
        try:
            head = json.loads((self.folder / HEAD).read_text(encoding="utf-8"))
            shape = list(np.load(self.folder / CODES, mmap_mode="r").shape)
            prints = {key: str(head["fingerprints"][key]) for key in WORDS}
            sound = shape == head["shape"]
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            sound = False
        if not sound:
            if self.folder.is_dir() and any(self.folder.iterdir()):
                logger.warning("%s: the codes are not whole, and are computed again", self.folder)
            return False
        changed = [key for key in WORDS if prints[key] != self.prints[key]]
        if changed:
            raise StaleCacheError(
                f"the codes kept here are stale ({', '.join(changed)}): they are of "
                + " and ".join(WORDS[key] for key in changed),
                where=self.folder,
                how="compute them anew with --renew_codes True, or give another --code_dir",
            )
        return True

    def _compute(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable,
        network: Any,
        size: Sequence[int] | None,
        variants: int,
        dtype: np.dtype,
        seed: int,
        batch_size: int,
        device: torch.device | str,
    ) -> None:
        logger.info("%s: the codes of %d pictures are computed, once", self.folder, len(data))
        make_folder(self.folder)
        (self.folder / HEAD).unlink(missing_ok=True)
        if isinstance(transform, Randomizable):
            transform.set_random_state(seed=seed)
        pictures = Dataset(list(data), transform)
        shape: list[int] = []

        def fill(file: IO[bytes]) -> None:
            for _ in range(variants):
                for batch in encoded(pictures, network, batch_size, device, size):
                    if not shape:
                        shape.extend([variants, len(data), *batch.shape[1:]])
                        about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
                        np.lib.format.write_array_header_1_0(file, about | {"shape": tuple(shape)})
                    file.write(batch.numpy().astype(dtype).tobytes())

        write_file(self.folder / CODES, fill, durable=True, how="free space or give another --code_dir")
        head = {"fingerprints": self.prints, "shape": shape, "dtype": dtype.name}
        write_file(self.folder / HEAD, text(json.dumps(head, indent=2) + "\n"), durable=True)


def encoder_print(network: Any) -> str:
    """The digest of the encoder's weights within a network."""
    inner = getattr(network, "module", network)
    prefix = getattr(inner, "encoder_prefix", "encoder.")
    return state_digest({key: value for key, value in inner.state_dict().items() if key.startswith(prefix)})


def described(step: Any) -> Any:
    """A transform as plain data: its class, what its constructor was told, and the transforms in it; of random ones the
    random ones alone, as the others in them hold what was drawn last."""
    if isinstance(step, (str, int, float, bool, type(None))):
        return step
    if isinstance(step, np.ndarray | np.generic | torch.Tensor):
        return described(step.tolist())
    if isinstance(step, Mapping):
        return {str(key): described(value) for key, value in step.items()}
    if isinstance(step, (list, tuple)):
        return [described(each) for each in step]
    if isinstance(step, Transform):
        told = set(inspect.signature(type(step).__init__).parameters)
        inner = Randomizable if isinstance(step, Randomizable) and not isinstance(step, Compose) else Transform
        kept = {key: value for key, value in sorted(vars(step).items()) if key in told or isinstance(value, inner)}
        name = f"{type(step).__module__}.{type(step).__qualname__}"
        return {"class": name, **{key: described(value) for key, value in kept.items()}}
    return getattr(step, "__qualname__", type(step).__qualname__)


def _data_print(data: Sequence[Mapping[str, Any]]) -> str:
    return _text_print("\n".join(f"{file_digest(Path(item['image']))} {int(item['label'])}" for item in data))


def _text_print(content: str) -> str:
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()
