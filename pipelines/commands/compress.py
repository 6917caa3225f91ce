"""``python -m pipelines compress``: a bundle's network made smaller, and what that costs, measured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, named_bundle, refuse_generating


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``compress``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser(
        "compress", help="a network as int8, in half precision, pruned, distilled; further --KNOB VALUE go to trainings"
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a prepared folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the files and the table go here")
    parser.add_argument("--network", help="an overlay of the bundle's configs/networks (default: the bundle's default)")
    parser.add_argument(
        "--checkpoint",
        help="weights, their https address with #sha256=HEX, or models:/BUNDLE@champion (default: those shipped for the"
        " network)",
    )
    parser.add_argument(
        "--steps", nargs="+", metavar="STEP",
        help="of fp16 int8 prune prune-tune channels channels-tune tune distil (default: the first four)",
    )  # fmt: skip
    parser.add_argument("--datalist", default="datalist.json", metavar="NAME", help="the list in DIR that is used")
    parser.add_argument("--share", type=float, default=0.5, help="that pruning sets to 0 (default: 0.5)")
    parser.add_argument("--epochs", type=int, default=10, help="of each training (default: 10)")
    parser.add_argument("--images", type=int, default=64, help="that calibrate int8, at most (default: 64)")
    parser.add_argument("--teacher", metavar="NETWORK", help="with distil: a network of the bundle, with its weights")
    parser.add_argument(
        "--tracking_uri", metavar="URI", help="the store (default: MLFLOW_TRACKING_URI, or the project's)"
    )
    parser.set_defaults(func=lambda args: _compress(args, project(args)), takes_knobs=True)


def _compress(args: argparse.Namespace, project: Project) -> int:
    bundle = named_bundle(args.bundle, project.bundles).absolute()
    refuse_generating(bundle, "compress")
    from pipelines.compression import DEFAULT_STEPS, Compression, compress
    from pipelines.loading import chosen
    from pipelines.tracking.store import chosen_uri

    plan = Compression(
        bundle=bundle,
        prepared=args.data.absolute(),
        out=args.out.absolute(),
        uri=chosen_uri(args.tracking_uri, project.root),
        network=args.network,
        checkpoint=chosen(project, args.checkpoint, None).get("checkpoint"),
        steps=args.steps or DEFAULT_STEPS,
        datalist=args.datalist,
        share=args.share,
        epochs=args.epochs,
        images=args.images,
        teacher=args.teacher,
        knobs=args.knobs,
    )
    written = compress(plan, _say)
    sys.stdout.write(f"\n{written['md'].read_text(encoding='utf-8')}\n")
    sys.stdout.write("".join(f"{path}\n" for path in written.values()))
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
