"""Pictures without what they say beside their pixels: EXIF, XMP, IPTC, comments, texts, previews."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tagged_pictures import SECRETS, gps_exif, secret_chunks, secret_segments, tag_picture

from pipelines.errors import UnreadableFileError
from pipelines.readers.bare_picture import without_metadata


def drawn(mode: str) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    return Image.fromarray(values).resize((112, 80)).convert(mode)


def saved(picture: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


def shown(data: bytes) -> tuple[str, bytes]:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.mode, picture.tobytes()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(
    "how",
    [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 0}, {"keep_rgb": True}, {"optimize": True}],
)
def test_a_jpeg_keeps_its_pixels_and_nothing_else(mode: str, how: dict) -> None:
    plain = saved(drawn(mode), "JPEG", **how)
    assert without_metadata(plain, Path("a.jpg")) == plain, "nothing to take away"
    tagged = secret_segments(saved(drawn(mode), "JPEG", exif=gps_exif(), comment=b"of Zzyzxova", **how))
    assert all(word in tagged for word in SECRETS)
    bare = without_metadata(tagged, Path("a.jpg"))
    assert not [word for word in SECRETS if word in bare]
    assert bare == plain
    assert shown(bare) == shown(tagged)


def test_a_preview_and_what_lies_behind_the_end_are_gone() -> None:
    plain = saved(drawn("RGB"), "JPEG")
    length = struct.unpack_from(">H", plain, 4)[0]
    preview = plain[6:18] + bytes([2, 2]) + b"Zzyzxova1234"
    tagged = plain[:4] + struct.pack(">H", 2 + len(preview)) + preview + plain[4 + length :]
    assert shown(tagged) == shown(plain)
    assert without_metadata(tagged + plain, Path("a.jpg")) == plain


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16"])
def test_a_png_keeps_its_pixels_and_nothing_else(mode: str) -> None:
    picture = drawn("L").convert("I").convert("I;16") if mode == "I;16" else drawn(mode)
    plain = saved(picture, "PNG")
    assert without_metadata(plain, Path("a.png")) == plain
    texts = PngInfo()
    texts.add_text("Author", "Quillon")
    texts.add_itxt("XML:com.adobe.xmp", "<x>Zzyzxova</x>", zip=False)
    tagged = secret_chunks(saved(picture, "PNG", exif=gps_exif(), pnginfo=texts))
    assert all(word in tagged for word in SECRETS)
    assert without_metadata(tagged, Path("a.png")) == plain


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\x89PNG\r\n\x1a\n\0\0", b"GIF89a"]
)
def test_what_is_no_picture_is_said(data: bytes) -> None:
    with pytest.raises(UnreadableFileError, match=r"a\.jpg"):
        without_metadata(data, Path("a.jpg"))


def test_any_cut_jpeg_ends(tmp_path: Path) -> None:
    whole = tag_picture(tmp_path / "a.jpg", drawn("RGB")).read_bytes()
    for end in range(3, len(whole), 97):
        try:
            bare = without_metadata(whole[:end], Path("a.jpg"))
        except UnreadableFileError:
            continue
        assert bare.endswith(b"\xff\xd9")
