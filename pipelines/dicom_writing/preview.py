"""The overlay as a secondary capture that says in its pixels what it is for."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import ExplicitVRLittleEndian

from pipelines.dicom_writing.maker import PROJECT, Maker
from pipelines.readers.dicom_source import DicomSource

WARNING = "RESEARCH USE ONLY - NOT FOR DIAGNOSIS"
_LEAST_WIDTH = 320


def preview(
    draw: Callable[[IO[bytes]], object], source: DicomSource, maker: Maker, common: dict[str, Any] | None = None
) -> SCImage:
    """The picture that ``draw`` writes, with a band that says that it is for research only.

    Args:
        draw: writes a PNG; of a volume its slices are upright, the patient's left on the right.
        source: what it shows.
        maker: the algorithm.
        common: UIDs and descriptions (``Maker.common``); new ones by default.
    """
    file = io.BytesIO()
    draw(file)
    pixels = marked(Image.open(file).convert("RGB"))
    given = dict(common or maker.common("preview", 9003))
    given.pop("device_serial_number")
    given.pop("manufacturer_model_name")
    given.pop("software_versions")
    first = source.instances[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about values of the source
        image = SCImage.from_ref_dataset(
            first, pixels, "RGB", 8, "PATIENT", patient_orientation=("L", "P"),
            transfer_syntax_uid=ExplicitVRLittleEndian, **given,
        )  # fmt: skip
    if source.picture:
        image["PatientOrientation"].value = first.get("PatientOrientation") or ""
    if "Laterality" not in image:
        image.Laterality = ""
    image.ConversionType = "WSD"
    image.SecondaryCaptureDeviceManufacturer = PROJECT
    image.SecondaryCaptureDeviceManufacturerModelName = maker.name
    image.DerivationDescription = f"Overlay of a prediction. {WARNING}"
    image.ImageType = ["DERIVED", "SECONDARY"]
    return image


def marked(picture: Image.Image) -> NDArray[np.uint8]:
    """A picture with the warning in a band above it: uint8 (rows, columns, 3)."""
    if picture.width < _LEAST_WIDTH:
        times = -(-_LEAST_WIDTH // picture.width)
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    size = max(12, picture.width // 28)
    band = 2 * size
    drawn = Image.new("RGB", (picture.width, picture.height + band), (150, 20, 20))
    drawn.paste(picture, (0, band))
    ImageDraw.Draw(drawn).text(
        (picture.width // 2, band // 2), WARNING, (255, 255, 255), ImageFont.load_default(size), anchor="mm"
    )
    return np.asarray(drawn)
