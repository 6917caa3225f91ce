"""``python -m pipelines demo``: the first minutes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``demo``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("demo", help="the first minutes: predict, train, evaluate, compare")
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")
    parser.add_argument("--epochs", type=int, default=8, help="of each training")
    parser.set_defaults(func=lambda args: _demo(args, project(args)))


def _demo(args: argparse.Namespace, project: Project) -> int:
    from pipelines.demo import run_demo

    return run_demo(args.out, project.bundles, epochs=args.epochs)
