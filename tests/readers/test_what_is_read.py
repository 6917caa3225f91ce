"""The reference page says what the code does: formats, transfer syntaxes and SOP classes. Where it is out of step,
`python tests/readers/test_what_is_read.py` writes its generated parts anew."""

from __future__ import annotations

import re
from pathlib import Path

import pydicom
import pynetdicom  # noqa: F401 - adds the newest transfer syntaxes to pydicom's dictionary
import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from pipelines.errors import UnreadableFileError
from pipelines.readers import archive, dicom_file, dicom_objects, itk_volume, kinds, nifti, picture_file

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "what-is-read.md"
# What the extras of the installation decode; everything else comes with it.
EXTRA = {"1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"}
CT = ("CT Image Storage", "Enhanced CT Image Storage", "Legacy Converted Enhanced CT Image Storage")
XRAY = ("Computed Radiography Image Storage", "Digital X-Ray Image Storage - For Presentation")
PHOTO = ("VL Photographic Image Storage", "Dermoscopic Photography Image Storage")


def known(kind: str) -> dict[str, str]:
    """UID to name, of DICOM's dictionary."""
    return {uid: entry[0] for uid, entry in UID_dictionary.items() if entry[1] == kind}


def syntax_outcome(uid: str) -> str:
    if uid in dicom_file.PLAIN:
        return "read"
    try:
        get_decoder(UID(uid))
    except NotImplementedError:
        return "refused"
    return "read with the extra `dicom`" if uid in EXTRA else "read"


def syntax_table() -> str:
    rows = {"read": [], "read with the extra `dicom`": [], "refused": []}
    for uid, name in known("Transfer Syntax").items():
        rows[syntax_outcome(uid)].append(f"| {name} | `{uid}` | {syntax_outcome(uid)} |")
    return "\n".join(["| transfer syntax | UID | |", "|---|---|---|", *(row for each in rows.values() for row in each)])


def kind(name: str, uid: str, modality: str, *, pixels: bool, placed: bool = False) -> str:
    dataset = pydicom.FileDataset("", {}, file_meta=FileMetaDataset())
    dataset.SOPClassUID, dataset.Modality = uid, modality
    if pixels:
        dataset.Rows, dataset.PhotometricInterpretation = 10, "MONOCHROME2"
    if placed:
        dataset.ImagePositionPatient = [0, 0, 0]
    return dicom_objects.kind_of_object(dataset)


def class_outcome(uid: str, name: str) -> str:
    if name in CT:
        return "slices of a CT, read by the CT bundles"
    if name in XRAY:
        return "X-rays, read by the chest X-ray bundle where they are frontal"
    if name in PHOTO:
        return "photographs, read by the skin bundle"
    if kind(name, uid, "", pixels=False) == dicom_objects.DOCUMENT:
        return "without pixels: passed over beside slices with a note, no case of their own"
    if kind(name, uid, "", pixels=True) == dicom_objects.DERIVED:
        return "captures and what is made from slices: passed over beside slices with a note, alone refused"
    return "other images: each series or picture is a case, refused by its Modality"


def class_table() -> str:
    groups: dict[str, list[str]] = {}
    for uid, name in known("SOP Class").items():
        if re.search(r"Storage( - Trial| - For \w+)?$", name) and "Commitment" not in name:
            groups.setdefault(class_outcome(uid, name), []).append(name)
    rows = [f"| {outcome} | {'; '.join(sorted(set(names)))} |" for outcome, names in sorted(groups.items())]
    return "\n".join(["| | SOP classes |", "|---|---|", *rows])


PARTS = {"transfer syntaxes": syntax_table, "SOP classes": class_table}


def part(page: str, name: str) -> str:
    return page.split(f"<!-- {name} -->\n")[1].split("<!-- end -->")[0].strip()


@pytest.mark.parametrize("name", PARTS)
def test_the_generated_parts_are_what_the_code_does(name):
    assert part(PAGE.read_text(encoding="utf-8"), name) == PARTS[name]()


@pytest.mark.parametrize("uid", known("Transfer Syntax"))
def test_each_transfer_syntax_is_read_or_refused_as_the_page_says(uid, tmp_path):
    fault = None
    try:
        dicom_file.check_decoder(UID(uid), tmp_path)
    except UnreadableFileError as error:
        fault = error
    if syntax_outcome(uid) == "refused":
        assert fault is not None
        assert "not known" in fault.what
    else:  # read, where its decoder is installed
        assert fault is None or fault.how.startswith("pip install ")


def test_objects_are_told_apart_by_class_and_modality():
    names = {name: uid for uid, name in known("SOP Class").items()}
    for name in CT:
        assert kind(name, names[name], "CT", pixels=True) == dicom_objects.SLICE
    for name, modality in ((XRAY[0], "CR"), (XRAY[1], "DX"), (PHOTO[0], "XC"), (PHOTO[1], "DMS")):
        assert kind(name, names[name], modality, pixels=True) == dicom_objects.PICTURE
    capture = "Secondary Capture Image Storage"
    assert kind(capture, names[capture], "CT", pixels=True, placed=True) == dicom_objects.SLICE
    assert kind(capture, names[capture], "CT", pixels=True) == dicom_objects.DERIVED
    assert kind("", "", "SR", pixels=False) == dicom_objects.DOCUMENT


def suffixes(text: str) -> set[str]:
    return set(re.findall(r"`(\.[a-z0-9.]+)`", text))


def test_each_ending_is_on_the_page_and_each_on_the_page_is_in_the_code():
    read, refused = PAGE.read_text(encoding="utf-8").split("## Files")[1].split("## Folders")[0].split("Looks like")
    read = read.split("Labels are read")[0]
    in_code = {
        *nifti.SUFFIXES, *picture_file.SUFFIXES, *itk_volume.SUFFIXES, *dicom_file.SUFFIXES, *archive.SUFFIXES,
    }  # fmt: skip
    assert suffixes(read) == in_code
    assert suffixes(refused) == {ending for endings in kinds.NOT_READ for ending in endings} | set(kinds.UNFINISHED)
    for endings, how in kinds.NOT_READ.items():
        row = next(line for line in refused.splitlines() if f"`{endings[0]}`" in line)
        assert suffixes(row) == set(endings)
        assert how in row


@pytest.mark.parametrize(
    "ending", sorted({*nifti.SUFFIXES, *picture_file.SUFFIXES, *archive.SUFFIXES, ".nrrd", ".dcm"})
)
def test_a_kind_that_is_read_is_known_by_its_name(tmp_path, ending):
    (tmp_path / f"a{ending.upper()}").touch()
    assert kinds.kind_of(tmp_path / f"a{ending.upper()}") not in (None, kinds.OTHER)


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    for name, make in PARTS.items():
        head, rest = page.split(f"<!-- {name} -->\n")
        page = f"{head}<!-- {name} -->\n{make()}\n<!-- end -->{rest.split('<!-- end -->', 1)[1]}"
    PAGE.write_text(page, encoding="utf-8")
