"""Distances in other units than millimetres, or in none: turned into millimetres, noted, or refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import GeometryError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import read_case, read_label

MILLIMETRES = np.array([[-0.7, 0, 0, -10], [0, -0.8, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1]])


def nrrd(path: Path, ct: np.ndarray, unit: float, *more: str, sizes: str = "", directions: str = "") -> Path:
    """By hand, at MILLIMETRES; `unit` is in millimetres, `more` are lines of the header."""
    x, y, z = 0.7 / unit, 0.8 / unit, 2 / unit
    sizes = sizes or " ".join(map(str, ct.shape))
    lines = [
        "NRRD0005", "type: short", f"dimension: {len(sizes.split())}", "space: left-posterior-superior",
        f"sizes: {sizes}", f"space directions: {directions or f'({x},0,0) (0,{y},0) (0,0,{z})'}", "endian: little",
        "encoding: raw", f"space origin: ({10 / unit},{20 / unit},{30 / unit})", *more, "", "",
    ]  # fmt: skip
    path.write_bytes("\n".join(lines).encode() + ct.tobytes(order="F"))
    return path


def mha(path: Path, ct: np.ndarray, *more: str, spacing: str = "ElementSpacing = 0.7 0.8 2") -> Path:
    lines = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
        "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = 10 20 30", *([spacing] if spacing else []), *more,
        f"DimSize = {' '.join(map(str, ct.shape))}", "ElementType = MET_SHORT", "ElementDataFile = LOCAL", "",
    ]  # fmt: skip
    path.write_bytes("\n".join(lines).encode() + ct.tobytes(order="F"))
    return path


def refused(path: Path, kind: type[PipelinesError], words: str) -> None:
    with pytest.raises(kind, match=words):
        read_case(path)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("cm", 10), ("CM", 10), ("centimeters", 10), ("m", 1000), ("metre", 1000), ("um", 1e-3), ("µm", 1e-3)],
)
def test_a_nrrd_in_another_unit(tmp_path, ct, name, unit):
    case = read_case(nrrd(tmp_path / "a.nrrd", ct, unit, f'space units: "{name}" "{name}" "{name}"'))
    np.testing.assert_allclose(case.affine, MILLIMETRES, rtol=1e-6)
    np.testing.assert_array_equal(case.array, ct)
    assert case.notes == (f"distances stated in {name} were turned into millimetres",)


@pytest.mark.parametrize("name", ["mm", "millimeters", "", "???"])
def test_millimetres_and_nothing_need_no_note(tmp_path, ct, name):
    case = read_case(nrrd(tmp_path / "a.nrrd", ct, 1, f'space units: "{name}" "{name}" "{name}"'))
    np.testing.assert_allclose(case.affine, MILLIMETRES, rtol=1e-6)
    assert case.notes == ()


def test_a_unit_along_each_axis_of_the_patient(tmp_path, ct):
    """They are those of the space, and not of the voxels' axes."""
    path = nrrd(tmp_path / "a.nrrd", ct, 1, 'space units: "mm" "mm" "cm"', directions="(0,0,0.07) (0.8,0,0) (0,2,0)")
    case = read_case(path)
    np.testing.assert_allclose(case.spacing, (0.7, 0.8, 2))
    np.testing.assert_allclose(case.affine[:3, 3], (-10, -20, 300))


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ('"inch" "inch" "inch"', "'inch', which is no unit"),
        ('"mm" "mm" "seconds"', "'seconds'"),
        ('"cm" "cm" ""', "not every axis"),
        ('"cm" "cm"', "three names"),
        ("cm cm cm", "three names"),
    ],
)
def test_units_that_are_not_known(tmp_path, ct, units, words):
    refused(nrrd(tmp_path / "a.nrrd", ct, 1, f"space units: {units}"), GeometryError, words)


def test_a_label_in_another_unit_lies_on_its_image(tmp_path, ct):
    image = read_case(nrrd(tmp_path / "a.nrrd", ct, 1))
    label = nrrd(tmp_path / "l.nrrd", (ct < -800).astype(np.int16), 10, 'space units: "cm" "cm" "cm"')
    np.testing.assert_array_equal(read_label(label, image), ct < -800)


@pytest.mark.parametrize("spacing", ["0.07 0.08 0.2", "0.07 0.08 0.2\nComment = x"])
def test_a_metaimage_in_centimetres(tmp_path, ct, spacing):
    case = read_case(mha(tmp_path / "a.mha", ct, "DistanceUnits = cm", spacing=f"ElementSpacing = {spacing}"))
    np.testing.assert_allclose(case.spacing, (0.7, 0.8, 2), rtol=1e-6)
    np.testing.assert_allclose(case.affine[:3, 3], (-100, -200, 300))
    assert case.notes == ("distances stated in cm were turned into millimetres",)


@pytest.mark.parametrize("unit", ["mm", "?"])
def test_a_metaimage_in_millimetres(tmp_path, ct, unit):
    case = read_case(mha(tmp_path / "a.mha", ct, f"DistanceUnits = {unit}"))
    np.testing.assert_allclose(case.affine, MILLIMETRES, rtol=1e-6)
    assert case.notes == ()


def test_a_metaimage_in_an_unknown_unit(tmp_path, ct):
    refused(mha(tmp_path / "a.mha", ct, "DistanceUnits = parsec"), GeometryError, "'parsec', which is no unit")


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_a_metaimage_that_states_no_spacing_is_noted(tmp_path, ct, name):
    path = mha(tmp_path / name, ct, spacing="")
    if name == "a.mhd":
        path.write_bytes(path.read_bytes()[: -ct.nbytes].replace(b"LOCAL", b"a.raw"))
        (tmp_path / "a.raw").write_bytes(ct.tobytes(order="F"))
    case = read_case(path)
    assert case.spacing == (1, 1, 1)
    (note,) = case.notes
    assert "(ElementSpacing): 1 mm is taken" in note
    sized = read_case(mha(tmp_path / "b.mha", ct, spacing="ElementSize = 0.7 0.8 2"))
    np.testing.assert_allclose(sized.affine, MILLIMETRES, rtol=1e-6)
    assert sized.notes == ()


@pytest.mark.parametrize("field", ["ElementSpacing", "TransformMatrix", "Offset", "DistanceUnits"])
def test_fields_that_itk_would_pass_over_or_read_twice(tmp_path, ct, field):
    path = mha(tmp_path / "a.mha", ct, "DistanceUnits = mm")
    data = path.read_bytes()
    path.write_bytes(data.replace(field.encode(), field.lower().encode(), 1))
    refused(path, UnreadableFileError, f"writes {field} as '{field.lower()}'")
    line = next(line for line in data.split(b"\n") if line.startswith(field.encode()))
    path.write_bytes(data.replace(line, line + b"\n" + line, 1))
    refused(path, UnreadableFileError, f"states {field} twice")


@pytest.mark.parametrize(
    ("sizes", "directions"),
    [
        ("40 36 5 3", "(0.7,0,0) (0,0.8,0) (0,0,2) none"),
        ("3 40 36 5", "none (0.7,0,0) (0,0.8,0) (0,0,2)"),
    ],
)
def test_four_axes_of_a_nrrd(tmp_path, ct, sizes, directions):
    path = nrrd(tmp_path / "a.nrrd", np.concatenate([ct] * 3), 1, sizes=sizes, directions=directions)
    refused(path, UnsupportedImageError, f"4 axes .{sizes.replace(' ', ' x ')}., as sequences and colours")


def test_one_volume_along_a_fourth_axis(tmp_path, ct):
    more = "kinds: list domain domain domain"
    path = nrrd(tmp_path / "a.nrrd", ct, 1, more, sizes="1 40 36 5", directions="none (0.7,0,0) (0,0.8,0) (0,0,2)")
    np.testing.assert_array_equal(read_case(path).array, ct)


@pytest.mark.parametrize("kept", [0.1, 0.5])
def test_metaio_says_nothing_by_itself(tmp_path, ct, capfd, kept):
    path = mha(tmp_path / "a.mha", ct)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    refused(path, UnreadableFileError, "truncated")
    assert "".join(capfd.readouterr()) == ""
