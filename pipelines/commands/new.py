"""``new``: begin a bundle for your own images, like one that there is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, named_from_here


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``new``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("new", help="begin a bundle for your own images, like one that there is")
    parser.add_argument("name", metavar="NAME", help="of the bundle: it says segmentation or classification")
    parser.add_argument(
        "--like",
        required=True,
        metavar="BUNDLE",
        help="a bundle, for its kind and its networks; or picture_segmentation, volume_segmentation, "
        "picture_classification",
    )
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--labels", nargs="+", metavar="LABEL", help="what masks hold for 1, 2, … (default: the data's)")
    names.add_argument("--classes", nargs="+", metavar="CLASS", help="what pictures are (default: the data's)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="your images: images/ with masks/, or a folder a class; they are prepared to data/NAME; or a folder that "
        "is prepared",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write FOLDER/bundles/NAME, and FOLDER/data/NAME (default: where the bundles are)",
    )
    parser.set_defaults(func=lambda args: _new(args, project(args)))


def _new(args: argparse.Namespace, project: Project) -> int:
    from pipelines.starting import start_bundle

    started = start_bundle(
        args.name,
        args.like,
        project,
        names=args.labels or args.classes,
        names_kind="labels" if args.labels else "classes" if args.classes else None,
        data=args.data,
        out=args.out,
        say=lambda text: print(text, flush=True),
    )
    bundle = named_from_here(started.bundle)
    lines = [f"{bundle}: {', '.join(f'{value} {name}' for value, name in started.names.items())}"]
    if started.data is not None:
        counts = ", ".join(f"{number} {section}" for section, number in started.data.sizes.items())
        folder = named_from_here(started.data.folder)
        lines.append(f"{folder}: {counts} cases; look at report.md and contact_sheet.png in it")
    train, evaluate = f"{bundle}/configs/train.yaml", f"{bundle}/configs/evaluate.yaml"
    lines += [
        "next:",
        f"  python -m monai.bundle run --config_file {train}",
        f"  python -m monai.bundle run --config_file \"['{train}','{evaluate}']\"",
        f"  python -m pipelines predict {started.shown_name} IMAGES --out predictions",
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0
