"""``python -m pipelines tune``: a search over a bundle's knobs."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.bundle import Project, named_bundle, refuse_generating

RANGES = Path("configs") / "tuning" / "ranges.yaml"


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``tune``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser(
        "tune", help="search a bundle's knobs with Optuna; further --KNOB VALUE go to every training"
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the study; the same goes on with it")
    parser.add_argument("--trials", type=int, default=20, help="in all, those of earlier calls included")
    parser.add_argument("--network", help="an overlay of the bundle's configs/networks")
    parser.add_argument("--ranges", type=Path, help=f"what is searched (default: the bundle's {RANGES})")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--wait", type=int, default=3, metavar="EPOCHS", help="before a trial may be pruned")
    parser.add_argument(
        "--tracking_uri", metavar="URI", help="the store (default: MLFLOW_TRACKING_URI, or the project's)"
    )
    parser.set_defaults(func=lambda args: _tune(args, project(args)), takes_knobs=True)


def _tune(args: argparse.Namespace, project: Project) -> int:
    from pipelines.errors import ConfigError, UsageError
    from pipelines.tracking.store import chosen_uri

    try:
        from pipelines.tuning import Study, best_command, read_ranges, tune
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"tuning needs {error.name}", where="pipelines tune", how="pip install 'imaging-bundles[tune]'"
        ) from error
    bundle = named_bundle(args.bundle, project.bundles).absolute()
    refuse_generating(bundle, "tune")
    if not (bundle / "configs" / "train.yaml").is_file():
        raise UsageError("this is not a bundle with configs/train.yaml", where=bundle, how="give the bundle's folder")
    knobs = args.knobs
    if len(knobs) % 2 or not all(word.startswith("--") for word in knobs[::2]):
        raise UsageError(f"{shlex.join(knobs)} is not a list of --KNOB VALUE")
    study = Study(
        bundle=bundle,
        network=args.network,
        ranges=read_ranges(args.ranges or bundle / RANGES, bundle),
        knobs=[str(Path(word).absolute()) if Path(word).exists() and "/" in word else word for word in knobs],
        out=args.out.absolute(),
        uri=chosen_uri(args.tracking_uri, project.root),
        seed=args.seed,
        patience=args.wait,
    )
    search = tune(study, args.trials)
    sys.stdout.write(f"{len(search.trials)} trials: {study.out / 'trials.csv'}\n")
    sys.stdout.write(f"best: trial {search.best_trial.number}, {search.best_value:.4f}\n")
    sys.stdout.write("".join(f"  {knob}: {value}\n" for knob, value in search.best_params.items()))
    sys.stdout.write(f"train with it: {shlex.join(best_command(search, study))}\n")
    return 0
