"""What a node takes: the SOP classes of a bundle's modality, in every encoding that can be decoded here."""

from __future__ import annotations

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

from pipelines.bundle import looks_at
from pipelines.errors import UnreadableFileError
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
_OF = {"ct": CT, "x-ray": XRAY, "photograph": PHOTOGRAPH}


def taken_sop_classes(bundle: Path) -> tuple[UID, ...]:
    """The SOP classes that a bundle can look at (`looks_at`).

    Raises:
        ConfigError: the metadata cannot be read, or say neither.
    """
    kinds = looks_at(bundle)
    return tuple(sop_class for kind, own in _OF.items() if kind in kinds for sop_class in own)


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
