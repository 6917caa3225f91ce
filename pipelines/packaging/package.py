"""``package_bundle``: a bundle, its weights, the wheel and the exact versions it needs, in one file."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from pipelines.bundle import MARK, bundles_in, description, refuse_generating
from pipelines.errors import ConfigError, OutputError, UsageError
from pipelines.files import held_beside, text, write_file
from pipelines.listed_hashes import MANIFEST, digests, files_in, manifest, overall
from pipelines.loading import load_bundle
from pipelines.model_pt import MODEL, write_model_pt
from pipelines.packaging.archive import write_zip
from pipelines.packaging.bundle_files import add_weights, check_paths, copy_files, default_network
from pipelines.packaging.pins import pinned
from pipelines.packaging.wheel import PROJECT, wheel_texts, write_wheel
from pipelines.prediction.opening import network_overlays
from pipelines.weights import weights_digest

Say = Callable[[str], object]
_VERSION = re.compile(r"[\w.+-]+")
_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Package:
    """What was made.

    Attributes:
        path: the file.
        digest: ``sha256:…`` over the names and contents of its files.
        install, use: the two commands, as they are given beside the unpacked file.
        left_out: what lies in the bundle's folder and is not in it.
        notes: what its maker should know.
    """

    path: Path
    digest: str
    install: str
    use: str
    left_out: list[str]
    notes: list[str]


def package_bundle(
    bundle: Path,
    out: Path | None = None,
    *,
    network: str | None = None,
    checkpoint: Path | None = None,
    overwrite: bool = False,
    project: Path | None = None,
    say: Say = lambda _: None,
) -> Package:
    """Make one ZIP that installs and runs a bundle on another machine.

    It holds ``NAME-VERSION/`` with ``bundles/NAME/`` (configs, docs, weights as safe tensors, and ``models/model.pt``
    of the default network), the project's wheel, the exact versions that are installed here, a README with two
    commands, the licence, and ``manifest.json`` with the digest of each file. The same content gives the same bytes.
    The bundle is opened with its weights once before anything is written.

    Args:
        bundle: its folder.
        out: the file; None for ``NAME-VERSION.zip`` in the working directory.
        network: whose weights are due; None for the bundle's default.
        checkpoint: weights of that network (.safetensors, or .pt with tensors alone); None for those it uses.
        overwrite: an older file is replaced.
        project: the folder with the bundle's data and runs, whose path no file may name.
        say: is told what is done.

    Raises:
        UsageError: it is no bundle, generates pictures, has no such network, or names paths of this machine; the wheel
            cannot be made.
        ConfigError: the bundle's configs cannot be used.
        UnreadableFileError, WeightsError: there are no weights, or not those of the network.
        OutputError: the file is there already, or cannot be written, or another call is writing it.
    """
    bundle = bundle.absolute()
    refuse_generating(bundle, "package")
    usual = default_network(bundle)
    version = _version(bundle)
    known = network_overlays(bundle)
    if network is not None and network not in known:
        raise UsageError(f"there is no network {network!r}", where=bundle, how=f"choose from {', '.join(known)}")
    title = f"{bundle.name}-{version}"
    target = out if out is not None else Path(f"{title}.zip")
    if target.is_dir() or (target.exists() and not overwrite):
        how = "name another file with --out" if target.is_dir() else "--overwrite replaces it"
        raise OutputError("it is there already", where=target, how=how)
    chosen = network or usual
    with held_beside(target), tempfile.TemporaryDirectory(prefix="package-") as temporary:
        folder = Path(temporary) / title
        inside = folder / "bundles" / bundle.name
        left_out = copy_files(bundle, inside)
        weights = add_weights(bundle, inside, chosen, checkpoint)
        check_paths(inside, [Path.home(), bundle.parent, *([project] if project is not None else [])])
        say(f"opening {bundle.name} with {weights.name}")
        load_bundle(inside, None if network is None else chosen)
        notes = _model_pt(inside, usual, chosen)
        own = bundle / "models" / weights.name
        if checkpoint is not None and own.is_file() and weights_digest(own) != weights_digest(weights):
            notes.append(f"{weights.name} is of {checkpoint.name}; what docs/ says of the shipped weights is not of it")
        say("making the wheel")
        wheel = write_wheel(folder)
        about = _write_texts(folder, inside, wheel, chosen, None if chosen == usual else chosen)
        files = files_in(folder)
        sums = digests(files)
        write_file(folder / MANIFEST, text(manifest(about, sums)))
        named = {f"{title}/{name}": path for name, path in files_in(folder).items()}
        say(f"writing {target}")
        write_file(target, lambda file: write_zip(file, named), how="name another place with --out, or free some space")
    return Package(target, overall(sums), about["install"], about["use"], left_out, notes)


def _version(bundle: Path) -> str:
    if not _NAME.fullmatch(bundle.name):
        raise UsageError(f"{bundle.name!r} cannot be a bundle's name", where=bundle, how="rename the folder")
    version = str(_metadata(bundle).get("version"))
    if not _VERSION.fullmatch(version):
        raise ConfigError(f"the version {version!r} cannot be part of a file's name", where=bundle / MARK)
    return version


def _metadata(bundle: Path) -> dict[str, Any]:
    try:
        about = json.loads((bundle / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError("the bundle's metadata cannot be read", where=bundle / MARK) from error
    return dict(about)


def _model_pt(inside: Path, usual: str, chosen: str) -> list[str]:
    """Make ``models/model.pt``, and say so where there can be none."""
    if (inside / "models" / f"{usual}.safetensors").is_file():
        write_model_pt(inside)
        return []
    return [f"no models/{MODEL}: it would be of the default network {usual}, and only {chosen} has weights"]


def _write_texts(folder: Path, inside: Path, wheel: Path, chosen: str, named: str | None) -> dict[str, Any]:
    """Write the README, the licence and the requirements; what the manifest says."""
    metadata = _metadata(inside)
    requires, project_version, licence = wheel_texts(wheel)
    needs = metadata.get("required_packages_version")
    also = {str(name): str(at) for name, at in (needs if isinstance(needs, Mapping) else {}).items() if name != PROJECT}
    versions = pinned(requires, also)
    lines = [f"{name}=={at}\n" for name, at in versions.items()]
    head = "# the versions with which it was packed; `pip install -r requirements.txt WHEEL` keeps to them\n"
    write_file(folder / "constraints.txt", text(head + "".join(lines)))
    head = f"# what {inside.name} names beside the wheel\n-c constraints.txt\n"
    write_file(folder / "requirements.txt", text(head + "".join(f"{name}\n" for name in sorted(also))))
    write_file(folder / "LICENSE", text(licence))
    shown = f" --network {named}" if named is not None else ""
    install = f"pip install -r requirements.txt ./{wheel.name}"
    use = f"python -m pipelines predict bundles/{inside.name} INPUT --out DIR{shown}"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).resolve().parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - a text in Markdown
        keep_trailing_newline=True,
    )
    assert list(bundles_in(inside.parent)) == [inside.name]
    weights = {path.name: weights_digest(path) for path in sorted((inside / "models").glob("*.safetensors"))}
    about = {
        "bundle": inside.name,
        "version": str(metadata["version"]),
        "network": chosen,
        PROJECT: project_version,
        "wheel": wheel.name,
        "weights": weights,
        "install": install,
        "use": use,
    }
    readme = environment.get_template("README.md.j2").render(
        about,
        description=description(inside),
        network_option=shown,
        project=PROJECT,
        project_version=project_version,
        model_pt=(inside / "models" / MODEL).is_file(),
        data_licence=(inside / "docs" / "data_license.txt").is_file(),
    )
    write_file(folder / "README.md", text(readme))
    return about
