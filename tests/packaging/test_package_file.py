"""Packages as files: equal bytes for equal content, and whatever was changed on the way is found."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.errors import UnreadableFileError
from pipelines.listed_hashes import MANIFEST, digests, files_in, manifest, overall
from pipelines.packaging import verify_package
from pipelines.packaging.archive import write_zip

ABOUT = {"bundle": "any_segmentation", "version": "0.1.0"}
TEXTS = {"README.md": "read me", "bundles/any/models/a.bin": "\0\1", "bundles/any.txt": "x"}


def folder_of(path: Path, texts: dict[str, str]) -> Path:
    for name, content in texts.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    content = folder_of(tmp_path / "content", TEXTS)
    (content / MANIFEST).write_text(manifest(ABOUT, digests(files_in(content))))
    with (tmp_path / "a.zip").open("wb") as file:
        write_zip(file, {f"any-0.1.0/{name}": path for name, path in files_in(content).items()})
    return tmp_path / "a.zip"


def test_times_rights_and_order_are_not_in_it(tmp_path: Path) -> None:
    written = []
    for number, texts in enumerate((TEXTS, dict(reversed(TEXTS.items())))):
        folder = folder_of(tmp_path / str(number), texts)
        for path in files_in(folder).values():
            os.utime(path, (1e9 + 1e5 * number, 1e9))
            path.chmod(0o600 if number else 0o755)
        with BytesIO() as file:
            write_zip(file, dict(reversed(files_in(folder).items())))
            written.append(file.getvalue())
    assert written[0] == written[1]


def test_the_digest_is_that_of_common_tools(tmp_path: Path) -> None:
    """The README gives this command to those who have not installed anything yet."""
    content = folder_of(tmp_path / "content", TEXTS)
    readme = (Path(verify_package.__code__.co_filename).parent / "README.md.j2").read_text()
    (command,) = re.findall(r"^find .*$", readme, re.MULTILINE)
    done = subprocess.run(command, shell=True, cwd=content, capture_output=True, text=True, check=True)
    assert f"sha256:{done.stdout.split()[0]}" == overall(digests(files_in(content)))


def test_what_was_packed_is_found_again(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verify_package(package)
    assert (found.bundle, found.version, found.files) == ("any_segmentation", "0.1.0", 3)
    assert main(["package", "--verify", str(package)]) == 0
    assert found.digest in capsys.readouterr().out


def again(package: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    with zipfile.ZipFile(package) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    with zipfile.ZipFile(package, "w") as archive:
        for name, each in content.items():
            archive.writestr(name, each)
    return package


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda files: files.update({"any-0.1.0/README.md": b"read this"}), "1 files are changed, README.md"),
        (lambda files: files.pop("any-0.1.0/README.md"), "missing, README.md"),
        (lambda files: files.update({"any-0.1.0/more": b""}), "not listed, more"),
        (lambda files: files.update({"more": b""}), "no package"),
        (lambda files: files.pop("any-0.1.0/manifest.json"), "no package"),
        (lambda files: files.update({"any-0.1.0/manifest.json": b"[]"}), "manifest.json cannot be read"),
        (
            lambda files: files.update(
                {"any-0.1.0/manifest.json": files["any-0.1.0/manifest.json"].replace(b"sha256:", b"sha256:0")}
            ),
            "the digest of its manifest",
        ),
    ],
    ids=["changed", "missing", "more", "beside", "no manifest", "odd manifest", "digest"],
)
def test_what_is_not_as_it_was_packed_is_named(
    package: Path, change: Callable[[dict[str, bytes]], object], said: str
) -> None:
    with pytest.raises(UnreadableFileError, match=re.escape(said)):
        verify_package(again(package, change))


def test_a_file_that_is_there_twice_is_named(package: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(package, "a") as archive:
        archive.writestr("any-0.1.0/README.md", "read me")
    with pytest.raises(UnreadableFileError, match=r"there twice, any-0\.1\.0/README\.md"):
        verify_package(package)


@pytest.mark.parametrize("keep", [0, 100, 300])
def test_a_file_cut_short_is_damaged(package: Path, keep: int, capsys: pytest.CaptureFixture[str]) -> None:
    package.write_bytes(package.read_bytes()[:keep])
    assert main(["package", "--verify", str(package)]) == 10
    assert "damaged" in capsys.readouterr().err
    assert main(["package", "--verify", str(package.with_name("none.zip"))]) == 10
