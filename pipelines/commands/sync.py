"""``python -m pipelines sync``: what runs could not write to their store is written now."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, bundles_in, work_folder
from pipelines.errors import PipelinesError, TrackingError, UsageError


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``sync``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("sync", help="write to the store what runs kept while it was away")
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR",
        help="of checkpoints, or one above such (default: the bundles' own, and the working directory)",
    )  # fmt: skip
    parser.add_argument("--tracking_uri", metavar="URI", help="the store, if it has moved (default: that of each run)")
    parser.set_defaults(func=lambda args: _sync(args, project(args)))


def _sync(args: argparse.Namespace, project: Project) -> int:
    from pipelines.tracking.entries import CUT
    from pipelines.tracking.journal import journals, send_file
    from pipelines.tracking.run_writer import short_and_quiet
    from pipelines.tracking.store import chosen_uri

    if args.folder is not None and not args.folder.is_dir():
        raise UsageError("there is no such folder", where=args.folder)
    forced = bool(args.tracking_uri)
    uri = chosen_uri(args.tracking_uri, project.root)
    if args.folder is not None:
        folders = [args.folder]
    else:
        folders = [Path.cwd(), *(Path(work_folder(each)) / "models" for each in bundles_in(project.bundles).values())]
    waiting: set[Path] = set()
    faults = 0
    for each in folders:
        try:
            waiting |= {path.resolve() for path in journals(each, below=True)}
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            faults += _say(error, each, "the folder cannot be read")
    for path in sorted(waiting):
        try:
            with short_and_quiet():
                sent = send_file(path, uri, forced=forced)
        except Exception as error:  # whatever is wrong with one journal: the others are sent
            faults += _say(error, path, "the journal cannot be sent")
            continue
        lost = f"; {CUT}" if sent.cut else ""
        sys.stdout.write(f"{sent.run}: {sent.entries} entries written to {sent.uri}{lost}\n")
    if not waiting and not faults:
        sys.stdout.write("nothing is waiting: every run is in its store\n")
    return TrackingError.exit_code if faults else 0


def _say(error: Exception, where: Path, what: str) -> int:
    """One sentence; 1, to count it."""
    from pipelines.tracking.store import redact

    if not isinstance(error, PipelinesError):
        reason = next(iter(redact(str(error)).strip().splitlines()), "") or type(error).__name__
        error = TrackingError(f"{what} ({reason[:300]})", where=where)
    sys.stderr.write(f"error: {error}\n")
    return 1
