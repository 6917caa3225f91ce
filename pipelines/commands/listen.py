"""``listen``: a DICOM node: series that a PACS or scanner sends are predicted, and the results sent on."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.bundle import MARK, Project, bundles_in, named_bundle
from pipelines.commands.model_options import add_model_options, inference_overrides
from pipelines.dicom_node.callers import ae_title, is_loopback, parse_address, parse_caller
from pipelines.errors import UsageError
from pipelines.sigterm import SigtermUnwinds

_TITLE = "PIPELINES"
_HOST = "127.0.0.1"
_GIB = 2**30
_DAY = 86400.0


def add_parser(commands: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``listen``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        commands: of the command line.
        project: gives the project of the arguments.
    """
    parser = commands.add_parser("listen", help="a DICOM node: received series are predicted, results sent to a PACS")
    add = parser.add_argument
    add("bundle", type=Path, nargs="?", metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    add("--out", type=Path, required=True, metavar="DIR", help="the queue, what is received, and the results")
    add("--status", action="store_true", help="print what DIR's queue holds, and end; a node may be at work there")
    add("--json", action="store_true", help="with --status: for programs")
    add("--port", type=int, default=11112)
    add("--host", default=_HOST, help=f"the address to listen at (default: {_HOST}, this machine alone)")
    add("--ae-title", default=_TITLE, metavar="AET", help=f"of this node (default: {_TITLE}); no other is answered to")
    add(
        "--allow",
        action="append",
        default=[],
        metavar="AET[@ADDRESS]",
        help="who may call (may be given again; '*': anyone); needed where --host is not this machine alone",
    )
    add("--tls-certificate", type=Path, metavar="PEM", help="take calls with TLS alone")
    add("--tls-key", type=Path, metavar="PEM", help="its key (default: in the certificate's file)")
    add("--tls-ca", type=Path, metavar="PEM", help="only callers with a certificate that this one has signed")
    add("--send-to", metavar="AET@HOST:PORT", help="where results go (default: they stay in DIR)")
    add("--send-tls-ca", type=Path, metavar="PEM", help="send with TLS; this has signed the destination's certificate")
    add("--settle", type=float, default=10.0, metavar="SECONDS", help="after which a series is complete (default: 10)")
    add_model_options(parser)
    add("--max-associations", type=int, default=10, metavar="N", help="calls at a time (default: 10)")
    add("--max-pdu", type=int, default=65536, metavar="BYTES", help="the longest PDU that is taken (default: 65536)")
    add("--min-free", type=float, default=1.0, metavar="GB", help="on the disk, below which nothing is taken")
    add("--keep-days", type=float, metavar="DAYS", help="delete what was received and sent longer ago (default: never)")
    add("--retry-failed", action="store_true", help="try again the series that failed")
    parser.set_defaults(func=lambda args: _status(args) if args.status else _listen(args, project))


def _listen(args: argparse.Namespace, project: Callable[[argparse.Namespace], Project]) -> int:
    if args.bundle is None:
        raise UsageError("which bundle?", how="python -m pipelines listen BUNDLE --out DIR")
    known = project(args)
    bundle = named_bundle(args.bundle, known.bundles).absolute()
    if not (bundle / MARK).is_file():
        there = bundles_in(known.bundles)
        how = f"choose from {', '.join(there)}" if there else "name a folder of bundles with --bundles"
        raise UsageError(f"there is no bundle {str(args.bundle)!r}", where=known.bundles, how=how)
    if not args.allow and not is_loopback(args.host):
        how = "name the callers with --allow AET or --allow AET@ADDRESS; --allow '*' lets anyone call"
        raise UsageError(f"anyone who reaches {args.host} could send to it", how=how)
    _check_numbers(args)
    title, callers = ae_title(args.ae_title), [parse_caller(each) for each in args.allow]
    destination = None if args.send_to is None else parse_address(args.send_to)
    _say(f"opening {bundle.name}")
    from pipelines.dicom_node.node import Node, NodeSettings
    from pipelines.dicom_node.predictor import BundlePredictor
    from pipelines.dicom_node.sop_classes import taken_sop_classes
    from pipelines.loading import chosen

    settings = NodeSettings(
        title=title,
        host=args.host,
        port=args.port,
        sop_classes=taken_sop_classes(bundle),
        callers=callers,
        destination=destination,
        settle=args.settle,
        most_associations=args.max_associations,
        most_pdu=args.max_pdu,
        least_free=int(args.min_free * _GIB),
        keep=None if args.keep_days is None else args.keep_days * _DAY,
        certificate=args.tls_certificate,
        key=args.tls_key,
        ca=args.tls_ca,
        destination_ca=args.send_tls_ca,
    )
    overrides = chosen(known, args.checkpoint, args.device) | inference_overrides(args, bundle)
    predictor = BundlePredictor(bundle, args.network, args.overlay, **overrides)
    with _own_log(args.verbose), SigtermUnwinds():
        try:
            with Node(args.out, predictor, settings, retry_failed=args.retry_failed) as node:
                secured = " with TLS" if args.tls_certificate else ""
                goes = f"; results go to {destination}" if destination else f"; results stay in {args.out}"
                _say(f"listening: {title}@{args.host}:{node.port}{secured}{goes}")
                node.wait()
        except KeyboardInterrupt:
            _say("stopped; what is not done waits for the next start")
    return 0  # how a node is ended


def _check_numbers(args: argparse.Namespace) -> None:
    if not (math.isfinite(args.settle) and args.settle > 0):
        raise UsageError("--settle must be more than 0 seconds")
    if args.max_associations < 1:
        raise UsageError("--max-associations must be at least 1")
    if not 4096 <= args.max_pdu <= 2**20:
        raise UsageError("--max-pdu must lie between 4096 and 1048576 bytes")
    if not args.min_free >= 0 or (args.keep_days is not None and not args.keep_days >= 0):
        raise UsageError("--min-free and --keep-days cannot be negative")
    if args.tls_certificate is None and (args.tls_key or args.tls_ca):
        raise UsageError("--tls-key and --tls-ca need --tls-certificate")
    if args.send_to is None and args.send_tls_ca:
        raise UsageError("--send-tls-ca needs --send-to")


def _status(args: argparse.Namespace) -> int:
    from pipelines.dicom_node.queue import queue_report

    report = queue_report(args.out)
    if args.json:
        sys.stdout.write(f"{json.dumps(report, indent=2)}\n")
        return 0
    for each in report["series"]:
        sent = f", {each['sent']} of {each['results']} objects sent" if each["results"] else ""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each["changed"]))
        fault = f": {each['fault']}" if each["fault"] else ""
        _say(f"{when}  {each['series']}  {each['state']:10} {each['instances']} instances{sent}{fault}")
    _say(", ".join(f"{count} {state}" for state, count in report["counts"].items()))
    return 0


@contextmanager
def _own_log(verbose: bool) -> Iterator[None]:
    """A line an event on stdout, with the time; nothing of libraries, whose words may name patients."""
    root, ours = logging.getLogger(), logging.getLogger("pipelines.dicom_node")
    silent = [logging.getLogger(name) for name in ("pydicom", "py.warnings", "highdicom")]
    before = [(each, each.level) for each in (root, ours, *silent)]
    handlers = root.handlers[:]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.CRITICAL)
    ours.setLevel(logging.DEBUG if verbose else logging.INFO)
    for each in silent:
        each.setLevel(logging.CRITICAL + 1)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        for logger, level in before:
            logger.setLevel(level)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
