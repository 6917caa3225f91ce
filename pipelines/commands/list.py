"""``python -m pipelines list``: which bundles, networks, weights and datasets there are, and how good they are."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from pipelines.bundle import Project
from pipelines.catalogue import BundleEntry, DatasetEntry, Headline, list_bundles, list_datasets
from pipelines.errors import UsageError

logger = logging.getLogger(__name__)

_WIDTH = 100
_NOTHING = "–"


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``list``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("list", help="which bundles, networks, weights and datasets there are")
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="only this bundle or dataset, with its overlays or layouts in full"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(func=lambda args: _list(args, project(args)))


def _list(args: argparse.Namespace, project: Project) -> int:
    bundles, faults = list_bundles(project.bundles)
    datasets = list_datasets(bundles)
    if args.name is not None:
        names = [each["name"] for each in chain(bundles, datasets)]
        bundles = [each for each in bundles if each["name"] == args.name]
        datasets = [each for each in datasets if each["name"] == args.name]
        damaged = [each for each in faults if Path(str(each.where)).is_relative_to(project.bundles / args.name)]
        if damaged:
            raise damaged[0]
        if not bundles and not datasets:
            what = f"there is no bundle and no dataset {args.name!r}"
            raise UsageError(what, where=project.bundles, how=f"choose from {', '.join(names)}")
    if args.json:
        lines = [json.dumps({"bundles": bundles, "datasets": datasets}, indent=2, ensure_ascii=False)]
    else:
        whole = args.name is not None
        parts = [*(_bundle(each, whole) for each in bundles), *(_dataset(each, whole) for each in datasets)]
        lines = [line for part in parts for line in (*part, "")]
        lines = [*lines, "* the network that is used where none is named"] if bundles else lines[:-1]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    for fault in faults:
        logger.error("%s", fault)
    return faults[0].exit_code if faults else 0


def _bundle(entry: BundleEntry, whole: bool) -> Iterator[str]:
    """A bundle's lines: what it is, a table of its networks, what its figure is of, overlays and data."""
    yield from _wrapped(f"{entry['name']} {entry['version']}: {entry['task']}", "")
    headline = entry["headline"]
    bounded = headline is not None and headline["low"] is not None
    figure = f"{headline['metric']}{' (95 % interval)' if bounded else ''}" if headline else ""
    rows = [("", "network", "parameters", "weights", figure)]
    for network in entry["networks"]:
        rows.append(
            (
                "*" if network["default"] else "",
                network["name"],
                _NOTHING if network["parameters"] is None else f"{network['parameters']:,}",
                "none" if network["weights_bytes"] is None else f"{network['weights_bytes'] / 1e6:.2f} MB",
                _figure(headline) if headline and headline["network"] == network["name"] else "",
            )
        )
    yield from _table(rows)
    if headline and headline["evidence"]:
        yield from _wrapped(f"Figure of {headline['evidence']}.")
    if entry["overlays"] and whole:
        yield "  Overlays:"
        for overlay in entry["overlays"]:
            yield from _wrapped(f"{overlay['name']}: {overlay['about']}", "    ")
    elif entry["overlays"]:
        yield from _wrapped(f"Overlays: {', '.join(each['name'] for each in entry['overlays'])}.")
    if entry["dataset"]:
        yield from _wrapped(f"Data: {entry['dataset']}.")
    if entry["generates"]:
        drawn = " and ".join(entry["generates"])
        yield from _wrapped(f"Generates pictures ({drawn}), for training only; predict, label and compare refuse it.")


def _figure(headline: Headline) -> str:
    if headline["estimate"] is None:
        return _NOTHING
    bounds = headline["low"], headline["high"]
    interval = "" if None in bounds else f" ({bounds[0]:.3f} to {bounds[1]:.3f})"
    return f"{headline['estimate']:.3f}{interval}, {headline['n']} of {headline['data']}"


def _dataset(entry: DatasetEntry, whole: bool) -> Iterator[str]:
    """A dataset's lines: what it is, how it is read, and which bundles are trained on it by default."""
    yield from _wrapped(f"Dataset {entry['name']}: {entry['task']}", "")
    classes = ", ".join(f"{value} {name}" for value, name in entry["classes"].items())
    phantoms = f"; data phantom {entry['name']} draws some" if entry["phantoms"] else ""
    yield from _wrapped(f"{classes}{phantoms}." if classes else f"{phantoms.lstrip('; ')}.")
    if whole:
        for layout in entry["layouts"]:
            yield from _wrapped(f"{layout['name']} ({layout['licence']}):")
            yield from chain.from_iterable(_wrapped(line, "    ", keep=True) for line in layout["files"])
    else:
        yield from _wrapped(f"Layouts: {', '.join(layout['name'] for layout in entry['layouts'])}.")
    if entry["bundles"]:
        yield from _wrapped(f"Bundles: {', '.join(entry['bundles'])}.")


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns side by side; numbers, in the third and the fourth, stand to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if place in (2, 3) else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"{cells[0]} {'  '.join(cells[1:])}".rstrip()


def _wrapped(text: str, indent: str = "  ", *, keep: bool = False) -> list[str]:
    """A text in lines that fit; with ``keep`` its own spaces stay."""
    if keep and len(indent + text) <= _WIDTH:
        return [indent + text]
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ")
