"""Draws the README's four pictures: phantoms, segmented and classified by the shipped weights.

    python benchmarks/readme_pictures.py

writes ``docs/images/task_*.png``. They show what an answer looks like; how good a network is they do not show.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from pipelines.__main__ import main

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
HEIGHT = 160
SKIN = "ISBI2016_ISIC_Part1_Test_Data/phantom_003"
# task: what is drawn, what of it is given, the bundle and more words, and the part of the overlay that is shown
TASKS = {
    "lesions": (
        ["covid_ct", "--cases", "2", "--slices", "12", "--size", "256"], "ct_scans/phantom_000.nii.gz",
        ["covid_ct_lesion_segmentation"], (768, 54, 1024, 206),
    ),
    "severity": (
        ["covid_ct", "--cases", "2", "--slices", "12", "--size", "256"], "ct_scans/phantom_000.nii.gz",
        ["covid_ct_severity_classification", "--network", "severity_shufflenet"], (344, 0, 676, 290),
    ),
    "skin": (["isic2016", "--cases", "12", "--size", "320"], f"{SKIN}.jpg", ["skin_lesion_segmentation"], None),
    "xray": (
        ["chest_xray", "--cases", "12", "--size", "256"], "train/PNEUMONIA/person2_bacteria_2.jpeg",
        ["chest_xray_pneumonia_classification"], None,
    ),
}  # fmt: skip


def draw(folder: Path) -> int:
    """Draws, predicts and crops, by way of ``folder``; the first exit code that is not 0, or 0."""
    for task, (phantom, given, (bundle, *words), box) in TASKS.items():
        raw, out = folder / task, folder / f"{task}_out"
        code = main(["data", "phantom", *phantom, "--raw", "--out", str(raw)])
        code = code or main(["predict", bundle, str(raw / given), "--out", str(out), *words])
        if code:
            return code
        (overlay,) = out.glob("*_overlay.png")
        picture = Image.open(overlay).convert("RGB").crop(box)
        picture = picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)
        picture.quantize(128).save(IMAGES / f"task_{task}.png", optimize=True)
    return 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(draw(Path(temporary)))
