"""``python -m pipelines looks``: which images a bundle is for, fitted and measured."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.bundle import Project, named_bundle, refuse_generating
from pipelines.errors import UsageError
from pipelines.files import text, write_file


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``looks``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser(
        "looks", help="fit what a bundle's images look like, so that others are refused, and measure how often"
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="a prepared folder: what it is trained on"
    )
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="NAME=DIR",
        help="further kinds that are taken: prepared folders (their training part), or any folder of images; folders of"
        " one name are one kind",
    )  # fmt: skip
    parser.add_argument(
        "--own", nargs="+", default=[], metavar="NAME=DIR", help="measure these too: images that the bundle is for"
    )
    parser.add_argument(
        "--other", nargs="+", default=[], metavar="NAME=DIR", help="and these: images that it is not for"
    )
    parser.add_argument("--measure", action="store_true", help="write nothing: measure the file that is there")
    parser.set_defaults(func=lambda args: _looks(args, project(args)))


def _looks(args: argparse.Namespace, project: Project) -> int:
    bundle = named_bundle(args.bundle, project.bundles).absolute()
    refuse_generating(bundle, "looks")
    also, own, other = (_named(words) for words in (args.also, args.own, args.other))
    from pipelines.card_sections import RATES
    from pipelines.model_card import RECORD, write_card
    from pipelines.prediction.looks import HEAD, LOOKS, fit_looks, table, told_apart
    from pipelines.transforms.looks import Looks

    place = bundle / LOOKS
    found = Looks.read(place) if args.measure else fit_looks(bundle, args.data, also, _say)
    told = told_apart(bundle, found, {f"{args.data.name}, kept aside": [args.data], **own}, other, _say)
    if not args.measure:
        write_file(place, lambda file: file.write(found.content()))
        rates = {"head": HEAD, "rows": [each.row for each in told]}
        write_file(bundle / "docs" / RATES, text(json.dumps(rates, indent=1, ensure_ascii=False) + "\n"))
        if (bundle / "docs" / RECORD).is_file():
            write_card(bundle)
    sys.stdout.write(f"\n{table(told)}\n\n{place}\n")
    return 0


def _named(words: Sequence[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not equals or not name or not place:
            raise UsageError(f"{word!r} is not NAME=DIR", how="give a name, = and a folder")
        found.setdefault(name, []).append(Path(place))
    return found


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
