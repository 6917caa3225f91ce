"""``python -m pipelines check``: a bundle looked through without running anything of it; its files signed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, named_bundle
from pipelines.errors import UsageError

EXIT_FOUND = 1  # something that counts was found


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``check``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("check", help="look a bundle through, anybody's, without running anything of it")
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    parser.add_argument("--format", choices=("text", "json", "sarif"), default="text", help="(default: text)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there, and print the counts alone")
    parser.add_argument("--strict", action="store_true", help="warnings count as errors do")
    parser.add_argument(
        "--for",
        dest="purposes",
        action="append",
        default=[],
        choices=("zoo", "label"),
        help="it is to be ready for MONAI's model zoo, or MONAI Label (may be given again)",
    )
    parser.add_argument(
        "--allow", action="append", default=[], metavar="MODULE", help="configs may use this too (may be given again)"
    )
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="RULE", help="leave it out (may be given again)"
    )
    parser.add_argument("--public-key", type=Path, metavar="FILE", help="the manifest must be signed by this key (PEM)")
    parser.add_argument(
        "--write-manifest", action="store_true", help="write manifest.json with the SHA-256 of each file of the bundle"
    )
    parser.add_argument("--sign", type=Path, metavar="KEY", help="and sign it with this private Ed25519 key (PEM)")
    parser.add_argument("--list-rules", action="store_true", help="print what is looked for, and nothing else")
    parser.set_defaults(func=lambda args: _check(args, project))


def _check(args: argparse.Namespace, project: Callable[[argparse.Namespace], Project]) -> int:
    from pipelines.auditing.audit import audit
    from pipelines.auditing.output import FORMATS, as_text, rules_as_text
    from pipelines.auditing.signing import write_manifest
    from pipelines.files import text, write_file

    if args.list_rules:
        sys.stdout.write(rules_as_text())
        return 0
    if args.bundle is None:
        raise UsageError("no bundle is named", how="python -m pipelines check BUNDLE, or --list-rules")
    if args.sign is not None and not args.write_manifest:
        raise UsageError("--sign signs what --write-manifest writes", how="give both")
    bundle = named_bundle(args.bundle, project(args).bundles)
    if not bundle.is_dir():
        raise UsageError(
            f"there is no bundle {args.bundle!r}", where=bundle, how="give its folder, or a name that `list` has"
        )
    if args.write_manifest:
        for path in write_manifest(bundle, args.sign):
            sys.stderr.write(f"{path}\n")
    found = audit(bundle, purposes=args.purposes, allow=args.allow, ignore=args.ignore, public_key=args.public_key)
    made = FORMATS[args.format](found)
    if args.out is None:
        sys.stdout.write(made)
    else:
        write_file(args.out, text(made), how="choose another --out")
        sys.stdout.write("\n".join(as_text(found).splitlines()[len(found.findings) :]) + "\n")
    return 0 if found.clean(strict=args.strict) else EXIT_FOUND
