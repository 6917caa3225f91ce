"""Ships the generators of trainings of chest_xray_gan, and draws what its pages show: samples, and their neighbours.

    python benchmarks/gan_shipping.py CKPT_DIR... --data data/chest_xray --neighbours DIR

writes for each ``models/NETWORK.safetensors`` with its record and ``docs/images/gan_CLASS.png`` (8 x 8 samples), and
prints the figures of the bundle's page. Samples beside real pictures go to a folder of their own: no data in docs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from monai.transforms import Compose, Resized, ScaleIntensityRanged
from PIL import Image

from pipelines.generation import (
    generate,
    load_generator,
    pictures_of,
    read_record,
    record_path,
    report_neighbours,
)
from pipelines.generation.grids import grid
from pipelines.readers import synthetic_mark
from pipelines.transforms import LoadXrayd
from pipelines.weights import save_weights

PROJECT = Path(__file__).resolve().parents[1]
CLASSES = {0: "normal", 1: "pneumonia"}


def main() -> None:
    """Ship each, and print its figures as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ckpt_dirs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the prepared folder that they were trained on")
    parser.add_argument("--neighbours", type=Path, default=Path("neighbours"), metavar="DIR")
    args = parser.parse_args()
    transform = Compose(
        [LoadXrayd("image"), Resized("image", (64, 64), mode="area"), ScaleIntensityRanged("image", 0, 1, -1, 1, True)]
    )
    images = PROJECT / "docs" / "images"
    for folder in args.ckpt_dirs:
        made = folder / "model.pt"
        record = read_record(made)
        name = record["class"]
        target = PROJECT / "bundles" / "chest_xray_gan" / "models" / f"dcgan_{name}.safetensors"
        note = {
            "data": f"Kermany et al. 2018, CC BY 4.0; {record['data']['pictures']} training pictures of class {name}",
            "use": "research and training only; what it draws is synthetic and shows no patient",
        }
        save_weights(load_generator(made), target, note)
        target.chmod(0o644)
        record_path(target).write_bytes(record_path(made).read_bytes())
        mark = synthetic_mark({"Class": name, "Generator": record["weights"]})
        drawn = Image.fromarray(grid(generate(target, 64).pictures, 8))
        drawn.save(images / f"gan_{name}.png", optimize=True, pnginfo=mark)
        parts = [
            pictures_of(str(args.data), "datalist.json", name, CLASSES, part) for part in ("training", "validation")
        ]
        found = report_neighbours(str(target), *parts, transform, str(args.neighbours / name))
        sys.stdout.write(json.dumps({"class": name, **record["diversity"], "epochs": record["epochs"], **found}) + "\n")


if __name__ == "__main__":
    main()
