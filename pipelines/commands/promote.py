"""``python -m pipelines promote``: a run's weights get an alias in MLflow's registry."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable

from pipelines.bundle import Project


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``promote``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("promote", help="register a run's weights as its bundle's champion")
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of its id, or its name")
    parser.add_argument("--alias", choices=("champion", "challenger"), default="champion")
    parser.add_argument("--untested", action="store_true", help="take a run that was never evaluated")
    parser.add_argument(
        "--tracking_uri", metavar="URI", help="the store (default: MLFLOW_TRACKING_URI, or the project's)"
    )
    parser.set_defaults(func=lambda args: _promote(args, project(args)))


def _promote(args: argparse.Namespace, project: Project) -> int:
    from pipelines.promotion import promote
    from pipelines.tracking.store import chosen_uri, redact

    uri = chosen_uri(args.tracking_uri, project.root)
    done = promote(uri, args.run, project.bundles, args.alias, untested=args.untested)
    sys.stdout.write(f"{done.model} version {done.version} is the {done.alias}: run {done.run.name}\n")
    if done.before is not None and done.before[0] != done.version:
        sys.stdout.write(f"before it was version {done.before[0]} (run {done.before[1]})\n")
    sys.stdout.write(f"use it: python -m pipelines predict {done.model} INPUT --out DIR --checkpoint {done.uri}")
    sys.stdout.write(f" --network {done.run.network}\n")
    store = shlex.quote(redact(uri))
    sys.stdout.write(f"serve it: MLFLOW_TRACKING_URI={store} mlflow models serve --env-manager local -m {done.uri}\n")
    return 0
