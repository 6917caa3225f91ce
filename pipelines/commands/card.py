"""``python -m pipelines card``: a bundle's model card from a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, is_installed


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``card``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("card", help="write a bundle's model card from a run")
    parser.add_argument("run", nargs="?", metavar="RUN", help="its id, the beginning of its id, or its name")
    parser.add_argument("--bundle", metavar="NAME", help="write the card of a bundle anew from the record it has")
    parser.add_argument(
        "--tracking_uri", metavar="URI", help="the store (default: MLFLOW_TRACKING_URI, or the project's)"
    )
    parser.set_defaults(func=lambda args: _card(args, project(args)))


def _card(args: argparse.Namespace, project: Project) -> int:
    from pipelines.comparison.runs import Store
    from pipelines.errors import UsageError
    from pipelines.model_card import record_run, write_card
    from pipelines.tracking.store import chosen_uri

    if (args.run is None) == (args.bundle is None):
        raise UsageError("a run or a bundle is due, and one of them", how="give RUN, or --bundle NAME")
    if args.run is None:
        bundle = project.bundles / args.bundle
        if not bundle.is_dir():
            raise UsageError(f"there is no bundle {args.bundle}", where=bundle.parent)
        _check_own(bundle)
        card = write_card(bundle)
    else:
        uri = chosen_uri(args.tracking_uri, project.root)
        with Store(uri) as store:
            bundle, record = record_run(store, args.run, project.bundles)
        _check_own(bundle)
        card = write_card(bundle, record)
    sys.stdout.write(f"{card}: the model card is written; its words are in {card.with_name('model_card.yaml')}\n")
    return 0


def _check_own(bundle: Path) -> None:
    from pipelines.errors import UsageError

    if is_installed(bundle):
        raise UsageError(
            "this bundle is part of the installed package, whose files stay as they are",
            where=bundle,
            how="python -m pipelines bundles --copy bundles; then again",
        )
