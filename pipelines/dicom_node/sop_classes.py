"""What a node takes: the SOP classes of a bundle's modality, in every encoding that can be decoded here."""

from __future__ import annotations

import json
from pathlib import Path

from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
)

from pipelines.bundle import MARK
from pipelines.errors import ConfigError, UnreadableFileError
from pipelines.readers.dicom_file import check_decoder

# Some exporters write slices as secondary captures that lie somewhere in space; the reader takes these.
CT = (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    SecondaryCaptureImageStorage,
)
XRAY = (ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation)
PHOTOGRAPH = (VLPhotographicImageStorage, UID("1.2.840.10008.5.1.4.1.1.77.1.7"))  # the latter: dermoscopic
_OF = {"ct": CT, "x-ray": XRAY}


def taken_sop_classes(bundle: Path) -> tuple[UID, ...]:
    """The SOP classes that a bundle can look at: by the modality of its metadata, else by the dimensions and channels
    of its image.

    Raises:
        ConfigError: the metadata cannot be read, or say neither.
    """
    path = bundle / MARK
    try:
        image = json.loads(path.read_text(encoding="utf-8"))["network_data_format"]["inputs"]["image"]
        modality = str(image.get("modality", "")).strip().lower()
        colour = image.get("num_channels") == 3
        dimensions = len(image.get("spatial_shape", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError("the metadata do not say what the bundle looks at", where=path) from error
    if modality in _OF:
        return _OF[modality]
    if dimensions == 3:
        return CT
    return PHOTOGRAPH if colour else (*XRAY, *PHOTOGRAPH)


def transfer_syntaxes() -> list[str]:
    """Encodings that are taken as they come: those that the reader can decode here. Another would be accepted and
    then be of no use, where the sender would have sent it uncompressed."""
    found = []
    for syntax in AllTransferSyntaxes:
        try:
            check_decoder(UID(syntax), Path())
        except UnreadableFileError:
            continue
        found.append(str(syntax))
    return found
