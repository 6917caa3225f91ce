"""Whether a generator gives back pictures that it learnt from: its samples beside their nearest training pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipelines.files import make_folder, text, write_file
from pipelines.generation.grids import grey_pictures, grid
from pipelines.generation.pictures import generate

logger = logging.getLogger(__name__)

COPY_RATIO = 1 / 3
_COLUMNS = 8


def nearest(pictures: NDArray[np.uint8], others: NDArray[np.uint8]) -> tuple[NDArray, NDArray]:
    """The two nearest of ``others`` to each picture, uint8 (N, rows, columns) of one size.

    Returns:
        Distances (N, 2), root mean square differences of grey 0..1, the nearer first; and their places, (N, 2).

    Raises:
        ValueError: there are fewer than two others.
    """
    if len(others) < 2:
        raise ValueError(f"the two nearest of {len(others)} pictures")
    flat, base = (
        torch.from_numpy(each.reshape(len(each), -1).astype(np.float32) / np.float32(255))
        for each in (pictures, others)
    )
    distances = torch.cdist(flat, base, compute_mode="donot_use_mm_for_euclid_dist") / flat.shape[1] ** 0.5
    found = distances.topk(2, largest=False)
    return found.values.numpy(), found.indices.numpy()


def memorisation(
    samples: NDArray[np.uint8], training: NDArray[np.uint8], held_out: NDArray[np.uint8]
) -> dict[str, float | int]:
    """How near samples come to training pictures, beside how near real pictures of other patients do.

    A sample counts as a copy where its nearest training picture is nearer than a third of the second nearest (Yoon et
    al., Diffusion Probabilistic Models Generalize when They Fail to Memorize, 2023). Copies of a picture that is in
    training twice escape that; preparing leaves such out.

    Args:
        samples, training, held_out: uint8 (N, rows, columns).

    Returns:
        ``samples``, ``training``, ``held_out`` (numbers); ``sample_nearest`` and ``held_out_nearest`` (median distance
        to the nearest training picture, grey 0..1), ``sample_least`` and ``held_out_least`` (the smallest one);
        ``nearer_than_held_out`` (share of samples nearer than 99 % of the held-out pictures are: about 0.01 of pictures
        like those; blurred samples have more, being near to every average picture); ``copies``.
    """
    own, other = nearest(samples, training)[0], nearest(held_out, training)[0]
    return {
        "samples": len(samples),
        "training": len(training),
        "held_out": len(held_out),
        "sample_nearest": float(np.median(own[:, 0])),
        "held_out_nearest": float(np.median(other[:, 0])),
        "sample_least": float(own[:, 0].min()),
        "held_out_least": float(other[:, 0].min()),
        "nearer_than_held_out": float((own[:, 0] < np.quantile(other[:, 0], 0.01)).mean()),
        "copies": int((own[:, 0] < COPY_RATIO * own[:, 1]).sum()),
    }


def neighbour_picture(samples: NDArray[np.uint8], training: NDArray[np.uint8], rows: int = 4) -> NDArray[np.uint8]:
    """Samples above their nearest training pictures, eight a row: the first rows those nearest of all, the last half
    the first ones drawn. uint8 (rows, columns)."""
    distances, places = nearest(samples, training)
    number = min(rows * _COLUMNS, len(samples) // _COLUMNS * _COLUMNS or len(samples))
    closest = np.argsort(distances[:, 0], kind="stable")[: number // 2]
    shown = [*closest, *[index for index in range(len(samples)) if index not in closest][: number - len(closest)]]
    lines = []
    for start in range(0, len(shown), _COLUMNS):
        part = shown[start : start + _COLUMNS]
        for row in ([samples[index] for index in part], [training[places[index, 0]] for index in part]):
            lines += [*row, *[np.zeros_like(samples[0])] * (_COLUMNS - len(row))]
    return grid(lines, _COLUMNS)


def report_neighbours(
    checkpoint: str,
    training: Sequence[Mapping[str, Any]],
    held_out: Sequence[Mapping[str, Any]],
    transform: Callable[[Any], Any],
    output_dir: str,
    number: int = 512,
    seed: int = 0,
) -> dict[str, float | int]:
    """Write ``neighbours.png`` and ``neighbours.json`` of a generator (`memorisation`, `neighbour_picture`).

    Args:
        checkpoint: of the generator.
        training, held_out: items of the same class of the list that it was trained on.
        transform: reads an item's ``image`` as training did: 1 x W x H, -1..1.
        output_dir: made if missing.
        number, seed: of the samples.

    Raises:
        ConfigError, UnreadableFileError, WeightsError: see ``generate``. OutputError: the folder cannot be written.
    """
    samples = generate(checkpoint, number, seed).pictures
    known, others = (_grey(items, transform) for items in (training, held_out))
    found = memorisation(samples, known, others)
    folder = Path(output_dir)
    make_folder(folder)
    picture = Image.fromarray(neighbour_picture(samples, known))
    write_file(folder / "neighbours.png", lambda file: picture.save(file, "PNG"))
    write_file(folder / "neighbours.json", text(json.dumps(found, indent=2) + "\n"))
    logger.info(
        "%d samples: median distance to the nearest of %d training pictures %.4f; that of %d held-out ones %.4f; "
        "%d copies; see %s",
        found["samples"], found["training"], found["sample_nearest"], found["held_out"], found["held_out_nearest"],
        found["copies"], folder / "neighbours.png",
    )  # fmt: skip
    return found


def _grey(items: Sequence[Mapping[str, Any]], transform: Callable[[Any], Any]) -> NDArray[np.uint8]:
    read = [torch.as_tensor(transform(dict(item))["image"]).as_subclass(Tensor) for item in items]
    return grey_pictures(torch.stack(read))
