"""Labels that were submitted, as cases: by the names of their segments, on the grid of their image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel import orientations
from PIL import Image

from pipelines.errors import DatalistError, GeometryError, LabelError, UnsupportedImageError
from pipelines.labelling.submitted import Submitted, items_of, read_submitted, split_labels, write_record
from pipelines.readers import read_case, read_label
from pipelines.tracking.run_contents import describe_data

LUNG = {"lung": 1, "lesion": 2}
LESION = {"lesion": 1}


def volume(folder: Path, name: str, values: np.ndarray) -> Path:
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(values, np.diag([-2.0, -2.0, 5.0, 1.0])), path)
    return path


def picture(folder: Path, name: str) -> Path:
    path = folder / f"{name}.jpg"
    Image.fromarray(np.full((20, 30, 3), 120, dtype=np.uint8)).save(path)
    return path


def label() -> np.ndarray:
    values = np.zeros((24, 20, 6), dtype=np.uint8)
    values[2:9, 3:6, 1:4] = 1
    values[4:6, 4:5, 2:3] = 2
    return values


def scan(folder: Path, name: str) -> Path:
    ramp = np.linspace(-1000, 400, 24 * 20 * 6).reshape(24, 20, 6)
    return volume(folder, name, ramp.astype(np.int16))


def anything(path: Path) -> None:
    """A reader that takes every image."""


def volumes_alone(path: Path) -> None:
    if not path.name.endswith(".nii.gz"):
        raise UnsupportedImageError("is no volume", where=path)


def test_segments_are_taken_by_name_whatever_their_numbers(tmp_path: Path) -> None:
    swapped = np.array([0, 2, 1], dtype=np.uint8)[label()]
    given = [
        Submitted(scan(tmp_path, "a"), volume(tmp_path, "la", label()), {1: "lung", 2: "lesion"}),
        Submitted(scan(tmp_path, "b"), volume(tmp_path, "lb", swapped), {1: "lesion", 2: "lung"}),
        Submitted(scan(tmp_path, "c"), volume(tmp_path, "lc", (label() == 2).astype(np.uint8)), {1: "lesion"}),
    ]
    items, left = items_of(given, LUNG, tmp_path / "labels", anything)
    assert left == {}
    assert items[0]["label"] == str(tmp_path / "la.nii.gz")  # it was right: taken as it is
    assert (read_label(items[1]["label"], read_case(items[1]["image"])) == label()).all()
    assert (read_label(items[2]["label"]) == np.where(label() == 2, 2, 0)).all()
    assert (read_label(tmp_path / "lb.nii.gz") == swapped).all()  # what was submitted stays


def test_a_label_in_another_orientation_stays_so_when_its_values_change(tmp_path: Path) -> None:
    image = scan(tmp_path, "a")
    swapped = nib.Nifti1Image(np.array([0, 2, 1], dtype=np.uint8)[label()], np.diag([-2.0, -2.0, 5.0, 1.0]))
    turn = orientations.ornt_transform(
        orientations.io_orientation(swapped.affine), orientations.axcodes2ornt(("S", "R", "A"))
    )
    nib.save(swapped.as_reoriented(turn), tmp_path / "turned.nii.gz")
    each = Submitted(image, tmp_path / "turned.nii.gz", {1: "lesion", 2: "lung"})
    items, _ = items_of([each, each], LUNG, tmp_path / "labels", anything)
    assert (read_label(items[0]["label"], read_case(image)) == label()).all()


def test_labels_of_another_bundle_are_left_to_it(tmp_path: Path) -> None:
    mine = [Submitted(scan(tmp_path, name), volume(tmp_path, f"l{name}", label()), {}) for name in "ab"]
    foreign = [
        Submitted(scan(tmp_path, "c"), volume(tmp_path, "lc", label()), {1: "liver"}),  # other names
        Submitted(picture(tmp_path, "d"), volume(tmp_path, "ld", label()), {}),  # no names, another kind of image
        Submitted(picture(tmp_path, "e"), volume(tmp_path, "le", label()), {1: "lesion", 2: "hair"}),
        Submitted(picture(tmp_path, "f"), volume(tmp_path, "lf", label()), {1: "lung", 2: "lesion"}),
    ]
    items, left = items_of([*mine, *foreign], LUNG, tmp_path / "labels", volumes_alone)
    assert [item["case"] for item in items] == ["a", "b"]
    assert left["c"] == "its segments are called liver"
    assert all("is no volume" in left[name] for name in "def")
    with pytest.raises(DatalistError, match=r"1 images have a label of this model, and 2 are needed.*d is left out"):
        items_of([mine[0], foreign[1]], LUNG, tmp_path / "labels", volumes_alone)


def test_names_of_which_only_some_are_known_and_values_without_one_are_refused(tmp_path: Path) -> None:
    path = volume(tmp_path, "la", label())
    for segments in ({1: "lung", 2: "nodule"}, {1: "lung", 2: "lung"}):
        with pytest.raises(LabelError, match="call them lung, lesion, each once"):
            items_of([Submitted(scan(tmp_path, "a"), path, segments)] * 2, LUNG, tmp_path / "labels", anything)
    with pytest.raises(LabelError, match=r"the values \[2\] have no segment's name"):
        items_of([Submitted(scan(tmp_path, "a"), path, {1: "lesion"})] * 2, LUNG, tmp_path / "labels", anything)


@pytest.mark.parametrize("axes", [("L", "P", "S"), ("R", "A", "S"), ("P", "L", "I")])
def test_a_pictures_label_that_comes_as_a_volume_becomes_a_picture(tmp_path: Path, axes: tuple[str, ...]) -> None:
    rows = np.zeros((20, 30), dtype=np.uint8)
    rows[2:7, 3:20] = 1
    as_slicer = nib.Nifti1Image(rows.T[:, :, None], np.diag([-1.0, -1.0, 1.0, 1.0]))
    turn = orientations.ornt_transform(orientations.io_orientation(as_slicer.affine), orientations.axcodes2ornt(axes))
    nib.save(as_slicer.as_reoriented(turn), tmp_path / "la.nii.gz")
    each = Submitted(picture(tmp_path, "a"), tmp_path / "la.nii.gz", {1: "lesion"})
    items, _ = items_of([each, each], LESION, tmp_path / "labels", anything)
    assert (np.asarray(Image.open(items[0]["label"])) == rows).all()


def test_a_label_drawn_on_another_picture_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((30, 30, 1), np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "la.nii.gz")
    each = Submitted(picture(tmp_path, "a"), tmp_path / "la.nii.gz", {})
    with pytest.raises(GeometryError, match=r"draw it on a\.jpg itself"):
        items_of([each, each], LESION, tmp_path / "labels", anything)


def test_the_last_images_are_for_validation_and_neither_part_is_empty() -> None:
    items: list[dict[str, Any]] = [{"case": str(k)} for k in range(10)]
    assert [len(part) for part in split_labels(items, 0.2)] == [8, 2]
    assert [len(part) for part in split_labels(items[:2], 0.01)] == [1, 1]
    assert [len(part) for part in split_labels(items[:2], 0.99)] == [1, 1]
    for part in (0, 1, -1):
        with pytest.raises(DatalistError, match="val_split"):
            split_labels(items, part)


def test_the_record_says_what_was_learned_from(tmp_path: Path) -> None:
    pairs = [(scan(tmp_path, name), volume(tmp_path, f"l{name}", label())) for name in "ab"]
    items = [{"image": str(image), "label": str(mask), "patient": "p", "case": "c"} for image, mask in pairs]
    path = write_record(tmp_path, "one", {"0": "background", "1": "lung"}, items[:1], items[1:])
    params, _ = describe_data(path)
    assert params["data_name"] == "one_submitted"
    assert params["data_fingerprint"].startswith("sha256:")
    assert (params["data_training_cases"], params["data_validation_cases"]) == (1, 1)
    assert json.loads(path.read_text())["labels"] == {"0": "background", "1": "lung"}


class Store:
    """Two images, the second labelled by 3D Slicer."""

    def get_labeled_images(self) -> list[str]:
        return ["b", "a"]

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        segments = [{"name": "Lung", "idx": 1}, {"name": "Lesion", "idx": 2}]
        return {"label_info": segments, "ts": 1} if label_id == "b" else {}

    def get_image_uri(self, image_id: str) -> str:
        return f"/studies/{image_id}.nii.gz"

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        assert label_tag == "final"
        return f"/studies/labels/final/{label_id}.nii.gz"


def test_a_datastore_is_read_in_the_order_of_names() -> None:
    first, second = read_submitted(Store())
    assert (first.image, first.segments) == (Path("/studies/a.nii.gz"), {})
    assert (second.label, second.segments) == (Path("/studies/labels/final/b.nii.gz"), {1: "lung", 2: "lesion"})
