"""Archives: unpacked where they hold scans, refused where they are damaged, hostile or would lose something."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import PipelinesError, SeriesError, UnreadableFileError
from pipelines.readers import archive, find_cases, look_through, read_case, read_colour

TARS = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


@pytest.fixture(autouse=True)
def nothing_left(tmp_path, monkeypatch):
    """Archives are unpacked into a folder of the test, and taken away."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    yield
    archive.forget()
    assert not list((tmp_path / "temporary").iterdir())


def pack(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members.items():
                file.writestr(name, data)
        return path
    mode = next(mode for ending, mode in reversed(TARS.items()) if path.name.endswith(ending))
    with tarfile.open(path, mode) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def series(write_series) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in write_series(name="source").iterdir()}


@pytest.mark.parametrize("ending", [".zip", *TARS])
@pytest.mark.parametrize("inside", ["", "study/series 1/"])
def test_a_packed_series_is_read(tmp_path, series, ct, ending, inside):
    path = pack(tmp_path / f"scan{ending}", {inside + name: data for name, data in series.items()})
    assert find_cases(path) == [path]
    case = read_case(path)
    np.testing.assert_array_equal(case.array, ct)
    assert case.path == path


def test_a_packed_volume_and_picture_are_read(tmp_path, write_nifti, ct, grey):
    data = write_nifti(ct, name="a.nii.gz").read_bytes()
    np.testing.assert_array_equal(read_case(pack(tmp_path / "v.zip", {"deep/a.nii.gz": data})).array, ct)
    buffer = io.BytesIO()
    Image.fromarray(np.stack([grey, grey // 2, grey // 3], axis=2)).save(buffer, "PNG")
    picture = read_colour(pack(tmp_path / "p.tar", {"x.png": buffer.getvalue()}))
    assert picture.array.shape == (3, 60, 50)


def test_each_case_of_an_archive_is_one(tmp_path, series, write_nifti, ct):
    members = {f"a/{name}": data for name, data in series.items()}
    members |= {"b.nii": write_nifti(ct).read_bytes(), "notes.txt": b"x", "c.png": b"no picture", "d.zip": b"PK"}
    path = pack(tmp_path / "many.zip", members)
    cases = look_through(path)
    assert [str(each.path)[len(str(path)) :] for each in cases] == ["::a", "::b.nii", "::c.png", "::d.zip"]
    assert [each.fault is None for each in cases] == [True, True, True, False]
    for each in cases[:2]:
        np.testing.assert_array_equal(read_case(each.path).array, ct)
    with pytest.raises(UnreadableFileError, match=r"many\.zip::c\.png: is not a") as caught:
        read_case(cases[2].path)
    assert "unpacked-" not in str(caught.value)
    assert "archive in an archive" in str(cases[3].fault)
    with pytest.raises(SeriesError, match=r"holds 4 cases; give one of them, such as .*many\.zip::a"):
        read_case(path)
    for inside in ("nothing", "../../etc", "a/../../x"):
        with pytest.raises(UnreadableFileError, match="holds no"):
            read_case(f"{path}::{inside}")


def test_archives_in_an_archive_are_named_and_never_unpacked(tmp_path, series, monkeypatch):
    inner = pack(tmp_path / "inner.zip", series).read_bytes()
    names = ["n1.zip", "n2.zip", "n3.zip"]
    path = pack(tmp_path / "outer.zip", dict.fromkeys(names, inner) | {f"x/{name}": series[name] for name in series})
    unpacked, unpack = [], archive.unpack

    def told(path: Path) -> Path:
        unpacked.append(path)
        return unpack(path)

    monkeypatch.setattr(archive, "unpack", told)
    cases = look_through(path)
    assert set(unpacked) == {path}
    assert [(each.inside, each.fault and each.fault.what) for each in cases] == [
        *((name, "is an archive in an archive") for name in names),
        ("x", None),
    ]
    for case in cases[:3]:
        assert str(case.fault).startswith(f"{path}::{case.inside}: ")
        with pytest.raises(UnreadableFileError, match=r"outer\.zip::n.\.zip: is not"):
            read_case(case.path)
    assert read_case(cases[3].path).path == cases[3].path
    assert set(unpacked) == {path}


def refused(path: Path, words: str) -> None:
    """The archive has one line, which says what is wrong, and reading it says the same."""
    (only,) = look_through(path)
    assert isinstance(only.fault, PipelinesError)
    with pytest.raises(UnreadableFileError, match=words) as caught:
        read_case(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["../out.png", "/tmp/out.png", "a/../../out.png", "..\\out.png", "C:\\out.png"])
@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_nothing_is_written_outside(tmp_path, name, ending):
    refused(pack(tmp_path / f"a{ending}", {"good.png": b"x", name: b"y"}), "written outside")
    assert not list(tmp_path.rglob("out.png"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        info = tarfile.TarInfo("x.png")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    refused(tmp_path / "a.tar", "link or a device")


def test_links_in_a_zip_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("x.png")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    refused(tmp_path / "a.zip", "link or a device")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".tar.xz"])
def test_bombs_are_refused(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(archive, "_BOMB_BYTES", 2**20)
    refused(pack(tmp_path / f"a{ending}", {"x.nii": bytes(2**22)}), "bomb")


def test_too_many_files_and_too_many_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    refused(pack(tmp_path / "a.zip", {f"{k}.png": b"x" for k in range(4)}), "more than 3 files")
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    refused(pack(tmp_path / "b.tar", {"x.nii": os.urandom(1001)}), "more than a few scans")


def test_a_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("0.dcm", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("0.dcm", "other")
    refused(tmp_path / "a.zip", "twice")


@pytest.mark.parametrize("ending", [".zip", ".tar"])
@pytest.mark.parametrize(
    "names",
    [["a" * 300 + ".png"], ["d/" * 3000 + "a.png"], ["x", "x/a.png"], ["x/a.png", "x"]],
    ids=lambda each: each[0][:5],
)
def test_a_name_that_cannot_be_written_is_the_archives_fault(tmp_path, ending, names):
    path = pack(tmp_path / f"a{ending}", dict.fromkeys(names, b"x"))
    refused(path, "whose name cannot be written here")
    assert len(str(look_through(path)[0].fault)) < 250 + len(str(path))


def test_a_name_in_no_script(tmp_path):
    path = pack(tmp_path / "a.zip", {"ü.png": b"x"})
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xff\xff"))
    refused(path, "no known script")


@pytest.mark.parametrize("ending", [".zip", *TARS])
@pytest.mark.parametrize("kept", [0.3, 0.6])
def test_a_truncated_archive_loses_no_slice_in_silence(tmp_path, series, ending, kept):
    path = pack(tmp_path / f"a{ending}", series)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    refused(path, r"damaged or truncated|is damaged")


def test_a_tar_that_was_cut_between_two_files_is_refused(tmp_path, series):
    path = pack(tmp_path / "a.tar", series)
    with tarfile.open(path) as file:
        last = file.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset])
    refused(path, "its end is missing")


@pytest.mark.parametrize("content", [b"no archive at all", b"PK\x03\x04" + bytes(100), b"\x1f\x8b" + bytes(50)])
@pytest.mark.parametrize("ending", [".zip", ".tar", ".tgz"])
def test_what_is_no_archive(tmp_path, ending, content):
    (tmp_path / f"a{ending}").write_bytes(content)
    refused(tmp_path / f"a{ending}", "damaged")


def test_a_locked_archive_says_so(tmp_path):
    path = pack(tmp_path / "a.zip", {"x.png": b"picture"})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag of encryption, in the member's header and in the directory
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    refused(path, "locked by a password")


def test_an_archive_without_images(tmp_path):
    refused(pack(tmp_path / "a.zip", {"notes.txt": b"x"}), "the archive holds no images")
    refused(pack(tmp_path / "b.zip", {}), "the archive holds no images")


def test_no_more_than_two_stay_unpacked(tmp_path, grey):
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    for number in range(4):
        read_case(pack(tmp_path / f"{number}.zip", {"x.png": buffer.getvalue()}))
    assert len(list((tmp_path / "temporary").iterdir())) == 2
