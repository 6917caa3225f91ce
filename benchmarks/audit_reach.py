"""What `data audit` finds of neighbouring slices and of changed copies, and how often it is wrong.

    python benchmarks/audit_reach.py covid_ct_seg --pictures lesions=DIR x_rays=DIR skin=DIR

`covid_ct_seg` holds slices.csv (form, image, scan, patient, slice) and the forms' images and lung masks. Prints three
tables: of pairs of slices, by form and by how far they lie apart in one scan, how many are held to be of one patient,
and of pairs of two patients how many are; the same by slice, with every other one of a scan in training and the rest in
the test set, and with the patients kept apart (patients are halved at random, ten times); of 60 pictures of each folder
how many changed copies are found, and of all their pairs (at most 600 pictures) how many are held to be one.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.preparation.audit.items import Item
from pipelines.preparation.audit.looks import Look, look_at
from pipelines.preparation.audit.neighbours import pairs_of

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
STEPS = ((0, 0), (1, 1), (2, 3), (4, 6), (7, 10), (11, 20))
COPIES, MOST = 60, 600
Change = Callable[[Image.Image], Image.Image]


def moved(part: float) -> Change:
    def change(picture: Image.Image) -> Image.Image:
        by = round(part * picture.height)
        return picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, 0, 0, 1, by))

    return change


def cropped(part: float) -> Change:
    def change(picture: Image.Image) -> Image.Image:
        x, y = round(part * picture.width / 2), round(part * picture.height / 2)
        return picture.crop((x, y, picture.width - x, picture.height - y))

    return change


CHANGES: dict[str, Change] = {
    "as small JPEG": lambda picture: picture.resize((128, 128)),
    "a quarter turn": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "negative": lambda picture: picture.point(lambda value: 255 - value),
    "darker (gamma 1.8)": lambda picture: picture.point(lambda value: round(255 * (value / 255) ** 1.8)),
    "moved by 1 %": moved(0.01),
    "moved by 2 %": moved(0.02),
    "moved by 3 %": moved(0.03),
    "cropped by 2 %": cropped(0.02),
    "cropped by 5 %": cropped(0.05),
    "turned by 2 degrees": lambda picture: picture.rotate(2, Image.Resampling.BILINEAR),
    "turned by 5 degrees": lambda picture: picture.rotate(5, Image.Resampling.BILINEAR),
}


def item(number: int, image: Path, label: Path | None = None) -> Item:
    return Item(0, "training", str(number), "", image, label)


def alike(looks: Sequence[Look]) -> set[tuple[int, int]]:
    return {(pair.first, pair.second) for pair in pairs_of(looks, [0] * len(looks)) if pair.alike}


def slices(root: Path) -> None:
    with (root / "slices.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    looks = []
    for number, row in enumerate(rows):
        image = root / row["form"] / "images" / row["image"]
        looks.append(look_at(item(number, image, root / row["form"] / "lung_masks" / f"{image.stem}.png")))
    pairs = alike(looks)
    n = len(rows)
    found = np.zeros((n, n), bool)
    for first, second in pairs:
        found[first, second] = found[second, first] = True
    form, scan, patient, place = (
        np.array([row[key] for row in rows]) for key in ("form", "scan", "patient", "slice")
    )  # fmt: skip
    place = place.astype(int)
    one, other = np.triu_indices(n, 1)
    apart = np.abs(place[one] - place[other])
    print("| pairs | of two patients, held to be one's | " + " | ".join(f"{a} to {b} apart" for a, b in STEPS) + " |")
    print("|---|---:|" + "---:|" * len(STEPS))
    forms = sorted(set(form))
    kinds = [(a, b) for k, a in enumerate(forms) for b in forms[k:]]
    for first, second in kinds:
        of = (form[one] == first) & (form[other] == second) | (form[one] == second) & (form[other] == first)
        strangers = of & (patient[one] != patient[other])
        cells = []
        for low, high in STEPS:
            chosen = of & (scan[one] == scan[other]) & (apart >= low) & (apart <= high)
            hit = int(found[one[chosen], other[chosen]].sum())
            cells.append(f"{hit / chosen.sum():.3f}" if chosen.any() else "")
        wrong = int(found[one[strangers], other[strangers]].sum())
        print(f"| {first} and {second} | {wrong} of {strangers.sum()} | {' | '.join(cells)} |")
    print()
    for title, few in (("every other slice in the test set", 2), ("every tenth", 10)):
        tested = place % few == 0
        near = (scan[:, None] == scan) & (np.abs(place[:, None] - place) <= 3) & tested[:, None] & ~tested
        near &= form[:, None] == form
        due = near.any(axis=1)
        caught = (found & tested[:, None] & ~tested).any(axis=1)
        print(f"{title}: {(caught & due).sum()} of {due.sum()} test slices with a neighbour in training are found")
    forms_apart = (form == forms[0])[:, None] & (form == forms[-1]) & (scan[:, None] == scan)
    due = (forms_apart & (np.abs(place[:, None] - place) <= 3)).any(axis=1)
    caught = (forms_apart & found).any(axis=1)
    print(f"one form in the test set, the other in training: {(caught & due).sum()} of {due.sum()} slices are found")
    patients = np.array(sorted(set(patient)))
    wrong_slices = 0
    for seed in range(10):
        tested = np.isin(patient, np.random.default_rng(seed).permutation(patients)[: len(patients) // 2])
        wrong_slices += int((found & tested[:, None] & ~tested).any(axis=1).sum())
    print(f"patients kept apart, ten halvings: {wrong_slices} test slices are held to be of a patient of training\n")


def copies(name: str, folder: Path) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    few = paths[:: max(1, len(paths) // COPIES)][:COPIES]
    cells = []
    with tempfile.TemporaryDirectory() as kept:
        for change in CHANGES.values():
            looks = []
            for number, path in enumerate(few):
                with Image.open(path) as picture:
                    change(picture.convert("L")).save(Path(kept) / f"{number}.jpg", quality=70)
                looks += [look_at(item(number, path)), look_at(item(number, Path(kept) / f"{number}.jpg"))]
            pairs = alike(looks)
            cells.append(sum((2 * k, 2 * k + 1) in pairs for k in range(len(few))))
    many = paths[:: max(1, len(paths) // MOST)][:MOST]
    pairs = alike([look_at(item(number, path)) for number, path in enumerate(many)])
    total = len(many) * (len(many) - 1) // 2
    print(f"| {name} ({len(few)}) | {' | '.join(map(str, cells))} | {len(pairs)} of {total} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slices", type=Path)
    parser.add_argument("--pictures", nargs="*", default=[], metavar="NAME=DIR")
    args = parser.parse_args()
    slices(args.slices)
    print(f"| copies found | {' | '.join(CHANGES)} | pairs as they are |")
    print("|---|" + "---:|" * (len(CHANGES) + 1))
    for word in args.pictures:
        name, _, folder = word.partition("=")
        copies(name, Path(folder))


if __name__ == "__main__":
    main()
