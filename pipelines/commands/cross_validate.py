"""``python -m pipelines cross-validate``: each fold left out once, in a training of its own; and weights to ship."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, named_bundle, refuse_generating


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``cross-validate``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser(
        "cross-validate", help="train without each fold and measure on it; further --KNOB VALUE go to every training"
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a prepared folder with folds")
    parser.add_argument("--network", help="an overlay of the bundle's configs/networks (default: the bundle's default)")
    parser.add_argument(
        "--overlay", action="append", default=[], metavar="NAME", help="lay configs/NAME.yaml over it; repeatable"
    )
    parser.add_argument("--folds", type=int, nargs="+", default=[], metavar="K", help="only these (default: all)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="DIR/NETWORK has the folds (default: ./cross_validation/BUNDLE)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="folds at a time, each with its share of the processor")
    parser.add_argument(
        "--extra-training",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a prepared folder (phantoms) that joins every training and is never measured; repeatable",
    )
    parser.add_argument(
        "--start",
        type=Path,
        metavar="DIR",
        help="the --out of an earlier call, whose weights of the fold are gone on from",
    )
    parser.add_argument(
        "--ship", action="store_true", help="train on the cases of all folds, and write models/NETWORK.safetensors"
    )
    parser.add_argument("--half", action="store_true", help="with --ship: half precision, which halves the file")
    parser.add_argument(
        "--tracking_uri", metavar="URI", help="the store (default: MLFLOW_TRACKING_URI, or the project's)"
    )
    parser.set_defaults(func=lambda args: _cross_validate(args, project(args)), takes_knobs=True)


def _cross_validate(args: argparse.Namespace, project: Project) -> int:
    from pipelines.cross_validation import CrossValidation, cross_validate, ship
    from pipelines.cross_validation.plan import network_name
    from pipelines.errors import UsageError
    from pipelines.tracking.store import chosen_uri

    bundle = named_bundle(args.bundle, project.bundles).absolute()
    refuse_generating(bundle, "cross-validate")
    if not (bundle / "configs" / "train.yaml").is_file():
        raise UsageError("this is not a bundle with configs/train.yaml", where=bundle, how="give the bundle's folder")
    if args.half and not args.ship:
        raise UsageError("--half is of the weights that --ship writes", how="give both")
    if args.ship and args.folds:
        raise UsageError("--ship trains on the cases of all folds", how="leave --folds out")
    name = args.network or network_name(bundle)
    out = args.out or Path("cross_validation") / bundle.name
    plan = CrossValidation(
        bundle=bundle,
        prepared=args.data.absolute(),
        out=(out / name).absolute(),
        uri=chosen_uri(args.tracking_uri, project.root),
        network=args.network,
        overlays=args.overlay,
        knobs=args.knobs,
        extra=[folder.absolute() for folder in args.extra_training],
        start=None if args.start is None else (args.start / name).absolute(),
        jobs=args.jobs,
    )
    if args.ship:
        path = ship(plan, _say, args.half)
        sys.stdout.write(f"{path}: {path.stat().st_size / 1e6:.2f} MB; its figures are those of the folds\n")
        return 0
    result = cross_validate(plan, args.folds, _say)
    sys.stdout.write(f"\n{result.table}\n{result.evaluation}: the evaluation of all cases\n")
    if result.run_id is not None:
        sys.stdout.write(f"python -m pipelines card {result.run_id[:8]} makes a model card of it\n")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
