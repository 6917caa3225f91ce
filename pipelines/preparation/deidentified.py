"""DICOM series without who, when and where: PS3.15's Basic Application Level Confidentiality Profile."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path

import pydicom
from dicomanonymizer import simpledicomanonymizer as profile
from pydicom.dataset import Dataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

from pipelines.errors import UnreadableFileError, UnsupportedImageError
from pipelines.readers.burned_in import says_text

EDITION = "2024b"
_METHOD = f"PS3.15 {EDITION} basic profile, by dicom-anonymizer"  # 64 letters at most
_RULES = profile.initialize_actions_2024b()
_OF_DICOM = "1.2.840.10008."  # classes, syntaxes: nobody's


class _Uids(dict[str, str]):
    """Old to new; a new one stays what it is when it is met again, as the library goes through some sequences too."""

    def __setitem__(self, old: str, new: str) -> None:
        super().__setitem__(old, new)
        super().__setitem__(new, new)


profile.dictionary = _Uids({"": ""})


class Pseudonyms:
    """Names for patients, made with a key that nobody keeps: equal for one patient, and of no use to whoever has a list
    of identifiers."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def __call__(self, identifier: str) -> str:
        return f"patient-{hmac.digest(self._key, identifier.encode(errors='replace'), 'sha256').hex()[:12]}"


def deidentify_series(files: Sequence[Path], folder: Path, pseudonyms: Pseudonyms) -> None:
    """Write copies of the files of one series, 0001.dcm and so on, with the profile applied, in sequences too: UIDs are
    new and keep what belongs together together; dates, times, texts, private elements and whatever names somebody
    are gone. The pixels stay as they are.

    Args:
        folder: is made.

    Raises:
        UnreadableFileError: a file is no DICOM, or damaged.
        UnsupportedImageError: a header says that text is burned into the pixels.
    """
    folder.mkdir(parents=True)
    for number, path in enumerate(files, 1):
        try:
            dataset = pydicom.dcmread(path)
            patient = str(dataset.get("PatientID") or "")
            burned = says_text(dataset)
        except Exception as error:  # pydicom raises nearly anything on a damaged file
            what = f"the file cannot be read as DICOM ({type(error).__name__})"
            raise UnreadableFileError(what, where=path, how="export it again, or leave it out") from None
        if burned:
            raise UnsupportedImageError(
                "the header says that text is burned into the pixels, which no profile of the header takes away",
                where=path, how="blacken it first, or leave the series out",
            )  # fmt: skip
        try:
            _apply(dataset)
        except Exception as error:  # the library raises whatever an odd value makes it raise, and quotes it
            what = f"the file cannot be de-identified ({type(error).__name__})"
            raise UnreadableFileError(what, where=path, how="leave it out") from None
        dataset.PatientID = dataset.PatientName = pseudonyms(patient) if patient else f"unknown-{secrets.token_hex(6)}"
        dataset.PatientIdentityRemoved = "YES"
        dataset.LongitudinalTemporalInformationModified = "REMOVED"
        dataset.DeidentificationMethod = _METHOD
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
        code.CodeMeaning = "Basic Application Confidentiality Profile"
        dataset.DeidentificationMethodCodeSequence = [code]
        dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


def _apply(dataset: pydicom.FileDataset) -> None:
    _apply_to(dataset)
    meta = dataset.file_meta
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    for keyword in ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle", "ReceivingApplicationEntityTitle",
                    "ImplementationVersionName", "PrivateInformationCreatorUID", "PrivateInformation"):  # fmt: skip
        if keyword in meta:
            delattr(meta, keyword)
    dataset.preamble = b"\0" * 128  # some exporters write there


def _apply_to(dataset: Dataset) -> None:
    """The profile on a data set and on those in its sequences, which the library leaves to us."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _apply_to(item)
        elif element.VR == "UI" and (element.tag.group, element.tag.elem) not in _RULES:
            several = element.value if element.VM > 1 else [element.value]
            made = [str(uid) if str(uid).startswith(_OF_DICOM) else profile.get_UID(str(uid or "")) for uid in several]
            element.value = made if element.VM > 1 else made[0]
    profile.anonymize_dataset(dataset, delete_private_tags=True, base_rules_gen=profile.initialize_actions_2024b)
