"""However a volume lies, what is written is what is read, in each format and turned any way round (hypothesis)."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_inputs import write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel import orientations
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipelines.errors import GeometryError, PipelinesError
from pipelines.readers import read_case, read_label, read_volume, volume_in_memory

some = settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
TURNS = [
    np.array(list(zip(axes, flips, strict=True)))
    for axes in permutations(range(3))
    for flips in product((1, -1), repeat=3)
]
shapes = st.tuples(*[st.integers(16, 19)] * 3)
spacings = st.tuples(*[st.floats(0.1, 10)] * 3)
angles = st.tuples(*[st.floats(-180, 180)] * 3)
corners = st.tuples(*[st.floats(-1000, 1000)] * 3)


@st.composite
def affines(draw: st.DrawFn) -> NDArray[np.float64]:
    """Any right-angled grid, of either handedness."""
    axes = Rotation.from_euler("xyz", draw(angles), degrees=True).as_matrix() * draw(st.sampled_from([1, -1]))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * np.array(draw(spacings)), draw(corners)
    return affine


def values(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).integers(-1000, 1000, shape).astype(np.float32)


@some
@given(shape=shapes, affine=affines())
def test_nifti_and_memory_agree(tmp_path: Path, shape: tuple[int, int, int], affine: NDArray) -> None:
    array = values(shape)
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "a.nii")
    read, given_ = read_volume(tmp_path / "a.nii"), volume_in_memory(array, affine=affine)
    for each in (read, given_):
        np.testing.assert_array_equal(each.array, array)
        np.testing.assert_allclose(each.affine, affine, atol=1e-3)
    assert sorted(read.spacing or ()) == pytest.approx(sorted(np.linalg.norm(affine[:3, :3], axis=0)), rel=1e-4)
    assert len(read.slice_indices) == shape[read.slice_axis] == read.axial(read.array).shape[2]


@some
@given(shape=shapes, affine=affines(), turn=st.sampled_from(TURNS))
def test_a_label_stored_another_way_round_lies_on_its_image(tmp_path, shape, affine, turn) -> None:
    label = (values(shape) > 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(values(shape), affine), tmp_path / "image.nii")
    image = read_volume(tmp_path / "image.nii")
    turned = orientations.apply_orientation(label, turn)
    own = affine @ orientations.inv_ornt_aff(turn, shape)
    nib.save(nib.Nifti1Image(turned, own), tmp_path / "label.nii")
    try:
        found = read_label(tmp_path / "label.nii", image)
    except GeometryError:  # at 45 degrees nobody can say which axis is which, or the turn has another answer
        axes = np.sort(np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)), axis=0)
        assert (axes[-1] - axes[-2]).min() < 0.3, "refused, though each axis is nearest to one direction"
        return
    np.testing.assert_array_equal(found, label)


@some
@given(affine=st.lists(st.floats(), min_size=16, max_size=16).map(lambda numbers: np.array(numbers).reshape(4, 4)))
def test_any_numbers_in_the_place_of_an_affine(affine: NDArray) -> None:
    try:
        read = volume_in_memory(values((16, 16, 16)), affine=affine)
    except PipelinesError:
        return
    assert abs(np.linalg.det(read.affine[:3, :3])) > 1e-6


@settings(some, max_examples=12)
@given(turn=angles, spacing=st.tuples(st.floats(0.3, 2), st.floats(0.3, 2), st.floats(0.5, 5)), backwards=st.booleans())
def test_a_series_lies_as_it_says(tmp_path_factory, turn, spacing, backwards) -> None:
    rows = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    across, down = np.round(rows[0], 6), np.round(rows[1], 6)
    folder = write_series(
        tmp_path_factory.mktemp("any") / "series", (20, 18, 16), orientation=(*across, *down), spacing=spacing,
        backwards=backwards,
    )  # fmt: skip
    try:
        read = read_case(folder)
    except PipelinesError as error:
        pytest.fail(str(error))
    # DICOM's directions are of LPS; spacing is given of rows (down) first
    found = np.diag([-1, -1, 1]) @ read.affine[:3, :3]
    np.testing.assert_allclose(found[:, 0], across * spacing[1], atol=1e-4)
    np.testing.assert_allclose(found[:, 1], down * spacing[0], atol=1e-4)
    assert abs(float(found[:, 2] @ np.cross(across, down))) == pytest.approx(spacing[2], rel=1e-3)
