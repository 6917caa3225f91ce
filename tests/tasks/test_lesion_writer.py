"""What is written of a picture: a mask of its size, lying on it as a person sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.readers import read_colour
from pipelines.tasks.dermoscopy.writer import LesionWriter


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """A picture of 60 x 40 as it is seen, a dark spot in its upper left, stored on its side (EXIF orientation 6)."""
    seen = np.full((40, 60, 3), (220, 180, 160), dtype=np.uint8)
    seen[5:15, 10:30] = (80, 40, 30)
    stored = Image.fromarray(seen).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[274] = 6
    stored.save(tmp_path / "turned.png", exif=exif)
    return tmp_path / "turned.png"


def test_mask_report_and_overlay_go_with_the_upright_picture(turned: Path, tmp_path: Path) -> None:
    picture = read_colour(turned)
    prediction = torch.from_numpy((picture.array[:1] < 128).astype(np.uint8))
    files = LesionWriter(str(tmp_path / "out"), {"network": "skips"}).write_case(
        "sub/one", picture, {"pred": prediction}
    )
    assert {path.relative_to(tmp_path / "out").as_posix() for path in files.values()} == {
        "sub/one_mask.png", "sub/one_overlay.png", "sub/one_report.json",
    }  # fmt: skip
    mask = Image.open(files["mask"])
    assert (mask.size, mask.mode) == ((60, 40), "L")
    values = np.asarray(mask)
    assert set(np.unique(values)) == {0, 1}
    assert values[5:15, 10:30].all()
    assert values.sum() == 200
    report = json.loads(files["report"].read_text())
    assert report["size_px"] == {"width": 60, "height": 40}
    assert report["box_px"] == {"left": 10, "top": 5, "width": 20, "height": 10}
    assert (report["area_px"], report["lesion_found"], report["network"]) == (200, True, "skips")
    assert any("EXIF" in note for note in report["notes"])
    assert "not for diagnosis" in report["use"]
    assert Image.open(files["overlay"]).size == (60, 40)


def test_nothing_found_is_said(turned: Path, tmp_path: Path) -> None:
    picture = read_colour(turned)
    files = LesionWriter(str(tmp_path)).write_case("a", picture, {"pred": torch.zeros(1, 60, 40)})
    report = json.loads(files["report"].read_text())
    assert (report["lesion_found"], report["area_px"], report["box_px"]) == (False, 0, None)


def test_a_mask_of_another_size_is_refused(turned: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mask is"):
        LesionWriter(str(tmp_path)).write_case("a", read_colour(turned), {"pred": torch.zeros(1, 40, 60)})
