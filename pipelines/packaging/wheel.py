"""The project's wheel, made of the checkout or of the installed package that runs; without the weights of bundles."""

from __future__ import annotations

import base64
import csv
import email
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from pipelines.errors import UsageError
from pipelines.files import write_file
from pipelines.listed_hashes import files_in
from pipelines.packaging.archive import write_zip

PROJECT = "imaging-bundles"
_PACKAGE = Path(__file__).resolve().parents[1]
_SOURCES = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
_OF_INSTALLER = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")  # written where it was installed: no part of it
_INFORMATION = ".dist-info"
_HOW = "install the project with pip, or run this in its checkout"


def write_wheel(folder: Path) -> Path:
    """Write the wheel of the running code into a folder; equal code gives equal bytes.

    In a checkout setuptools builds it. An installed package has what the wheel that it came from had, and is packed
    again. The wheel has the project's bundles with their configs, and no weights: a package brings its own.

    Raises:
        UsageError: the code is neither, or pip cannot build it.
        OutputError: it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="wheel-") as temporary:
        content = Path(temporary) / "content"
        is_checkout = (_PACKAGE.parent / "setup.cfg").is_file()
        if is_checkout:
            _build(Path(temporary), content)
        else:
            _collect(content)
        target = folder / _record(content)
        write_file(target, lambda file: write_zip(file, files_in(content)))
    return target


def wheel_texts(wheel: Path) -> tuple[list[str], str, str]:
    """What a wheel requires (PEP 508, a line each), its version, and its licence's text.

    Raises:
        UsageError: it has none.
    """
    with zipfile.ZipFile(wheel) as archive:
        inside = {PurePosixPath(name).name: name for name in archive.namelist() if f"{_INFORMATION}/" in name}
        if "METADATA" not in inside or "LICENSE" not in inside:
            raise UsageError("the wheel has no licence", where=wheel, how=_HOW)
        about = email.message_from_bytes(archive.read(inside["METADATA"]))
        licence = archive.read(inside["LICENSE"]).decode("utf-8")
    return about.get_all("Requires-Dist") or [], str(about["Version"]), licence


def _build(temporary: Path, content: Path) -> None:
    """Build it of a copy (setuptools leaves folders beside its sources), and unpack it."""
    source, built = temporary / "source", temporary / "built"
    root = _PACKAGE.parent
    for name in ("pipelines", "bundles"):
        shutil.copytree(root / name, source / name, ignore=_left_out)
    (source / "data").mkdir()
    for path in (*(root / name for name in _SOURCES), *(root / "data").glob("*.yaml")):
        shutil.copyfile(path, source / path.relative_to(root))
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir"]
    words += ["--disable-pip-version-check", "--wheel-dir", str(built)]
    if find_spec("setuptools") is not None:  # else pip fetches it
        words += ["--no-build-isolation", "--no-index"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [*words, str(source)], env=environment, cwd=temporary, capture_output=True, text=True, check=False
    )
    wheels = sorted(built.glob("*.whl")) if done.returncode == 0 else []
    if not wheels:
        said = next(iter(reversed((done.stderr or done.stdout).strip().splitlines())), "it said nothing")
        raise UsageError(
            f"pip cannot build the project's wheel ({said[:300]})", where=root, how="pip install pip setuptools"
        )
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(content)


def _left_out(folder: str, names: list[str]) -> list[str]:
    inside = Path(folder)
    return [
        name
        for name in names
        if name in ("__pycache__", "eval") or (inside.name == "models" and (inside.parent / "configs").is_dir())
    ]


def _collect(content: Path) -> None:
    """Copy the files of the installed package that its wheel had."""
    try:
        found = importlib.metadata.distribution(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        found = None
    paths = {each: Path(str(found.locate_file(each))) for each in found.files or []} if found is not None else {}
    if not any(path.resolve() == _PACKAGE / "errors.py" for path in paths.values()):
        what = "this code is neither a checkout nor an installed package, so its wheel cannot be made"
        raise UsageError(what, where=_PACKAGE, how=_HOW)
    for each, path in paths.items():
        weights = each.parts[:2] == ("pipelines", "bundles") and "models" in each.parts
        of_it = each.parts[0] == "pipelines" or each.parts[0].endswith(_INFORMATION)
        if not of_it or weights or "__pycache__" in each.parts or each.name in _OF_INSTALLER:
            continue
        target = content.joinpath(*each.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _record(content: Path) -> str:
    """Write anew the list of files that a wheel has; the name of the wheel."""
    (information,) = content.glob(f"*{_INFORMATION}")
    record = information / "RECORD"
    record.unlink(missing_ok=True)
    rows = [[name, _recorded(path), str(path.stat().st_size)] for name, path in files_in(content).items()]
    with record.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([*rows, [record.relative_to(content).as_posix(), "", ""]])
    about = email.message_from_string((information / "WHEEL").read_text(encoding="utf-8"))
    return f"{information.name.removesuffix(_INFORMATION)}-{about['Tag']}.whl"


def _recorded(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
