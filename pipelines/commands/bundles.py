"""``python -m pipelines bundles``: which bundles there are and where, a copy of them to change, and their model.pt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, bundles_in, copy_bundle
from pipelines.errors import OutputError, UsageError


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``bundles``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("bundles", help="where the bundles are; a copy of them, to change")
    parser.add_argument("name", nargs="?", metavar="NAME", help="print the folder of this one and nothing else")
    parser.add_argument("--copy", type=Path, metavar="DIR", help="copy them (or NAME) to DIR/NAME")
    parser.add_argument(
        "--model-pt",
        action="store_true",
        help="make models/model.pt of the shipped weights (in the copies, with --copy): MONAI Label and the model zoo "
        "look for that file",
    )
    parser.set_defaults(func=lambda args: _bundles(args, project(args)))


def _bundles(args: argparse.Namespace, project: Project) -> int:
    found = bundles_in(project.bundles)
    if args.name is not None and args.name not in found:
        how = f"choose from {', '.join(found)}" if found else "name a folder of bundles with --bundles"
        raise UsageError(f"there is no bundle {args.name!r}", where=project.bundles, how=how)
    wanted = {args.name: found[args.name]} if args.name else found
    if args.copy is None and args.model_pt:
        return _model_pt(wanted)
    if args.copy is None:
        width = max(map(len, wanted), default=0)
        lines = [f"{path}" if args.name else f"{name:{width}}  {path}" for name, path in wanted.items()]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        return 0
    for name, path in wanted.items():
        target = args.copy / name
        try:
            copy_bundle(path, target)
        except OSError as error:  # it is there already, or the disk is full
            what = f"the bundle cannot be copied ({error})"
            raise OutputError(what, where=target, how="choose another DIR") from error
        sys.stdout.write(f"{target}\n")
    return _model_pt({name: args.copy / name for name in wanted}) if args.model_pt else 0


def _model_pt(bundles: dict[str, Path]) -> int:
    from pipelines.model_pt import write_model_pt  # torch: some seconds

    for folder in bundles.values():
        sys.stdout.write(f"{write_model_pt(folder)}\n")
    return 0
