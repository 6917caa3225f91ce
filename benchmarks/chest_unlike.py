"""What of pictures that are no children's frontal chest X-rays is told from them, and by what.

    python benchmarks/chest_unlike.py data/chest_xray --others adults=DIR dermoscopy=DIR ct=DIR --out chest_unlike

Prints a table: of the test pictures, of the same upside down, on their side, as negatives, blurred and noisy, and of
other folders, the share beyond each limit that is stored with the shipped weights (reconstruction error, similarity,
distance of the code), and the share that reading refuses, or that the checks of every chest X-ray refer anyway (the
likeness to a frontal one, `pipelines/tasks/chest_xray/quality.py`). ``--out`` keeps every picture's numbers as CSV.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageFilter, ImageOps

from pipelines.errors import PipelinesError
from pipelines.evaluation.familiarity import TITLES, beyond, measure
from pipelines.networks import EncodedClassifier
from pipelines.preparation.datalist import files
from pipelines.readers import read_xray
from pipelines.tasks.chest_xray.quality import xray_doubts
from pipelines.transforms.temperature import read_calibration
from pipelines.weights import load_weights

MODELS = Path(__file__).resolve().parent.parent / "bundles" / "chest_xray_encoded_classification" / "models"
SIZE = (224, 224)
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}


def noisy(picture: Image.Image) -> Image.Image:
    drawn = np.random.default_rng(0).normal(0, 20, picture.size[::-1])
    return Image.fromarray(np.clip(np.asarray(picture) + drawn, 0, 255).astype(np.uint8))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "test pictures": lambda picture: picture,
    "upside down": ImageOps.flip,
    "on their side": lambda picture: picture.rotate(90, expand=True),
    "negatives": ImageOps.invert,
    "blurred (sigma 4)": lambda picture: picture.filter(ImageFilter.GaussianBlur(4)),
    "noisy (20 grey levels)": noisy,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--others", nargs="*", default=[], metavar="NAME=DIR")
    parser.add_argument("--checkpoint", type=Path, default=MODELS / "encoded_cnn.safetensors")
    parser.add_argument("--most", type=int, default=400, help="pictures of each kind, at equal steps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    network = EncodedClassifier(as_two_classes=True).eval()
    load_weights(network, args.checkpoint)
    calibration = read_calibration(args.checkpoint)
    if calibration is None or calibration.familiarity is None:
        raise SystemExit(f"{args.checkpoint} has no limits beside it")
    limits = calibration.familiarity.limits
    test = [Path(item["image"]) for item in files(args.prepared, "datalist.json", "test")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, path in kinds(test, dict(each.split("=", 1) for each in args.others), args.most, Path(folder)):
            rows.append({"kind": kind, "picture": path.name, **judged(network, path, limits)})
    found = pd.DataFrame(rows)
    args.out.mkdir(parents=True, exist_ok=True)
    found.to_csv(args.out / "pictures.csv", index=False)
    columns = [*TITLES, "refused", "doubted", "new"]
    print(f"| pictures | number | {' | '.join(columns)} |")
    print("|---|" + "---:|" * (1 + len(columns)))
    for kind, part in found.groupby("kind", sort=False):
        print(f"| {kind} | {len(part)} | {' | '.join(f'{100 * part[c].mean():.1f} %' for c in columns)} |")


def kinds(test: list[Path], others: dict[str, str], most: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """Each kind's pictures, those that are made for it on their way through ``folder``."""
    for kind, change in CHANGES.items():
        for path in spread(test, most):
            target = folder / f"{path.stem}.png"
            change(Image.open(path).convert("L")).save(target)
            yield kind, target
    for kind, place in others.items():
        for path in spread(sorted(p for p in Path(place).rglob("*") if p.suffix.lower() in SUFFIXES), most):
            target = folder / f"{path.stem}.png"
            Image.open(path).convert("L").save(target)
            yield f"{kind}, as grey", target


def spread(paths: list[Path], most: int) -> list[Path]:
    return [paths[k] for k in np.unique(np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int))]


def judged(network: EncodedClassifier, path: Path, limits: dict[str, float]) -> dict[str, object]:
    """Which limits a picture is beyond, and what the checks say of it; ``new``: beyond those of `unlike_by` alone."""
    plain = np.asarray(Image.open(path), dtype=np.float32).T / 255
    found = measure(network, torch.from_numpy(np.ascontiguousarray(plain))[None], SIZE)
    far = {name: bool(beyond(found.measures, limits, [name])) for name in TITLES}
    try:
        case = read_xray(path)
        refused, doubted = False, bool([*case.doubts, *xray_doubts(case.array)])
    except PipelinesError:
        refused, doubted = True, False
    values = {f"{name}_value": value for name, value in found.measures.items()}
    return {
        **far,
        "refused": refused,
        "doubted": doubted,
        "new": (far["mse"] or far["code_distance"]) and not (refused or doubted),
        **values,
    }


if __name__ == "__main__":
    main()
