"""``python -m pipelines confidence``: what the certainty of a bundle's masks means, measured on true ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, named_bundle, refuse_generating, weights_of
from pipelines.errors import UsageError
from pipelines.files import make_folder, text, write_file


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``confidence``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser(
        "confidence", help="measure how far a segmentation's masks can be trusted, on cases it was not trained on"
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--data", type=Path, metavar="DIR", help="a prepared folder whose section the weights were not trained on"
    )
    what.add_argument(
        "--measured", type=Path, nargs="+", metavar="DIR",
        help="in its place what earlier calls kept: of the folds' networks, where the shipped one has seen all cases",
    )  # fmt: skip
    parser.add_argument("--datalist", default="datalist.json", metavar="FILE", help="of --data")
    parser.add_argument("--split", default="test", choices=("training", "validation", "test"), help="of it")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth case alone")
    parser.add_argument("--network", help="an overlay of the bundle's configs/networks (default: the bundle's default)")
    parser.add_argument("--checkpoint", help="weights of a fold: they are measured, and nothing is written beside them")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what is measured here; nothing is fitted")
    parser.add_argument("--note", default="", help="a sentence for the file and the card: what it was measured on")
    parser.set_defaults(func=lambda args: _confidence(args, project(args)))


def _confidence(args: argparse.Namespace, project: Project) -> int:
    bundle = named_bundle(args.bundle, project.bundles).absolute()
    refuse_generating(bundle, "confidence")
    if args.checkpoint and not args.keep:
        raise UsageError("--checkpoint measures a fold's weights", how="give --keep DIR, and fit with --measured DIR")
    if args.keep and args.measured:
        raise UsageError("--keep is for --data", how="leave out --keep, or give --data")
    if args.every < 1:
        raise UsageError(f"--every is {args.every}", how="give 1 or more")
    if args.keep:
        make_folder(args.keep)  # a fault of it now, and not after an hour
    from pipelines.card_sections import CONFIDENCES
    from pipelines.model_card import RECORD, write_card
    from pipelines.prediction.confidence import HEAD, Measured, fit, measure, refuse_seen, said_of_extent, table
    from pipelines.prediction.model import Model
    from pipelines.preparation.datalist import files
    from pipelines.transforms.mask_confidence import confidence_path

    if args.measured:
        found = Measured.read(args.measured)
        network, weights = found.network, Path(weights_of(bundle, found.network))
    else:
        own = {} if args.checkpoint is None else {"checkpoint": str(Path(args.checkpoint).absolute())}
        model = Model(bundle, args.network, unlike="note", **own)
        network = str(model.workflow.parser.get_parsed_content("network_name"))
        weights = Path(own.get("checkpoint") or weights_of(bundle, network))
        items = files(args.data, args.datalist, args.split)[:: args.every]
        refuse_seen(weights, items)
        found = measure(model, network, items, _say)
    if args.keep:
        sys.stdout.write(f"{found.write(args.keep)}\n")
        return 0
    known, rows = fit(found, weights, args.note)
    place = confidence_path(weights)
    known.write(place)
    record = bundle / "docs" / CONFIDENCES
    extent = said_of_extent(known)
    of_network = {"head": HEAD, "rows": rows, "extent": extent, "note": known.note}
    kept = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    write_file(record, text(json.dumps({**kept, network: of_network}, indent=1, ensure_ascii=False) + "\n"))
    if (bundle / "docs" / RECORD).is_file():
        write_card(bundle)
    sys.stdout.write(f"\n{table(rows)}\n\n{extent}\n{place}\n")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
