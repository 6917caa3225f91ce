"""The command line, thin: parse, call, print. ``python -m pipelines --help`` lists the commands."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator

from pipelines.bundle import BUNDLES, PUBLIC_KEY, REQUIRE, Project, find_project
from pipelines.commands import (
    audit_synthetic,
    bundles,
    card,
    check,
    compare,
    compress,
    confidence,
    cross_validate,
    data,
    demo,
    export,
    label,
    listen,
    looks,
    new,
    package,
    predict,
    promote,
    sync,
    tune,
    ui,
    view,
)
from pipelines.commands import list as listing
from pipelines.errors import PipelinesError
from pipelines.files import WithoutUids


def main(argv: list[str] | None = None) -> int:
    """Runs a command and returns its exit code; a fault in what the user gave is one line on stderr."""
    parser = _parser()
    args, knobs = parser.parse_known_args(argv)
    args.knobs = knobs
    args.own_process = argv is None  # what it imports is nobody else's
    if args.knobs and not getattr(args, "takes_knobs", False):
        parser.error(f"unrecognized arguments: {' '.join(args.knobs)}")
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        force=True,
    )
    for handler in logging.root.handlers:
        handler.addFilter(WithoutUids())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    if not args.verbose:
        # They log what we print ourselves: engines each error, pydicom each decoder that fails, and it quotes headers.
        for name in ("monai", "ignite", "pydicom", "highdicom"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    given = {REQUIRE: args.require, PUBLIC_KEY: args.trusted_key}
    try:
        with _environment({name: value for name, value in given.items() if value is not None}):
            if args.require is not None:
                from pipelines.auditing.demand import demanded

                demanded()  # a word that is none is said at once
            return args.func(args)
    except PipelinesError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pipelines", description=__doc__.splitlines()[0])
    parser.add_argument("--verbose", action="store_true", help="log everything, with stack traces")
    parser.add_argument(
        "--require",
        metavar="WORDS",
        help="run no bundle that is not clean, strict or signed (with commas between them; or by the environment's "
        f"{REQUIRE})",
    )
    parser.add_argument("--trusted-key", metavar="FILE", help=f"whose signature counts (or by {PUBLIC_KEY})")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data.add_parser(commands)
    view.add_parser(commands)
    trained = (
        compare,
        promote,
        card,
        tune,
        cross_validate,
        audit_synthetic,
        sync,
        package,
        export,
        compress,
        looks,
        confidence,
    )
    for module in (new, predict, *trained, demo, ui, label, listen, listing, bundles, check):
        module.add_parser(commands, _project)
    for name, command in commands.choices.items():
        if name != "data":
            command.add_argument(
                "--bundles",
                metavar="DIR",
                help=f"the folder of bundles (default: {BUNDLES}, ./bundles, or those of this installation)",
            )
    return parser


@contextlib.contextmanager
def _environment(given: dict[str, str]) -> Iterator[None]:
    """The environment of a command and of the processes that it starts."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _project(args: argparse.Namespace) -> Project:
    return find_project(args.bundles)


if __name__ == "__main__":
    sys.exit(main())
