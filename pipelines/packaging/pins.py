"""The exact versions of all that the project and a bundle need, as they are installed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


def pinned(requires: Iterable[str], also: Mapping[str, str]) -> dict[str, str]:
    """Name -> version of what requirements lead to, and what those packages require in turn.

    Versions are without what says how a package was built (``+cpu``): another machine may need another build.

    Args:
        requires: PEP 508, a line each.
        also: further packages, and their versions where they are not installed here.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    due = [(each, "") for each in requires] + [(name, "") for name in also]
    while due:
        line, extra = due.pop()
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name: str = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        fresh = [each for each in extras if (name, each) not in seen]
        if not fresh:
            continue
        seen |= {(name, each) for each in fresh}
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # one that this platform does without
        found[name] = installed.version.partition("+")[0]
        due += [(each, extra) for each in installed.requires or [] for extra in fresh]
    for other, version in also.items():
        found.setdefault(canonicalize_name(other), version)
    return dict(sorted(found.items()))
