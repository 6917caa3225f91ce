"""What of a bundle's folder goes into its package: what it is made of, and no data, runs or paths of its author's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import safetensors.torch
from monai.bundle import ConfigParser

from pipelines.bundle import weights_of
from pipelines.errors import UnreadableFileError, UsageError
from pipelines.files import make_folder, write_file
from pipelines.transforms import calibration_path, confidence_path
from pipelines.weights import read_weights

_FOLDERS = ("configs", "docs", "scripts")
_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "large_files.yml", "large_files.yaml", "large_files.json")
_OF_WEIGHTS = (".safetensors", ".json")
_LARGEST_TEXT = 4_000_000  # bytes; what is larger is no config or page
_BACKUPS = ("~", ".pyc", ".tmp", ".bak", ".swp")


def default_network(bundle: Path) -> str:
    """The network of a bundle's ``inference.yaml``.

    Raises:
        UsageError: it has no such config.
    """
    config = bundle / "configs" / "inference.yaml"
    if not config.is_file():
        raise UsageError("this is not a bundle with configs/inference.yaml", where=bundle)
    return str(ConfigParser.load_config_file(str(config)).get("network_name"))


def copy_files(bundle: Path, target: Path) -> list[str]:
    """Copy ``configs/``, ``docs/``, ``scripts/``, the licence and the weights in ``models/``; hidden files are none of
    it.

    Returns:
        What else lies in the bundle's folder and is left out, sorted.
    """
    left_out = []
    for path in sorted(bundle.iterdir()):
        if path.name in _FOLDERS and path.is_dir():
            shutil.copytree(path, target / path.name, ignore=_no_part)
        elif path.name in _FILES and path.is_file():
            make_folder(target)
            shutil.copyfile(path, target / path.name)
        elif path.name == "models" and path.is_dir():
            for file in sorted(path.iterdir()):
                if file.is_file() and file.suffix in _OF_WEIGHTS:
                    make_folder(target / "models")
                    shutil.copyfile(file, target / "models" / file.name)
                elif not file.name.startswith("."):
                    left_out.append(f"models/{file.name}")
        elif not path.name.startswith(".") and path.name != "__pycache__":
            left_out.append(path.name)
    return left_out


def _no_part(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(".") or name == "__pycache__" or name.endswith(_BACKUPS)]


def add_weights(bundle: Path, target: Path, network: str, checkpoint: Path | None) -> Path:
    """Put the weights of a network into the copy of its bundle, as ``models/NETWORK.safetensors``, with what was fitted
    to them.

    Args:
        bundle: the original.
        target: the copy.
        network: whose weights they are.
        checkpoint: the file; None for those that are shipped, or else those that a training left.

    Returns:
        The file in the copy.

    Raises:
        UnreadableFileError, WeightsError: there are none, or they cannot be used.
        OutputError: it cannot be written.
    """
    goal = target / "models" / f"{network}.safetensors"
    source = checkpoint or Path(weights_of(bundle, network))
    if checkpoint is None and not source.is_file():
        what = f"the network {network} has no weights: none are shipped, and it is not trained yet"
        raise UnreadableFileError(what, where=bundle, how="train it, or give weights with --checkpoint FILE")
    if goal.is_file() and source.resolve() == (bundle / "models" / goal.name).resolve():
        return goal
    state = {key: value.contiguous() for key, value in read_weights(source).items()}
    note = {"network": network, "data": "see docs/data_license.txt", "use": "research only"}
    content = source.read_bytes() if source.suffix == ".safetensors" else safetensors.torch.save(state, metadata=note)
    make_folder(goal.parent)
    write_file(goal, lambda file: file.write(content))
    for beside in (calibration_path, confidence_path):
        if beside(source).is_file():
            shutil.copyfile(beside(source), beside(goal))
        else:
            beside(goal).unlink(missing_ok=True)  # it was of other weights
    return goal


def check_paths(folder: Path, of_author: Iterable[Path]) -> None:
    """See to it that no file tells where things lie on this machine.

    Args:
        folder: with what is to be packed.
        of_author: folders that may not be named; of those with one part (``/root``) what lies in them.

    Raises:
        UsageError: a text names one of them.
    """
    names = {str(path.absolute()) for path in of_author if len(path.absolute().parts) > 1}
    if not names:
        return
    pattern = re.compile(rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})(?=[/\\])")
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        if path.stat().st_size > _LARGEST_TEXT:
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except ValueError:
            continue  # no text
        for number, line in enumerate(lines, start=1):
            found = pattern.search(line)
            if found is not None:
                where = f"{path.relative_to(folder)}, line {number}"
                raise UsageError(
                    f"the line names a path of this machine ({found[0]}{line[found.end() :][:40]})",
                    where=where,
                    how="write it relative, as $bundle.project_root(@root) + '/data/NAME', or take it out",
                )
