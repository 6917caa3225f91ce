"""Versions that the metadata ask for, against those with known holes (``known_holes.yaml``)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from pipelines.auditing.contents import METADATA, Contents
from pipelines.auditing.findings import Finding

_OWN = {"monai_version": "monai", "pytorch_version": "torch", "numpy_version": "numpy"}
_LISTS = ("required_packages_version", "optional_packages_version")


def asked_for(contents: Contents) -> Iterator[tuple[str, str, str]]:
    """(id in the metadata, package, version) of all that they ask for."""
    about = contents.about
    for id, package in _OWN.items():
        if isinstance(about.get(id), str):
            yield id, package, about[id]
    for id in _LISTS:
        listed = about.get(id)
        for package, version in listed.items() if isinstance(listed, dict) else ():
            yield f"{id}#{package}", str(package), str(version)


def exact(package: str, version: str) -> Requirement | None:
    """A package in one version, as pip takes it; None where it cannot."""
    try:
        made = Requirement(f"{package}=={version}")
    except InvalidRequirement:
        return None
    return made if str(made) == f"{package}=={version}" else None


def check_versions(contents: Contents) -> Iterator[Finding]:
    """The metadata's versions below one in which a hole was mended: one finding a package and level."""
    for id, package, said in asked_for(contents):
        try:
            version = Version(said.strip().lstrip("=~>v"))
        except InvalidVersion:
            continue  # said by zoo-packages
        held: dict[str, list[dict[str, Any]]] = {}
        for hole in known_holes().get(canonicalize_name(package), ()):
            if version < Version(str(hole["fixed"])):
                held.setdefault("version-runs-code" if hole["runs_code"] else "version-with-hole", []).append(hole)
        floor = max((Version(str(hole["fixed"])) for holes in held.values() for hole in holes), default=None)
        for rule, holes in held.items():
            names = ", ".join(f"{hole['id']}: {hole['what']}" for hole in holes[:2])
            more = f", and {len(holes) - 2} more" if len(holes) > 2 else ""
            what = f"{package} {said} has {names}{more}"
            yield Finding(
                rule,
                METADATA,
                contents.metadata.line(id),
                what,
                f"ask for {floor} or later, and try the bundle with it",
            )


@cache
def known_holes() -> dict[str, list[dict[str, Any]]]:
    """The table, by a package's name on the index."""
    return yaml.safe_load(Path(__file__).with_name("known_holes.yaml").read_text(encoding="utf-8"))
