"""``python -m pipelines package``: one file of a bundle, to install and run it on another machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import MARK, Project, bundles_in, named_bundle
from pipelines.errors import UsageError


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``package``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("package", help="one file of a bundle, to install and run it on another machine")
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    parser.add_argument("--out", type=Path, metavar="FILE.zip", help="the file (default: NAME-VERSION.zip)")
    parser.add_argument("--network", help="whose weights must be in it (default: the bundle's default)")
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="weights of that network, their https address with #sha256=HEX, or models:/BUNDLE@champion (default: those"
        " shipped, else those trained)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an older file")
    parser.add_argument("--verify", type=Path, metavar="FILE.zip", help="compare such a file with its manifest")
    parser.set_defaults(func=lambda args: _package(args, project))


def _package(args: argparse.Namespace, project: Callable[[argparse.Namespace], Project]) -> int:
    if args.verify is not None:
        return _verify(args)
    if args.bundle is None:
        raise UsageError("no bundle is named", how="python -m pipelines package BUNDLE, or --verify FILE.zip")
    known = project(args)
    folder = named_bundle(args.bundle, known.bundles)
    if not (folder / MARK).is_file():
        found = bundles_in(known.bundles)
        how = f"choose from {', '.join(found)}" if found else "name a folder of bundles with --bundles"
        raise UsageError(f"there is no bundle {args.bundle!r}", where=known.bundles, how=how)
    sys.stdout.write(f"packing {folder.name}\n")
    sys.stdout.flush()  # the imports below take some seconds
    from pipelines.loading import chosen
    from pipelines.packaging import package_bundle

    checkpoint = chosen(known, args.checkpoint, None).get("checkpoint")

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    made = package_bundle(
        folder,
        args.out,
        network=args.network,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        overwrite=args.overwrite,
        project=known.root,
        say=say,
    )
    if made.left_out:
        sys.stdout.write(f"left out: {', '.join(made.left_out)}\n")
    for note in made.notes:
        sys.stdout.write(f"note: {note}\n")
    sys.stdout.write(f"{made.path}: {made.path.stat().st_size / 1e6:.1f} MB, {made.digest}\n")
    sys.stdout.write(f"on the other machine, unpacked:\n  {made.install}\n  {made.use}\n")
    return 0


def _verify(args: argparse.Namespace) -> int:
    if args.bundle is not None:
        raise UsageError("--verify looks at a file and takes no bundle", how=f"leave out {args.bundle}")
    from pipelines.packaging.archive import verify_package

    found = verify_package(args.verify)
    sys.stdout.write(f"{args.verify}: {found.bundle} {found.version}, {found.files} files as they were packed\n")
    sys.stdout.write(f"{found.digest}\n")
    return 0
