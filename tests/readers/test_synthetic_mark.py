"""The mark of a generated picture is in the file, whatever it is called."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from xray_pictures import chest

from pipelines.readers import SYNTHETIC_NOTE, is_synthetic, read_colour, read_xray, synthetic_mark


def save(path: Path, info: PngInfo | None = None) -> Path:
    Image.fromarray(chest()).save(path, "PNG", pnginfo=info)
    return path


def test_a_marked_picture_is_seen_under_any_name(tmp_path: Path) -> None:
    marked = save(tmp_path / "made.png", synthetic_mark({"Seed": "1"}))
    assert is_synthetic(marked)
    assert is_synthetic(shutil.copy(marked, tmp_path / "person7_bacteria_3.jpeg"))
    assert not is_synthetic(save(tmp_path / "real.png"))
    assert not is_synthetic(tmp_path / "none.png")
    assert not is_synthetic(tmp_path)


@pytest.mark.parametrize("begin", [b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXt", b"Synthetic"])
def test_what_is_no_picture_is_none(tmp_path: Path, begin: bytes) -> None:
    (tmp_path / "x.png").write_bytes(begin)
    assert not is_synthetic(tmp_path / "x.png")


def test_only_the_key_with_the_value_true_counts(tmp_path: Path) -> None:
    for number, (key, text) in enumerate([("Synthetic", "false"), ("Title", "Synthetic"), ("Not Synthetic", "true")]):
        info = PngInfo()
        info.add_text(key, text)
        assert not is_synthetic(save(tmp_path / f"{number}.png", info)), key
    info = PngInfo()
    info.add_itxt("Synthetic", "true", lang="en")
    assert is_synthetic(save(tmp_path / "international.png", info))


def test_readers_note_it(tmp_path: Path) -> None:
    marked = save(tmp_path / "made.png", synthetic_mark({}))
    assert SYNTHETIC_NOTE in read_xray(marked).notes
    assert SYNTHETIC_NOTE in read_colour(marked).notes
    assert SYNTHETIC_NOTE not in read_xray(save(tmp_path / "real.png")).notes
    assert np.array_equal(read_xray(marked).array, read_xray(tmp_path / "real.png").array)
