"""Pictures of a trained generator, and their folder: each marked as synthetic, with a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import ConfigError, WeightsError
from pipelines.files import safe_name, text, write_file
from pipelines.generation.grids import grey_pictures
from pipelines.generation.latents import picture_seeds, seeded_latents
from pipelines.generation.record import read_record
from pipelines.networks import DCGANGenerator
from pipelines.preparation.new_folder import new_folder
from pipelines.preparation.synthetic import MANIFEST
from pipelines.readers import synthetic_mark
from pipelines.weights import load_weights, read_weights

MOST = 100_000  # pictures of a class in one folder
_BATCH = 64
_USE = "Research and training only: drawn by a network, shows no patient, not for diagnosis."
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@dataclass(frozen=True, eq=False)
class Samples:
    """What one generator drew.

    Attributes:
        class_name: what it was trained on.
        seeds: of each picture's latent vector.
        pictures: uint8 (N, rows, columns), grey.
        record: of the generator (`read_record`).
    """

    class_name: str
    seeds: Sequence[int]
    pictures: NDArray[np.uint8]
    record: Mapping[str, Any]


def load_generator(checkpoint: str | Path) -> DCGANGenerator:
    """The generator that weights are of, whatever its width, in evaluation mode.

    Raises:
        UnreadableFileError, WeightsError: see ``read_weights``; also WeightsError where they are no DCGAN generator's.
    """
    state = read_weights(checkpoint)
    first, last = (state.get(key) for key in ("layers.0.weight", "layers.12.weight"))
    if first is None or last is None or first.ndim != 4 or last.ndim != 4:
        raise WeightsError("the weights are not those of a DCGAN generator", where=checkpoint, how="give a generator's")
    network = DCGANGenerator(in_channels=len(first), out_channels=last.shape[1], features=len(last))
    load_weights(network, checkpoint)
    return network.eval()


def generate(checkpoint: str | Path, number: int, seed: int = 0, device: torch.device | str = "cpu") -> Samples:
    """Pictures of a generator's class, from its weights and the record beside them.

    The same weights and seed give the same pictures, in float32 on one kind of processor; more of them begin with
    fewer. Each has a seed of its own (``Samples.seeds``), from which its latent vector follows.

    Args:
        checkpoint: .safetensors or .pt of one class.
        number: of pictures, 1 to 100,000.
        seed: at least 0.

    Raises:
        ConfigError: a number or seed out of its range.
        UnreadableFileError, WeightsError: weights or record cannot be used.
    """
    if not 1 <= number <= MOST or seed < 0:
        raise ConfigError(f"{number} pictures of seed {seed}", how=f"ask for 1 to {MOST:,}, with a seed from 0 on")
    record = read_record(checkpoint)
    network = load_generator(checkpoint).to(device)
    seeds = picture_seeds(seed, number)
    latents = seeded_latents(seeds, network.layers[0].in_channels)  # type: ignore[arg-type]
    parts = []
    with torch.no_grad():
        # a whole batch each time: sums of another batch may round otherwise
        for start in range(0, number, _BATCH):
            part = latents[start : start + _BATCH]
            padded = torch.cat([part, part.new_zeros(_BATCH - len(part), *part.shape[1:])])
            parts.append(grey_pictures(network(padded.to(device)))[: len(part)])
    return Samples(str(record["class"]), seeds, np.concatenate(parts), record)


def write_samples(output_dir: str | Path, drawn: Iterable[Samples], overwrite: bool = False) -> Path:
    """Write pictures as ``CLASS/CLASS_00001.png`` …, each marked as synthetic, and the manifest ``synthetic.jsonl``.

    A line has ``file``, ``class``, ``seed``, ``generator`` (the digest of the weights), ``synthetic`` (true),
    ``collapsed``, and ``data`` and ``held_out`` of the pictures that the generator learnt from. A PNG has, as text:
    Synthetic, Software, Generator, Class, Seed, Use, and IPTC's digital source type.

    Args:
        output_dir: absent or empty; it appears in one piece.
        drawn: of each class.
        overwrite: replace a folder that this function wrote.

    Returns:
        The manifest's path.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    out = Path(output_dir).absolute()
    with new_folder(out, lambda folder: (folder / MANIFEST).is_file(), overwrite) as folder:
        lines: list[dict[str, Any]] = []
        for samples in drawn:
            home = safe_name(samples.class_name)
            (folder / home).mkdir(exist_ok=True)
            for number, (seed, picture) in enumerate(zip(samples.seeds, samples.pictures, strict=True), start=1):
                file = f"{home}/{home}_{number:05d}.png"
                Image.fromarray(picture).save(folder / file, pnginfo=synthetic_mark(_facts(samples, seed)))
                lines.append({"file": file, "class": samples.class_name, "seed": seed, **_provenance(samples)})
        written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_file(folder / MANIFEST, text(written))
    return out / MANIFEST


def generate_classes(
    checkpoints: Mapping[str, str],
    number: int,
    output_dir: str,
    seed: int = 0,
    device: torch.device | str = "cpu",
    overwrite: bool = False,
) -> Path:
    """Generate ``number`` pictures of each class, and write them (`generate`, `write_samples`).

    Args:
        checkpoints: the weights of each class by its name.

    Returns:
        The manifest's path.

    Raises:
        WeightsError: weights are of another class than they are given for. And what the two functions raise.
    """
    drawn = []
    for name, checkpoint in checkpoints.items():
        samples = generate(checkpoint, number, seed, device)
        if samples.class_name != name:
            what = f"the generator draws {samples.class_name}, and {name} is wanted"
            raise WeightsError(what, where=checkpoint, how="give each class its own weights")
        drawn.append(samples)
    return write_samples(output_dir, drawn, overwrite)


def _provenance(samples: Samples) -> dict[str, Any]:
    data = samples.record["data"]
    return {
        "generator": samples.record["weights"],
        "synthetic": True,
        "collapsed": bool(samples.record["collapsed"]),
        "data": data.get("fingerprint"),
        "held_out": data.get("held_out"),
    }


def _facts(samples: Samples, seed: int) -> dict[str, str]:
    try:
        software = f"imaging-bundles {version('imaging-bundles')}"
    except PackageNotFoundError:  # run from a checkout
        software = "imaging-bundles"
    return {
        "Software": software,
        "Generator": str(samples.record["weights"]),
        "Class": samples.class_name,
        "Seed": str(seed),
        "Use": _USE,
        "Iptc4xmpExt:DigitalSourceType": _SOURCE_TYPE,
    }
