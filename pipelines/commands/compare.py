"""``python -m pipelines compare``: the runs of a store as a table and a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, refuse_generating


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``compare``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser(
        "compare", help="which network is best, by how much and at what cost: a page of all runs"
    )
    parser.add_argument(
        "--experiment", nargs="+", action="extend", default=[], metavar="NAME", help="only these (default: all)"
    )
    parser.add_argument(
        "--metric", nargs="+", action="extend", default=[], metavar="NAME",
        help="columns of the tables; the first ranks (default: the metric that chose the checkpoints)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("comparison"), metavar="DIR")
    parser.add_argument(
        "--tracking_uri", metavar="URI", help="the store (default: MLFLOW_TRACKING_URI, or the project's)"
    )
    parser.add_argument("--best", type=int, default=12, metavar="N", help="rows of a ranking that are tested and drawn")
    parser.add_argument("--no_timing", action="store_true", help="do not rebuild networks to measure what they cost")
    parser.add_argument("--no_pictures", action="store_true", help="no pictures of cases in the page")
    parser.set_defaults(func=lambda args: _compare(args, project(args)))


def _compare(args: argparse.Namespace, project: Project) -> int:
    from pipelines.comparison import Options, compare
    from pipelines.errors import UsageError
    from pipelines.tracking.store import chosen_uri

    if args.best < 2:
        raise UsageError(f"--best must be 2 or more, got {args.best}")
    for name in args.experiment:
        refuse_generating(project.bundles / name, "compare")
    uri = chosen_uri(args.tracking_uri, project.root)
    options = Options(
        bundles=project.bundles if project.bundles.is_dir() else None,
        timing=not args.no_timing,
        pictures=not args.no_pictures,
        best=args.best,
    )
    done = compare(uri, args.out, experiments=args.experiment, metrics=args.metric, options=options)
    sys.stdout.write("".join(f"{path}\n" for path in done.paths))
    sys.stdout.write(
        f"{done.n_runs} runs: {done.n_rows} rows in {done.n_rankings} ranking{'' if done.n_rankings == 1 else 's'}, "
        f"{done.n_left_out} in none\n"
    )
    return 0
