"""What pictures and volumes say beside their pixels (EXIF, XMP, IPTC, comments, NIfTI's texts) reaches nothing that is
written of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image, ImageOps
from tagged_pictures import SECRETS, tag_picture

from pipelines.__main__ import main
from pipelines.networks import TinyUNet
from pipelines.weights import save_weights


def tag_all(folder: Path) -> dict[str, np.ndarray]:
    """Tag every picture of a folder, each fifth stored on its side; what each shows, by its stem."""
    shown = {}
    for number, path in enumerate(
        sorted(each for each in folder.rglob("*") if each.suffix in (".jpg", ".jpeg", ".png"))
    ):
        with Image.open(path) as opened:
            opened.load()
        lying = number % 5 == 2 and "masks" not in path.parts
        tag_picture(path, opened.transpose(Image.Transpose.ROTATE_90) if lying else opened, 6 if lying else 1)
        if "masks" in path.parts:
            continue
        with Image.open(path) as tagged:
            shown[path.stem] = np.asarray(ImageOps.exif_transpose(tagged).convert("RGB"))
    return shown


def telling_files(folder: Path) -> set[str]:
    """``FILE: SECRET`` of all that stands in a folder's files."""
    found = set()
    for path in (each for each in folder.rglob("*") if each.is_file()):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found |= {f"{path.name}: {secret!r}" for secret in SECRETS if secret in content}
    return found


@pytest.mark.parametrize(
    ("raw", "command"),
    [
        ("skin", "data prepare skin_lesions --raw"),
        ("xrays", "data prepare chest_xray --raw"),
        ("pictures", "data prepare covid_ct --raw"),
        ("pairs", "data prepare pairs --labels background lesion --raw"),
        ("classes", "new my_classification --like picture_classification --data"),
    ],
)
def test_prepared_pictures_say_nothing_beside_their_pixels(
    raw: str, command: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue({"pairs": "skin", "classes": "xrays"}.get(raw, raw))
    folder = folder / "train" if raw == "classes" else folder
    if raw == "pairs":
        (folder / "diagnosis.csv").unlink()
        for path in (folder / "masks").iterdir():
            path.rename(path.with_name(path.name.replace("_lesion", "")))
    shown = tag_all(folder)
    assert telling_files(folder)
    assert main([*command.split(), str(folder), "--out", str(tmp_path / "out")]) == 0
    assert telling_files(tmp_path / "out") == set()
    stored = [path for path in (tmp_path / "out").rglob("images/*") if path.suffix in (".jpg", ".png")]
    assert len(stored) > 5
    if raw != "pictures":  # slices of CT are stored in grey
        for path in stored:
            with Image.open(path) as picture:
                assert picture.getexif().get(274, 1) == 1
                name = next(each for each in sorted(shown, key=len, reverse=True) if path.stem.endswith(each))
                np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), shown[name])


def test_predictions_and_the_page_say_nothing_of_a_pictures_metadata(
    project: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tag_all(pictures)
    save_weights(TinyUNet(), tmp_path / "w.safetensors")
    bundle, out = project / "bundles" / "covid_ct_lesion_segmentation", tmp_path / "out"
    command = ["predict", str(bundle), str(pictures / "images"), "--out", str(out), "--network", "tiny_unet"]
    assert main([*command, "--checkpoint", str(tmp_path / "w.safetensors"), "--fast", "--unlike", "note"]) == 0
    said = capsys.readouterr()
    assert telling_files(out) == set()
    assert not [secret for secret in SECRETS if secret.decode("latin-1") in said.out + said.err]


def test_texts_of_a_nifti_header_are_not_carried_over(ct_seg: Path, tmp_path: Path) -> None:
    for path in ct_seg.rglob("*.nii.gz"):
        image = nib.load(path)
        image.header["descrip"], image.header["aux_file"], image.header["db_name"] = (
            b"Zzyzxova",
            b"Quillon",
            b"SN77120934",
        )
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"of Zzyzxova, 2019:08:23"))
        nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header), path)
    assert telling_files(ct_seg)
    assert main(["data", "prepare", "covid_ct", "--raw", str(ct_seg), "--out", str(tmp_path / "out")]) == 0
    assert telling_files(tmp_path / "out") == set()
