"""Picture files (PNG, JPEG, BMP, TIFF, WebP, HEIC), decoded strictly and turned upright; what their pixels mean is the
caller's business."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipelines.errors import IntensityError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers.raw import file_size
from pipelines.readers.synthetic_mark import SYNTHETIC_NOTE, marked

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".bmp", ".tif", ".tiff", ".webp", ".heic", ".heif", ".hif",
)  # fmt: skip
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 2**29  # 100 megapixels of four bytes fit
MIN_SIDE = 32
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")

_ORIENTATION, _BITS, _PHOTOMETRIC = 274, 258, 262


@dataclass(frozen=True, eq=False)
class OpenPicture:
    """A decoded picture.

    Attributes:
        image: PIL's image, upright.
        deep: it is one grey channel of 16 bits.
        halved: it has several channels of 16 bits, of which the upper 8 were read (see `check_halved`).
        file_format: "PNG", "JPEG", "BMP", "TIFF", "WEBP" or "HEIF".
        orientation: what EXIF said, 1 to 8; 1 is upright.
        notes: what was changed so far; whoever goes on adds to it.
    """

    image: Image.Image
    deep: bool
    halved: bool
    file_format: str
    orientation: int
    notes: list[str]


@contextmanager
def open_picture(path: Path, *, smallest: int = MIN_SIDE, data: bytes | None = None) -> Iterator[OpenPicture]:
    """Decode a picture for the time of a ``with`` block; whatever PIL raises within it becomes a typed error.

    Args:
        smallest: pixels that each side must have.
        data: what the file holds, where it is in memory and not on disk.

    Raises:
        UnreadableFileError: missing, empty, truncated, corrupt, not a picture, above 100 megapixels, or HEIC where its
            decoder is not installed.
        UnsupportedImageError: animated, several pages, under `smallest` pixels a side, or 16 bits with white at zero.
    """
    if data is None and file_size(path) > MAX_FILE_BYTES:
        raise _too_large(path)
    try:
        data = path.read_bytes() if data is None else data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns below our own limit, and about harmless metadata
            formats = _heif(path) if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS else FORMATS
            with Image.open(io.BytesIO(data), formats=formats) as probe:
                kind = _check_head(probe, path, smallest)
                if probe.format == "MPO":  # the picture itself comes first; a camera's preview lies behind it
                    data = data[: _first_length(probe) or len(data)]
                if kind == "PNG":
                    probe.verify()  # the checksums of all chunks; the picture must be opened anew afterwards
            if kind == "JPEG" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
                raise OSError("the end of the picture is missing")  # libjpeg would fill the rest with grey
            if kind == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data):
                raise OSError("the end of the picture is missing")
            with Image.open(io.BytesIO(data), formats=formats) as picture:
                stored = picture.getexif().get(_ORIENTATION, 1)  # before load(), which turns TIFF by itself
                if kind == "HEIF":  # its decoder turns it, and says how it lay
                    stored = picture.info.get("original_orientation") or 1
                picture.load()
                deep, halved = _depth(picture, data, path)
                orientation = stored if stored in range(1, 9) else 1
                notes = ["turned upright as its EXIF orientation says"] if orientation != 1 else []
                if marked(io.BytesIO(data)):
                    notes.append(SYNTHETIC_NOTE)
                ImageOps.exif_transpose(picture, in_place=True)
                yield OpenPicture(picture, deep, halved, kind, orientation, notes)
    except (PipelinesError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except Image.UnidentifiedImageError:
        raise UnreadableFileError(
            "is not a PNG, JPEG, BMP, TIFF, WebP or HEIC picture, whatever its name says",
            where=path,
            how="export the picture again",
        ) from None
    except Exception as error:  # PIL's decoders raise nearly anything on damaged files
        raise UnreadableFileError(
            f"the picture is truncated or damaged ({error})", where=path, how="copy or export it again"
        ) from None


def check_opaque(picture: Image.Image, path: Path, notes: list[str]) -> None:
    """Note an alpha channel that hides nothing.

    Raises:
        UnsupportedImageError: parts of the picture are transparent.
    """
    if not picture.has_transparency_data:
        return
    alpha = picture if picture.mode in ("RGBA", "LA") else picture.convert("RGBA")
    low = alpha.getchannel("A").getextrema()[0]
    if not isinstance(low, (int, float)) or low < 255:
        raise see_through(path)
    notes.append("an opaque alpha channel was dropped")


def see_through(path: Path) -> UnsupportedImageError:
    """The error for a picture that is partly transparent: nobody knows what was meant to lie behind it."""
    return UnsupportedImageError(
        "parts of the picture are transparent", where=path, how="save it without an alpha channel"
    )


def from_16_bit(plane: np.ndarray, path: Path, notes: list[str]) -> np.ndarray:
    """Bring a 16-bit plane to 0..255, if its scale can be known from its values.

    Raises:
        IntensityError: it cannot.
    """
    if plane.max() <= 255:
        notes.append("16-bit picture with values up to 255 was taken as 8-bit")
        return plane
    # Stored CT values (0..4095) and negative HU wrapped to 65535 leave the middle of the range empty; a stretched
    # picture does not.
    middle = (plane >= 4096) & (plane < 61440)
    if plane.max() < 32768 or middle.mean() < 0.05:
        raise IntensityError(
            f"16-bit picture with values from {plane.min()} to {plane.max()}: neither 0..255 nor stretched to 0..65535",
            where=path,
            how="save it with 8 bits, as a screen shows it (CT: in a lung window, or give its DICOM or NIfTI file)",
        )
    notes.append("16-bit picture was divided by 257 to 0..255")
    return plane.astype(np.float32) / np.float32(257)


def _too_large(path: Path) -> UnreadableFileError:
    return UnreadableFileError(
        "the picture has more than 100 megapixels", where=path, how="give a single picture at its own size"
    )


def _check_head(picture: Image.Image, path: Path, smallest: int) -> str:
    """Judge by the header alone, before a pixel is decoded; returns the format."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _too_large(path)
    camera = picture.format == "MPO"  # a JPEG with a preview or a second view behind it, as many cameras write it
    if not camera and (getattr(picture, "n_frames", 1) > 1 or getattr(picture, "is_animated", False)):
        raise UnsupportedImageError(
            "the picture is animated or has several pages", where=path, how="save each page as a picture of its own"
        )
    if min(width, height) < smallest:
        raise UnsupportedImageError(
            f"the picture of {width} x {height} pixels is too small (at least {smallest} a side)",
            where=path,
            how="give it at its full size",
        )
    return "JPEG" if camera else str(picture.format)


def _first_length(picture: Image.Image) -> int:
    """Bytes of the first picture in a JPEG of several (by its CIPA DC-007 index); 0 where that is not said."""
    entries = getattr(picture, "mpinfo", {}).get(0xB002, ())
    return int(entries[0].get("Size", 0)) if entries else 0


def _depth(picture: Image.Image, data: bytes, path: Path) -> tuple[bool, bool]:
    """Whether one grey channel of 16 bits was read, and whether of several such channels the upper halves were; refuse
    what PIL reads wrongly in silence."""
    bits: tuple[int, ...] = (8,)
    inverted = False
    if picture.format == "PNG":
        bits = (data[24],) * (1 if data[25] == 0 else len(picture.getbands()))
    elif picture.format == "TIFF":
        tags = getattr(picture, "tag_v2", {})
        bits = tuple(tags.get(_BITS, (1,)))
        inverted = tags.get(_PHOTOMETRIC) == 0
    if max(bits) > 8 and inverted:  # PIL does not invert such
        raise UnsupportedImageError("a 16-bit white-is-zero picture", where=path, how="save it with 8 bits a channel")
    return picture.mode.startswith("I;16"), max(bits) > 8 and len(bits) > 1


def check_halved(opened: OpenPicture, path: Path) -> None:
    """Of 16 bits a channel PIL reads the upper 8: right where the values use the range that they have, and noted.

    Raises:
        IntensityError: they do not, so that their scale is not known.
    """
    if not opened.halved:
        return
    values = np.asarray(opened.image)
    middle = (values >= 16) & (values < 240)
    if values.max() < 128 or middle.mean() < 0.05:
        raise IntensityError(
            "16-bit colours whose values do not use the range of 16 bits",
            where=path,
            how="save it with 8 bits a channel",
        )
    opened.notes.append("of 16 bits a channel the upper 8 were taken")


def _heif(path: Path) -> tuple[str, ...]:
    try:
        import pillow_heif
    except ImportError:
        raise UnreadableFileError(
            "is a HEIC picture (of a phone), for which no decoder is installed",
            where=path,
            how="pip install pillow-heif, or save it as JPEG or PNG",
        ) from None
    pillow_heif.register_heif_opener()
    return ("HEIF",)
