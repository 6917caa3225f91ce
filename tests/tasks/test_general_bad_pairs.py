"""What is wrong with a folder of images and masks is named, with the way out, and nothing is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipelines.errors import (
    DatalistError,
    GeometryError,
    IntensityError,
    LabelError,
    PipelinesError,
    UnreadableFileError,
    UnsupportedImageError,
    UsageError,
)
from pipelines.preparation.datalist import load_datalist
from pipelines.tasks.general.label_numbers import number_labels
from pipelines.tasks.general.pairs import prepare_pairs
from pipelines.tasks.general.phantoms import phantom_pairs

Spoil = Callable[[Path], object]


@pytest.fixture(scope="module")
def raw_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs")
    phantom_pairs(out / "volumes", cases=5, size=32, raw=True)
    phantom_pairs(out / "pictures", dims=2, cases=5, size=64, raw=True)
    return out


def image(raw: Path) -> Path:
    return next((raw / "images").glob("phantom_001.*"))


def mask(raw: Path) -> Path:
    return next((raw / "masks").glob("phantom_001.*"))


def rewrite(path: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    stored = nib.load(path)
    nib.save(nib.Nifti1Image(*change(np.asarray(stored.dataobj), stored.affine)), path)


def photograph(raw: Path) -> None:
    shutil.copy(image(raw), mask(raw))


def of_levels(raw: Path, suffix: str, quality: int) -> None:
    """A mask whose labels 0, 60 and 120 went through a JPEG."""
    path = mask(raw)
    blurred = path.with_suffix(".jpg")
    Image.fromarray(np.asarray(Image.open(path)) * 60).save(blurred, quality=quality)
    path.unlink()
    if suffix != ".jpg":
        Image.open(blurred).save(path)
        blurred.unlink()


def as_picture(raw: Path) -> None:
    mask(raw).unlink()
    Image.new("L", (64, 64)).save(raw / "masks" / "phantom_001.png")


def border(raw: Path) -> None:
    values = np.asarray(Image.open(mask(raw))).copy()
    values[0] = 255
    Image.fromarray(values).save(mask(raw))


PICTURES: list[tuple[str, Spoil, type[PipelinesError], str]] = [
    ("no mask", lambda raw: mask(raw).unlink(), UnreadableFileError, r"images/phantom_001.png: it has no mask in"),
    ("no image", lambda raw: image(raw).unlink(), UnreadableFileError, r"masks/phantom_001.png: the mask has no image"),
    (
        "two masks",
        lambda raw: shutil.copy(mask(raw), raw / "masks" / "phantom_001_seg.png"),
        UnreadableFileError,
        "two masks have this name",
    ),
    (
        "two images",
        lambda raw: Image.open(image(raw)).save(image(raw).with_suffix(".bmp")),
        UnreadableFileError,
        "another image has the same name",
    ),
    ("photograph", photograph, UnsupportedImageError, "the label is in colour, and grey is due"),
    ("jpeg", lambda raw: of_levels(raw, ".jpg", quality=60), LabelError, "is a JPEG, which blurs the numbers of lab"),
    ("once a jpeg", lambda raw: of_levels(raw, ".png", quality=10), LabelError, r"holds \d+ values .* a JPEG once"),
    ("border", border, LabelError, "255 beside other values .*: a label, or a border that counts for nothing"),
    (
        "empty file",
        lambda raw: image(raw).write_bytes(b""),
        UnreadableFileError,
        "phantom_001.png: the file is empty",
    ),
    ("text", lambda raw: mask(raw).write_text("no"), UnreadableFileError, "phantom_001.png: is not a PNG"),
    (
        "truncated",
        lambda raw: image(raw).write_bytes(image(raw).read_bytes()[:900]),
        UnreadableFileError,
        "truncated or damaged",
    ),
    (
        "small mask",
        lambda raw: Image.open(mask(raw)).resize((32, 24)).save(mask(raw)),
        GeometryError,
        "the mask of 32 x 24 pixels lies on a picture of 64 x 48",
    ),
    (
        "one image twice",
        lambda raw: shutil.copy(raw / "images" / "phantom_002.png", image(raw)),
        DatalistError,
        "the image equals .*phantom_001.png",
    ),
    (
        "constant",
        lambda raw: Image.new("RGB", (64, 48), (9, 9, 9)).save(image(raw)),
        IntensityError,
        "every pixel has the colour",
    ),
    (
        "another kind",
        lambda raw: (raw / "images" / "more.gif").write_bytes(b"GIF89a"),
        UnreadableFileError,
        "more.gif: is not a kind of image that this project reads; save it as PNG",
    ),
    (
        "archive",
        lambda raw: (raw / "masks" / "more.zip").write_bytes(b"PK\3\4"),
        UnreadableFileError,
        "is an archive; unpack it",
    ),
    ("folder", lambda raw: (raw / "images" / "more").mkdir(), DatalistError, "a folder lies here"),
    (
        "patient of no case",
        lambda raw: (raw / "patients.csv").write_text("case,patient\nphantom_9,x\n"),
        DatalistError,
        r"no case for 1 of its lines \(phantom_9\)",
    ),
    (
        "patients",
        lambda raw: (raw / "patients.csv").write_text("image,person\n"),
        DatalistError,
        "the header is 'image,person'; case,patient is due",
    ),
    (
        "names",
        lambda raw: (raw / "labels.json").write_text('{"1": "organ"}'),
        LabelError,
        r"hold the values 2, which labels.json does not name",
    ),
    ("no names", lambda raw: (raw / "labels.json").write_text("organ"), LabelError, "the names cannot be read"),
    (
        "same names",
        lambda raw: (raw / "labels.json").write_text('{"1": "a", "2": "A"}'),
        UsageError,
        "give each a name of its own",
    ),
]  # fmt: skip

VOLUMES: list[tuple[str, Spoil, type[PipelinesError], str]] = [
    (
        "elsewhere",
        lambda raw: rewrite(mask(raw), lambda a, m: (a, m + np.pad([[5.0]], ((0, 3), (3, 0))))),
        GeometryError,
        "the label lies elsewhere than its image",
    ),
    (
        "another shape",
        lambda raw: rewrite(mask(raw), lambda a, m: (a[:-2], m)),
        GeometryError,
        "the label has the shape .* resample the label to the grid of phantom_001.nii.gz",
    ),
    (
        "fractions",
        lambda raw: rewrite(mask(raw), lambda a, m: (a * np.float32(0.4), m)),
        LabelError,
        "the label holds fractions",
    ),
    (
        "not finite",
        lambda raw: rewrite(image(raw), lambda a, m: (np.where(a > a.mean(), np.nan, a).astype(np.float32), m)),
        IntensityError,
        "NaN or infinite",
    ),
    ("exchanged", lambda raw: shutil.copy(mask(raw), image(raw)), IntensityError, "like a mask, not like an image"),
    (
        "channels",
        lambda raw: rewrite(image(raw), lambda a, m: (np.stack([a, a], -1), m)),
        UnsupportedImageError,
        "one three-dimensional volume is due",
    ),
    (
        "a second channel",
        lambda raw: shutil.copy(image(raw), raw / "images" / "phantom_001_0001.nii.gz"),
        UnsupportedImageError,
        "is one of several channels of an image",
    ),
    (
        "picture",
        as_picture,
        GeometryError,
        "the label is a picture, its image a volume",
    ),
    (
        "mixed",
        lambda raw: Image.effect_noise((64, 64), 50).save(raw / "images" / "one.png"),
        UsageError,
        "pictures and volumes lie in one folder; prepare each from a folder of its own",
    ),
    (
        "DICOM",
        lambda raw: (raw / "images" / "slice").write_bytes(bytes(128) + b"DICM"),
        UnsupportedImageError,
        "is DICOM, which these layouts do not hold; convert",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "spoil", "error", "said"),
    [pytest.param("pictures", *each[1:], id=each[0]) for each in PICTURES]
    + [pytest.param("volumes", *each[1:], id=f"{each[0]} (volume)") for each in VOLUMES],
)
def test_a_fault_is_named_and_nothing_is_written(
    raw_once: Path, tmp_path: Path, kind: str, spoil: Spoil, error: type[PipelinesError], said: str
) -> None:
    raw = Path(shutil.copytree(raw_once / kind, tmp_path / "raw"))
    spoil(raw)
    with pytest.raises(error, match=said):
        prepare_pairs(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_faulty_cases_are_left_out_where_that_is_asked_for(raw_once: Path, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(raw_once / "volumes", tmp_path / "raw"))
    mask(raw).write_bytes(b"")
    prepared = prepare_pairs(raw, tmp_path / "out", skip_bad=True)
    assert len(prepared.left_out) == 1
    assert "masks/phantom_001.nii.gz: the file is empty" in prepared.left_out[0]
    content = load_datalist(tmp_path / "out")
    assert sum(section["cases"] for section in content["counts"].values()) == 4


def test_a_folder_without_pairs_says_which_layouts_there_are(raw_once: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    with pytest.raises(UsageError, match=r"none of the layouts that are known; these are: images/ with masks/"):
        prepare_pairs(raw, tmp_path / "out")
    shutil.copy(image(raw_once / "pictures"), raw)  # images alone
    with pytest.raises(UsageError, match="none of the layouts"):
        prepare_pairs(raw, tmp_path / "out")
    with pytest.raises(UnreadableFileError, match="there is no such folder"):
        prepare_pairs(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(UsageError, match=r"further in; give .*pictures"):
        prepare_pairs(raw_once, tmp_path / "out")
    copy = Path(shutil.copytree(raw_once / "pictures", tmp_path / "copy"))
    (copy / "masks").rename(copy / "labels")
    (copy / "masks").mkdir()
    with pytest.raises(UsageError, match="two folders of masks, masks/ and labels/"):
        prepare_pairs(copy, tmp_path / "out")
    shutil.rmtree(copy / "labels")
    Image.new("L", (64, 48)).save(copy / "masks" / "other.png")
    with pytest.raises(UnreadableFileError, match=r"no mask has the name of an image .*_mask behind it"):
        prepare_pairs(copy, tmp_path / "out")


def test_side_by_side_every_image_has_a_mask_and_every_mask_an_image(raw_once: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in (raw_once / "pictures" / "images").iterdir():
        shutil.copy(path, raw)
        shutil.copy(raw_once / "pictures" / "masks" / path.name, raw / f"{path.stem}_mask.png")
    (raw / "phantom_001_mask.png").unlink()
    (raw / "phantom_002.png").unlink()
    with pytest.raises(UnreadableFileError, match=r"phantom_001.png: it has no mask .*phantom_002_mask.png: the mask"):
        prepare_pairs(raw, tmp_path / "out")


def test_a_patient_stays_in_one_split(raw_once: Path, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(raw_once / "pictures", tmp_path / "raw"))
    names = [f"phantom_{i:03d}" for i in range(5)]
    (raw / "patients.csv").write_text(
        "case,patient\n" + "".join(f"{n},{'a' if i < 3 else n}\n" for i, n in enumerate(names))
    )
    prepare_pairs(raw, tmp_path / "out", seed=1)
    content = load_datalist(tmp_path / "out")
    homes = [{s for s in ("training", "validation", "test") for item in content[s] if item["case"] == n} for n in names]
    assert homes[0] == homes[1] == homes[2]
    (raw / "patients.csv").write_text("case,patient\nphantom_000,a\nphantom_000,b\n")
    with pytest.raises(DatalistError, match="listed a second time, with another patient"):
        prepare_pairs(raw, tmp_path / "more")


def test_names_and_values_must_agree(tmp_path: Path) -> None:
    def numbers(masks: list[tuple[int, ...]], **names: object) -> dict[int, str]:
        return dict(number_labels(masks, tmp_path, **names).names)  # type: ignore[arg-type]

    assert numbers([(0, 1), (0, 2)], given=["b", "x", "y", "z"]) == {0: "b", 1: "x", 2: "y", 3: "z"}
    assert numbers([(1,), (1, 255)], named={1: "x", 255: "void"}) == {0: "background", 1: "x", 2: "void"}
    assert numbers([(0, 255), (0,)], named={255: "x"}) == {0: "background", 1: "x"}
    assert numbers([(0, 100), (0, 200)], given=["b", "x", "y"]) == {0: "b", 1: "x", 2: "y"}
    with pytest.raises(UsageError, match=r"2 names are given, and the masks hold 3 values \(0, 1, 2\)"):
        numbers([(0, 1, 2)], given=["b", "x"])
    with pytest.raises(LabelError, match="all are background"):
        numbers([(0,), (0,)])
    with pytest.raises(LabelError, match="255 beside other values"):
        numbers([(0, 1, 255)])
