"""Where bundles are, where what they make goes, how they are run from Python, and which network a run of theirs had."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import ConfigError, UsageError
from pipelines.listed_hashes import MANIFEST
from pipelines.said_last import say_faults_last

MARK = Path("configs") / "metadata.json"
GENERATION = "generation"  # the kind of a bundle that draws pictures
BUNDLES = "PIPELINES_BUNDLES"  # environment: the folder of bundles
REQUIRE, PUBLIC_KEY = "PIPELINES_REQUIRE", "PIPELINES_PUBLIC_KEY"  # environment: what a bundle must be to be run
# The allocator else gives each large tensor back to the system and asks for it again, at much processor time.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # of a Path, which has one slash of the two
_NAME = re.compile(r"[\w-]+")
_REFERENCE = re.compile(r"[@%](\w+)")
_SIZES = ("slice_size", "image_size", "spatial_size", "patch_size", "roi_size")  # ids that say how large an input is
_LARGEST = 4096  # pixels a side of an input that is believed
_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "bundles"  # only in an installed package; a checkout has them beside the package

say_faults_last()  # every bundle's configs import this file


@dataclass(frozen=True)
class Project:
    """What a command works in.

    Attributes:
        root: the folder that the tracking store (``mlruns/``) lies in.
        bundles: the folder of bundles; it need not exist.
    """

    root: Path
    bundles: Path


def find_project(given: str | Path | None = None) -> Project:
    """The bundles to use, and the folder that the runs of their trainings are in (``project_root``).

    The bundles are those of the first that is there: ``given``, the environment's ``PIPELINES_BUNDLES``, ``bundles/``
    in the working directory, the checkout that this package lies in, the copy that is installed with this package.

    Raises:
        UsageError: ``given``, or the environment, names a folder without bundles.
    """
    named = given or os.environ.get(BUNDLES, "").strip()
    if named:
        folder = Path(named).expanduser().absolute()
        if not bundles_in(folder):
            how = "name the folder that holds bundles (folders with configs/metadata.json)"
            raise UsageError("there are no bundles here", where=folder, how=how)
        return Project(Path(project_root(next(iter(bundles_in(folder).values())))), folder)
    checkout = _PACKAGE.parent if (_PACKAGE.parent / "setup.cfg").is_file() else None
    for folder in (Path.cwd() / "bundles", *([checkout / "bundles"] if checkout else []), _SHIPPED):
        if bundles_in(folder):
            return Project(Path(project_root(folder / "any")), folder)
    return Project(Path.cwd(), Path.cwd() / "bundles")


def shipped_bundles() -> Path:
    """The folder of the bundles that come with this package: the checkout's, or the copy that is installed with it."""
    return _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent / "bundles"


def bundles_in(folder: Path) -> dict[str, Path]:
    """The bundles of a folder, by name; none where there is no such folder."""
    return {mark.parents[1].name: mark.parents[1] for mark in sorted(folder.glob(f"*/{MARK}"))}


def named_bundle(word: str | Path, bundles: Path) -> Path:
    """A bundle given by its folder, or by its name in ``bundles`` or among the shipped ones; what it has is for the
    caller to check.

    Raises:
        UsageError: it is given by an address.
    """
    if _ADDRESS.match(str(word)) and not Path(word).is_dir():
        how = "download it, look it through (python -m pipelines check), and give its folder"
        raise UsageError(f"{word} is an address, and no bundle is fetched or run from one", how=how)
    given, places = Path(word), (bundles / word, shipped_bundles() / word)
    there = next((each for each in places if (each / MARK).is_file()), places[0])
    # a folder of that name in the working directory may be what a training of an installed bundle left
    return given if (given / MARK).is_file() or (given.is_dir() and not (there / MARK).is_file()) else there


def bundle_kind(bundle: Path) -> str:
    """What a bundle declares itself to be in its metadata, by the key ``kind`` or by the format of its output ``pred``:
    "segmentation", "classification", "generation", …; "" if nothing, or where the metadata cannot be read."""
    try:
        about = json.loads((bundle / MARK).read_text(encoding="utf-8"))
        return str(about.get("kind") or about["network_data_format"]["outputs"]["pred"]["format"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


def refuse_generating(bundle: Path, command: str) -> None:
    """Refuse a bundle that generates pictures where a command is about bundles that judge them.

    Raises:
        UsageError: it is one.
    """
    if bundle_kind(bundle) == GENERATION:
        raise UsageError(
            f"{bundle.name} generates pictures and judges none, so that `{command}` has nothing to do with it",
            where=bundle,
            how=f"generate with it: python -m monai.bundle run --config_file {named_from_here(bundle)}/configs/"
            "generate.yaml; or name a bundle that segments or classifies",
        )


def copy_bundle(bundle: Path, target: Path, *, fresh: bool = True) -> Path:
    """Copy a bundle without what trainings and predictions left in it: folders in ``models/``, ``models/*.pt``, and
    ``eval/``; nor its manifest and signature, which are of the original.

    Args:
        bundle: its folder.
        target: the copy's.
        fresh: the target must not be there; else it is overwritten, and what else lies in it stays.

    Returns:
        The target.

    Raises:
        OSError: it cannot be written.
    """
    return Path(shutil.copytree(bundle, target, ignore=_made, dirs_exist_ok=not fresh))


def _made(folder: str, names: list[str]) -> list[str]:
    inside = Path(folder)
    models = inside.name == "models"
    of_original = (MANIFEST, f"{MANIFEST}.sig") if (inside / MARK).is_file() else ()
    return [
        name
        for name in names
        if name in ("eval", "__pycache__", *of_original)
        or (models and (name.endswith(".pt") or (inside / name).is_dir()))
    ]


def named_from_here(path: Path) -> str:
    """A path as a command names it: seen from the working directory, where it lies in it."""
    given, here = path.absolute(), Path.cwd()
    return str(given.relative_to(here) if given.is_relative_to(here) else given)


def is_installed(bundle_root: str | Path) -> bool:
    """Whether a bundle is the copy inside an installed package, where nothing may be written."""
    return Path(bundle_root).resolve().parent == _SHIPPED


def description(bundle_root: str | Path) -> str:
    """What a bundle does, from its ``configs/metadata.json``, as a text for the pages of MLflow.

    Raises:
        ConfigError: it has no readable metadata.
    """
    path = Path(bundle_root) / MARK
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return f"{about['task']}. {about['description']}. For research only; not for diagnosis or treatment."
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError("the bundle's metadata cannot be read", where=path, how="fetch the bundle again") from error


def looks_at(bundle: Path) -> frozenset[str]:
    """What kinds of images a bundle looks at: "ct", "x-ray" and "photograph", by the modality of its metadata, else by
    the dimensions and channels of its image.

    Raises:
        ConfigError: the metadata cannot be read, or do not say it.
    """
    path = bundle / MARK
    try:
        image = json.loads(path.read_text("utf-8"))["network_data_format"]["inputs"]["image"]
        modality, colour = str(image.get("modality", "")).strip().lower(), image.get("num_channels") == 3
        volume = len(image.get("spatial_shape", ())) == 3
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError("the metadata do not say what the bundle looks at", where=path) from error
    if modality in ("ct", "x-ray"):
        return frozenset([modality])
    if volume:
        return frozenset(["ct"])
    return frozenset(["photograph"]) if colour else frozenset(["x-ray", "photograph"])


def meet_demands(bundle: Path) -> None:
    """See to it that a bundle is what the environment's ``PIPELINES_REQUIRE`` demands, before anything of it is run.

    Raises:
        UntrustedBundleError: it is not.
        UsageError, UnreadableFileError: the demand, or the key, cannot be used.
    """
    if os.environ.get(REQUIRE, "").strip():
        from pipelines.auditing.demand import meet_demands as look  # here: where nothing is demanded, nothing is read

        look(bundle)


def locate(bundle_root: str | Path = ".") -> str:
    """The bundle's folder as an absolute path, so that a config serves from any working directory.

    ``bundle_root`` is ``.`` in every config, as MONAI asks. Then the bundle is the one whose workflow is asking, of
    however many this process has opened, wherever it was started; else the one that MONAI put on ``sys.path``.

    Raises:
        ConfigError: none of them holds ``configs/metadata.json``.
        UntrustedBundleError: it is not what ``PIPELINES_REQUIRE`` demands.
    """
    given = Path(bundle_root)
    asking = [_asking()] if given == Path() else []
    for folder in (*filter(None, asking), given, *map(Path, sys.path[:3])):
        if (folder / MARK).is_file():
            meet_demands(folder)
            return str(folder.resolve())
    raise ConfigError("there is no bundle here", where=given.resolve(), how="give --bundle_root the bundle's folder")


def _asking() -> Path | None:
    """The folder of the workflow in which a config is being evaluated: MONAI tells an expression nothing about it."""
    module = sys.modules.get("monai.bundle.workflows")
    frame = sys._getframe(1)
    while module is not None and frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, module.ConfigWorkflow):
            configs = vars(caller).get("config_root_path")
            return None if configs is None else Path(configs).absolute().parent
        frame = frame.f_back  # type: ignore[assignment]
    return None


def project_root(bundle_root: str | Path) -> str:
    """The project a bundle belongs to: where its data and the tracking store are looked for.

    The folder above the folder of bundles (one that is called ``bundles`` or holds several), or the bundle itself when
    it stands alone; the working directory for a bundle that is installed with this package.
    """
    if is_installed(bundle_root):
        return str(Path.cwd())
    root = Path(bundle_root).resolve()
    alone = root.parent.name != "bundles" and len(bundles_in(root.parent)) < 2
    return str(root if alone else root.parent.parent)


def work_folder(bundle_root: str | Path) -> str:
    """Where what a bundle makes goes by default: its own folder; one of its name in the working directory if it is
    installed with this package."""
    root = Path(bundle_root).resolve()
    return str(Path.cwd() / root.name if is_installed(root) else root)


def weights_of(bundle_root: str | Path, network: str) -> str:
    """The weights of a bundle's network: those that are shipped, else those that a training left.

    Where there are neither, the place of shipped ones: whoever opens it says what to do (``prediction.opening``).
    """
    shipped = Path(bundle_root) / "models" / f"{network}.safetensors"
    trained = Path(work_folder(bundle_root)) / "models" / network / "model.pt"
    return str(trained if trained.is_file() and not shipped.is_file() else shipped)


def autoencoder_weights(bundle_root: str | Path, network: str) -> str:
    """The weights that a bundle's classifier takes its encoder from: those that ``train_autoencoder.yaml`` left, else
    the shipped ones of the whole network, which have the autoencoder in them.

    Where there are neither, the place of the former: whoever opens it says that there is nothing.
    """
    trained = Path(work_folder(bundle_root)) / "models" / "autoencoder" / "model.pt"
    shipped = Path(bundle_root) / "models" / f"{network}.safetensors"
    return str(shipped if shipped.is_file() and not trained.is_file() else trained)


def read_configs(files: Sequence[Path]) -> dict[str, Any]:
    """Configs laid over one another in this order, nothing in them evaluated.

    Raises:
        ConfigError: one cannot be read.
        UntrustedBundleError: the bundle of the first is not what ``PIPELINES_REQUIRE`` demands.
    """
    meet_demands(_bundle_of(files[0]))
    from monai.bundle import ConfigParser  # here: every command imports this module, and few need MONAI

    try:
        return dict(ConfigParser.load_config_files([str(path) for path in files]))
    except Exception as error:
        raise ConfigError(f"the config cannot be read ({error})", where=files[0]) from error


def _bundle_of(config: Path) -> Path:
    """The bundle that a config lies in: the folder above its ``configs``."""
    return next((each.parent for each in config.absolute().parents if each.name == "configs"), config.parent)


def network_config(bundles: Path, name: str, network: str) -> dict[str, Any]:
    """The top-level ids of a bundle's ``train.yaml``, with one of its networks laid over it.

    Args:
        bundles: the folder of bundles.
        name, network: as a run recorded them: nothing outside that folder is read, whatever they say.

    Raises:
        UsageError: there is no such bundle, or it has no such network.
        ConfigError: a config cannot be read.
    """
    configs = bundles / name / "configs"
    files = [configs / "train.yaml", configs / "networks" / f"{network}.yaml"]
    if not _NAME.fullmatch(name) or not files[0].is_file():
        raise UsageError(f"no bundle {name!r} here", where=bundles)
    if not _NAME.fullmatch(network):
        raise UsageError(f"{network} is no name of a network here", where=configs)
    content = read_configs([path for path in files if path.is_file()])
    if content.get("network_name") != network or "network_def" not in content:
        raise UsageError(f"{name} has no configs/networks/{network}.yaml", where=bundles)
    return content


def network_of_run(content: Mapping[str, Any], params: Mapping[str, str]) -> dict[str, Any]:
    """Of a ``network_config`` the ids that ``network_def`` needs, with the numbers that a run recorded.

    Nothing but numbers is taken from the run: a config can run any code, and a store may be anybody's.
    """
    needed, fresh = {"network_def"}, {"network_def"}
    while fresh:
        words = {word for each in fresh for word in _REFERENCE.findall(json.dumps(content.get(each), default=str))}
        fresh = (words & content.keys()) - needed
        needed |= fresh
    chosen = {name: deepcopy(content[name]) for name in content if name in needed}
    for name in chosen.keys() & params.keys():
        value = _plain(params[name])
        if isinstance(value, (int, float)) and isinstance(chosen[name], (int, float)):
            chosen[name] = value
    return chosen | {"imports": content.get("imports", [])}


def input_shape(bundle: Path, content: Mapping[str, Any], params: Mapping[str, str]) -> tuple[int, ...]:
    """One input of a run's network: its channels, and its size in pixels or voxels, which is missing where neither the
    run nor the ``network_config`` says one."""
    sizes = (_plain(params.get(name) or content[name]) for name in _SIZES if content.get(name))
    size = next((each for each in sizes if isinstance(each, list) and each), [])
    usable = all(isinstance(each, int) and 0 < each <= _LARGEST for each in size)
    about = json.loads((bundle / MARK).read_text(encoding="utf-8"))
    return (int(about["network_data_format"]["inputs"]["image"]["num_channels"]), *(size if usable else ()))


def _plain(value: object) -> object:
    """What a recorded text says; None if nothing."""
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        return None


def run_environment(**settings: str) -> dict[str, str]:
    """The environment of a bundle's run as a process of its own: this one's, and where it does not say, ``settings``
    and an allocator that keeps what it has."""
    return {**ALLOCATOR, **settings, **os.environ}


def keep_freed_memory() -> None:
    """Tells glibc's allocator, in this process, what ``ALLOCATOR`` tells those that are begun; elsewhere, where the
    environment says something else, and before glibc 2.35, which refuses so high a threshold, nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    for parameter, variable in ((-3, "MALLOC_MMAP_THRESHOLD_"), (-1, "MALLOC_TRIM_THRESHOLD_")):  # as in malloc.h
        if mallopt is not None and variable not in os.environ:
            mallopt(parameter, 2**31 - 1)


def leave_process_group(settle: float = 1.0) -> None:
    """Ends distributed training so that the process can exit: all processes wait for one another, then for the workers.

    gloo's worker threads may hold a collective's tensors for a moment after it returned. A worker that lets go of them
    while Python is being finalised aborts the process ("terminate called without an active exception"), and torchrun
    then kills the others and calls a finished training failed
    (https://github.com/pytorch/pytorch/pull/179291). gloo has no call to wait for its workers.

    Args:
        settle: seconds the workers are given before the process may exit.
    """
    from torch import distributed  # here: every command imports this module, and few need torch

    distributed.barrier()
    distributed.destroy_process_group()
    time.sleep(settle)
