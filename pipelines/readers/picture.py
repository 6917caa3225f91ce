"""Pictures (PNG, JPEG, BMP, TIFF) of CT slices, as one grey plane each."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipelines.errors import IntensityError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers.raw import RawImage, file_size

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 2**29  # 100 megapixels of four bytes fit
MIN_SIDE = 32
# An upright axial picture runs right to left and front to back, which is LPS; its millimetres are unknown.
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
# JPEG moves the channels of a grey picture apart by a few levels near edges. More than 32 levels on more than one pixel
# in a thousand, or a mean above 6, is colour.
CHROMA_NOISE = 32
COLOUR_SHARE = 1e-3
COLOUR_MEAN = 6.0

_ORIENTATION, _BITS, _PHOTOMETRIC = 274, 258, 262


def read_picture(path: Path, *, label: bool = False) -> RawImage:
    """Read a picture as a one-slice image (W, H, 1), its EXIF orientation applied.

    Grey content in colour channels, a palette or CMYK becomes grey. 16-bit pictures keep values up to 255 as they are
    and are divided by 257 if they use the full 16-bit range. With `label`, whole numbers are kept as stored (a colour
    palette's indices, 16-bit values) and small pictures are let through.

    Raises:
        UnreadableFileError: missing, empty, truncated, corrupt, not a picture, or above 100 megapixels.
        UnsupportedImageError: animated, several pages, colour, see-through, under 32 pixels a side, or an odd pixel
            kind.
        IntensityError: a 16-bit picture whose scale cannot be known.
    """
    if file_size(path) > MAX_FILE_BYTES:
        raise _too_large(path)
    notes: list[str] = []
    try:
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns below our own limit, and about harmless metadata
            with Image.open(io.BytesIO(data), formats=FORMATS) as probe:
                kind = _check_head(probe, path, label)
                if kind == "PNG":
                    probe.verify()  # the checksums of all chunks; the picture must be opened anew afterwards
            if kind == "JPEG" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
                raise OSError("the end of the picture is missing")  # libjpeg would fill the rest with grey
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                picture.load()
                deep = _is_deep(picture, data, path)
                turned = ImageOps.exif_transpose(picture)
                if picture.getexif().get(_ORIENTATION, 1) not in (0, 1):
                    notes.append("turned upright as its EXIF orientation says")
                plane = _grey_plane(turned, path, notes, label)
    except PipelinesError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except Image.UnidentifiedImageError:
        raise UnreadableFileError(
            "is not a PNG, JPEG, BMP or TIFF picture, whatever its name says",
            where=path,
            how="export the picture again",
        ) from None
    except Exception as error:  # PIL's decoders raise nearly anything on damaged files
        raise UnreadableFileError(
            f"the picture is truncated or damaged ({error})", where=path, how="copy or export it again"
        ) from None
    if deep and not label:
        plane = _from_16_bit(plane, path, notes)
    array = np.ascontiguousarray(plane.T[:, :, None], dtype=np.float32)
    return RawImage(array, PICTURE_AFFINE.copy(), tuple(notes))


def _too_large(path: Path) -> UnreadableFileError:
    return UnreadableFileError(
        "the picture has more than 100 megapixels", where=path, how="give a CT slice at its own size"
    )


def _check_head(picture: Image.Image, path: Path, label: bool) -> str:
    """Judge by the header alone, before a pixel is decoded; returns the format."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _too_large(path)
    if getattr(picture, "n_frames", 1) > 1 or getattr(picture, "is_animated", False):
        raise UnsupportedImageError(
            "the picture is animated or has several pages", where=path, how="save each slice as a picture of its own"
        )
    if not label and min(width, height) < MIN_SIDE:
        raise UnsupportedImageError(
            f"the picture of {width} x {height} pixels is too small (at least {MIN_SIDE} a side)",
            where=path,
            how="give the slice at its full size",
        )
    return str(picture.format)


def _is_deep(picture: Image.Image, data: bytes, path: Path) -> bool:
    """Whether one grey channel of 16 bits was read; refuse what PIL reads wrongly in silence."""
    bits: tuple[int, ...] = (8,)
    inverted = False
    if picture.format == "PNG":
        bits = (data[24],) * (1 if data[25] == 0 else len(picture.getbands()))
    elif picture.format == "TIFF":
        tags = getattr(picture, "tag_v2", {})
        bits = tuple(tags.get(_BITS, (1,)))
        inverted = tags.get(_PHOTOMETRIC) == 0
    if max(bits) > 8 and (len(bits) > 1 or inverted):  # PIL drops the low byte of such channels, and does not invert
        kind = "white-is-zero" if len(bits) == 1 else "colour or alpha"
        raise UnsupportedImageError(f"a 16-bit {kind} picture", where=path, how="save the slice as 8-bit grey")
    return picture.mode.startswith("I;16")


def _grey_plane(picture: Image.Image, path: Path, notes: list[str], label: bool) -> np.ndarray:
    """Turn any mode into one channel (H, W), or refuse it."""
    mode = picture.mode
    if mode in ("F", "I") or mode.startswith("I;16"):
        plane = np.asarray(picture)
        if "transparency" in picture.info and (plane == picture.info["transparency"]).any():
            raise _see_through(path)
        return plane
    if mode == "P" and label:
        colours = np.array(picture.getpalette("RGB"), dtype=np.int16).reshape(-1, 3)
        used = colours[np.unique(np.asarray(picture)).clip(max=len(colours) - 1)]
        if np.ptp(used, axis=1).any():
            return np.asarray(picture)  # colours only mark the classes; the index is the class
    if picture.has_transparency_data:
        alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
        if alpha.min() < 255:
            raise _see_through(path)
        notes.append("an opaque alpha channel was dropped")
    if mode in ("1", "L", "LA"):
        return np.asarray(picture.convert("L"))
    if mode not in ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"):
        raise UnsupportedImageError(
            f"pixels of the kind {mode} are not grey", where=path, how="save the slice as 8-bit grey"
        )
    colour = picture.convert("RGBA").convert("RGB") if mode == "PA" else picture.convert("RGB")
    channels = np.asarray(colour)
    spread = channels.max(axis=2) - channels.min(axis=2)
    if (spread > CHROMA_NOISE).mean() > COLOUR_SHARE or spread.mean() > COLOUR_MEAN:
        raise UnsupportedImageError(
            "the picture is in colour, and a CT slice is grey",
            where=path,
            how="save the slice as grey, without coloured marks",
        )
    notes.append(f"grey content stored as {mode} was taken as grey")
    return np.asarray(colour.convert("L"))


def _see_through(path: Path) -> UnsupportedImageError:
    return UnsupportedImageError(
        "parts of the picture are transparent", where=path, how="save it without an alpha channel"
    )


def _from_16_bit(plane: np.ndarray, path: Path, notes: list[str]) -> np.ndarray:
    """Bring a 16-bit plane to 0..255, if its scale can be known from its values."""
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
            how="save the slice as 8-bit grey in a lung window, or give the DICOM or NIfTI file",
        )
    notes.append("16-bit picture was divided by 257 to 0..255")
    return plane.astype(np.float32) / np.float32(257)
