"""``python -m pipelines audit-synthetic``: whether generated pictures help a classifier, measured on real ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, named_bundle, refuse_generating


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``audit-synthetic``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser(
        "audit-synthetic",
        help="do generated pictures help a classifier? further --KNOB VALUE go to every training",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a classifier: its folder, or its name")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a prepared folder, real pictures only")
    parser.add_argument(
        "--generators", type=Path, nargs="+", required=True, metavar="PATH",
        help="weights, one a class; or a folder of generated pictures with its manifest",
    )  # fmt: skip
    parser.add_argument("--networks", nargs="+", required=True, metavar="NAME", help="overlays of configs/networks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0], metavar="P",
        help="generated pictures, as parts of the real ones of each class (default: 0.25 0.5 1)",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, help="of the arm without generated pictures (default: the bundle's)")
    parser.add_argument(
        "--equal", choices=("steps", "epochs"), default="steps",
        help="what all arms have alike: optimiser steps (default), or epochs, with which more pictures are more steps",
    )  # fmt: skip
    parser.add_argument("--both", action="store_true", help="a further arm: classical and the most generated pictures")
    parser.add_argument(
        "--encoder", action="append", default=[], metavar="NETWORK=FILE",
        help="encoder weights that a network starts from, or False for random ones; repeatable",
    )  # fmt: skip
    parser.add_argument("--training-patients", type=int, metavar="N", help="train on so many at most (default: all)")
    parser.add_argument("--test-patients", type=int, metavar="N", help="measure on so many at most (default: all)")
    parser.add_argument(
        "--feature-weights", type=Path, metavar="FILE",
        help="of the bundle's network, in whose features FID and MMD are computed (default: those it ships)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("synthetic_audit"), metavar="DIR")
    parser.add_argument(
        "--tracking_uri", metavar="URI", help="the store (default: MLFLOW_TRACKING_URI, or the project's)"
    )
    parser.set_defaults(func=lambda args: _audit(args, project(args)), takes_knobs=True)


def _audit(args: argparse.Namespace, project: Project) -> int:
    from pipelines.errors import UsageError
    from pipelines.synthetic_audit import Audit, run_audit
    from pipelines.tracking.store import chosen_uri

    bundle = named_bundle(args.bundle, project.bundles).absolute()
    refuse_generating(bundle, "audit-synthetic")
    encoders = dict(word.partition("=")[::2] for word in args.encoder)
    if not all(encoders.values()):
        raise UsageError("--encoder names no weights", how="give NETWORK=FILE, or NETWORK=False")
    for name, number in (
        ("epochs", args.epochs),
        ("training-patients", args.training_patients),
        ("test-patients", args.test_patients),
    ):
        if number is not None and number < 1:
            raise UsageError(f"--{name} must be 1 or more, got {number}")
    audit = Audit(
        bundle=bundle,
        prepared=args.data.absolute(),
        generators=[path.absolute() for path in args.generators],
        out=args.out.absolute(),
        uri=chosen_uri(args.tracking_uri, project.root),
        networks=args.networks,
        seeds=args.seeds,
        shares=args.shares,
        epochs=args.epochs,
        equal=args.equal,
        both=args.both,
        encoders={
            name: str(Path(word).absolute()) if Path(word).is_file() else word for name, word in encoders.items()
        },
        knobs=args.knobs,
        training_patients=args.training_patients,
        test_patients=args.test_patients,
        feature_weights=args.feature_weights,
    )
    done = run_audit(audit, _say)
    sys.stdout.write(f"\n{done.answer}\n" + "".join(f"{path}\n" for path in done.paths))
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
