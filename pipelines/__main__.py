"""The command line, thin: parse, call, print. ``python -m pipelines --help`` lists the commands."""

from __future__ import annotations

import argparse
import atexit
import io
import logging
import os
import sys
import tempfile
from pathlib import Path

from pipelines import (
    bundles_command,
    card_command,
    compare_command,
    data_command,
    promote_command,
    sync_command,
    tune_command,
    ui_command,
    view_command,
)
from pipelines.bundle import BUNDLES, Project, find_project, named_bundle
from pipelines.errors import PipelinesError

EXIT_SOME_NOT_DONE = 3  # predict, on several cases, some of which were refused or failed


def main(argv: list[str] | None = None) -> int:
    """Runs a command and returns its exit code; a fault in what the user gave is one line on stderr."""
    parser = _parser()
    args, knobs = parser.parse_known_args(argv)
    args.knobs = knobs
    if args.knobs and not getattr(args, "takes_knobs", False):
        parser.error(f"unrecognized arguments: {' '.join(args.knobs)}")
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        force=True,
    )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    if not args.verbose:
        logging.getLogger("monai").setLevel(logging.CRITICAL)  # its engines log each error that we print ourselves
        logging.getLogger("ignite").setLevel(logging.CRITICAL)
    try:
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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data_command.add_parser(commands)

    predict = commands.add_parser(
        "predict", help="segment or classify a picture, a volume, a DICOM series, or a folder of many"
    )
    predict.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    predict.add_argument("input", type=Path, metavar="INPUT")
    predict.add_argument("--out", type=Path, required=True, metavar="DIR")
    predict.add_argument(
        "--network", help="an overlay of the bundle's configs/networks (default: the bundle's default)"
    )
    predict.add_argument(
        "--overlay",
        action="append",
        default=[],
        metavar="NAME",
        help="a config of the bundle laid over its inference, such as severity (may be given again)",
    )
    predict.add_argument(
        "--checkpoint", help="weights, or models:/BUNDLE@champion (default: those shipped for the network)"
    )
    predict.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    predict.add_argument("--fast", action="store_true", help="no averaging over flips and scales: a tenth of the time")
    predict.add_argument(
        "--series", metavar="UID|NUMBER", help="only the DICOM series with this SeriesInstanceUID or SeriesNumber"
    )
    predict.set_defaults(func=_predict)

    compare_command.add_parser(commands, _project)
    promote_command.add_parser(commands, _project)
    card_command.add_parser(commands, _project)
    tune_command.add_parser(commands, _project)

    demo = commands.add_parser("demo", help="phantoms, training, evaluation and prediction, tracked, in some minutes")
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")
    demo.add_argument("--epochs", type=int, default=8, help="of each training")
    demo.set_defaults(func=_demo)

    view_command.add_parser(commands)
    ui_command.add_parser(commands, _project)
    sync_command.add_parser(commands, _project)
    bundles_command.add_parser(commands, _project)
    for name, command in commands.choices.items():
        if name != "data":
            command.add_argument(
                "--bundles",
                metavar="DIR",
                help=f"the folder of bundles (default: {BUNDLES}, ./bundles, or those of this installation)",
            )
    return parser


def _predict(args: argparse.Namespace) -> int:
    from pipelines.tracking.processes import SigtermUnwinds

    with SigtermUnwinds():  # or unpacked scans and fetched weights, which go at exit, would stay in TMPDIR
        return _predict_cases(args)


def _predict_cases(args: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from pipelines.errors import UsageError
    from pipelines.prediction import Outcome, fast_options, predict

    overrides: dict = {}
    if args.checkpoint is not None:
        overrides["checkpoint"] = _checkpoint(args)
    if args.device is not None:
        try:
            overrides["device"] = torch.empty(0, device=args.device).device
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"the device {args.device!r} cannot be used", how="leave out --device") from error
    bundle = named_bundle(args.bundle, _project(args).bundles)
    if args.fast:
        overrides |= fast_options(bundle)
    with tqdm(desc="cases", unit="case", leave=False, disable=not sys.stderr.isatty()) as bar:

        def report(outcome: Outcome | None, done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()
            if outcome is not None:
                stream = sys.stderr if outcome.error else sys.stdout
                with tqdm.external_write_mode(stream):  # the bar makes way for the line
                    print(
                        f"{outcome.status}: {outcome.error or outcome.mask or outcome.report}", file=stream, flush=True
                    )

        outcomes = predict(
            bundle,
            args.input,
            args.out,
            network=args.network,
            overlays=args.overlay,
            series=args.series,
            report=report,
            **overrides,
        )
    codes = [code for _, code in outcomes]
    if len(codes) > 1:
        done = codes.count(0)
        print(f"{done} of {len(codes)} cases done; see {args.out / 'manifest.jsonl'}")
        return 0 if done == len(codes) else EXIT_SOME_NOT_DONE
    return codes[0]


def _checkpoint(args: argparse.Namespace) -> str:
    """The file of ``--checkpoint``; a registered model's is fetched, and kept until the command ends."""
    given = args.checkpoint
    if not given.startswith("models:/"):
        return str(Path(given).absolute())
    from pipelines.promotion import fetch_checkpoint
    from pipelines.tracking import tracking_uri

    folder = tempfile.TemporaryDirectory(prefix="registered-")
    atexit.register(folder.cleanup)
    return str(fetch_checkpoint(tracking_uri(_project(args).root), given, Path(folder.name)))


def _demo(args: argparse.Namespace) -> int:
    from pipelines.demo import run_demo

    return run_demo(args.out, _project(args).bundles, epochs=args.epochs)


def _project(args: argparse.Namespace) -> Project:
    return find_project(args.bundles)


if __name__ == "__main__":
    sys.exit(main())
