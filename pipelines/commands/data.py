"""``python -m pipelines data``: prepare a raw dataset, draw phantoms, or audit prepared data."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines.errors import DatalistError, UsageError
from pipelines.tasks.registry import DATASETS, Option

# options that both commands hand on as they are
_SHARED = ("seed", "validation", "test", "folds", "force")

logger = logging.getLogger(__name__)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``data prepare``, ``data phantom`` and ``data audit``; each sets `func`, which takes the arguments and
    returns the exit code."""
    data = subparsers.add_parser("data", help="prepare a dataset, draw phantoms, or audit prepared data")
    actions = data.add_subparsers(dest="action", required=True)
    prepare = actions.add_parser("prepare", help="check a raw folder and write it as a prepared one, split by patient")
    prepare.add_argument("dataset", choices=tuple(DATASETS))
    prepare.add_argument(
        "--raw",
        type=Path,
        required=True,
        help="the unpacked dataset: a folder, or a file (.npz, .csv)",
    )
    _add_options(prepare, {name: each.prepare_options for name, each in DATASETS.items()})
    prepare.add_argument("--skip-bad", action="store_true", help="leave faulty cases out and list them in the report")
    prepare.set_defaults(func=_prepare)
    phantom = actions.add_parser("phantom", help="draw phantoms, for trying commands without data")
    phantom.add_argument("dataset", choices=tuple(name for name, each in DATASETS.items() if each.phantom))
    phantom.add_argument("--cases", type=int, default=12)
    phantom.add_argument(
        "--size", type=int, default=160, help="columns, and rows (of some pictures three quarters of it; default 160)"
    )
    _add_options(phantom, {name: each.phantom_options for name, each in DATASETS.items()})
    written = phantom.add_mutually_exclusive_group()
    written.add_argument("--prepared", dest="raw", action="store_false", help="write a prepared folder (the default)")
    written.add_argument(
        "--raw", dest="raw", action="store_true", help="write raw data, for `data prepare` and `predict`"
    )
    phantom.set_defaults(func=_phantom, raw=False)
    for parser in (prepare, phantom):
        parser.add_argument("--out", type=Path, required=True, help="the folder to write")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--validation", type=float, default=0.2, help="part of the patients (default 0.2)")
        parser.add_argument(
            "--test", type=float, default=0.2, help="part of the patients, where there is no official test set"
        )
        parser.add_argument(
            "--folds",
            type=_folds if parser is prepare else int,
            default=0,
            metavar="N|WORD" if parser is prepare else "N",
            help="also write datalist_fold0.json ... for cross-validation: so many, or by one of the words that "
            "prepared cases have, such as source: each source is left out by one fold",
        )
        parser.add_argument("--force", action="store_true", help="replace a folder that this command wrote")
    audit = actions.add_parser(
        "audit",
        help="look for patients, copies and neighbours on both sides of a split, doubtful labels, unlike splits",
    )
    audit.add_argument(
        "datalist",
        nargs="+",
        type=Path,
        metavar="DATALIST",
        help="a datalist, or a prepared folder; several: all together",
    )
    audit.add_argument(
        "--out", type=Path, metavar="DIR", help="also write audit.json, audit.md and the pairs as audit.png"
    )
    audit.set_defaults(func=_audit)


def _folds(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _add_options(parser: argparse.ArgumentParser, known: Mapping[str, Mapping[str, Option]]) -> None:
    """Add the options that some datasets have; each says in its help which."""
    owners: dict[str, list[str]] = {}
    for dataset, options in known.items():
        for flag in options:
            owners.setdefault(flag, []).append(dataset)
    for flag, names in owners.items():
        option = known[names[0]][flag]
        help_ = f"{', '.join(names)} only: {option.help}"
        if option.kind is bool:
            parser.add_argument(flag, dest=option.argument, action="store_true", default=None, help=help_)
        elif option.kind is list:
            parser.add_argument(flag, dest=option.argument, nargs="+", metavar="NAME", help=help_)
        else:
            parser.add_argument(flag, dest=option.argument, type=option.kind, choices=option.choices, help=help_)


def _own(
    args: argparse.Namespace, own: Mapping[str, Option], everyone: Iterable[Mapping[str, Option]]
) -> dict[str, object]:
    """The options of this dataset that were given.

    Raises:
        UsageError: one of another dataset's was.
    """
    for flag, option in {flag: option for options in everyone for flag, option in options.items()}.items():
        if flag not in own and getattr(args, option.argument) is not None:
            raise UsageError(f"there is no {flag} for this dataset", where=args.dataset, how="leave it out")
    given = {option.argument: getattr(args, option.argument) for option in own.values()}
    return {name: value for name, value in given.items() if value is not None}


def _prepare(args: argparse.Namespace) -> int:
    dataset = DATASETS[args.dataset]
    options = {key: getattr(args, key) for key in (*_SHARED, "skip_bad")}
    options |= _own(args, dataset.prepare_options, (each.prepare_options for each in DATASETS.values()))
    prepared = dataset.preparer()(*dataset.fixed, args.raw, args.out, **options)
    numbers = ", ".join(f"{len(cases)} {section}" for section, cases in prepared.split.items())
    for fault in prepared.left_out:
        logger.warning("left out: %s", fault)
    sys.stdout.write(f"{prepared.folder}: {numbers} cases; see {prepared.folder / 'report.md'}\n")
    return 0


def _audit(args: argparse.Namespace) -> int:
    from pipelines.preparation.audit import audit_lists, read_list, summary_lines, write_audit

    if len({path.resolve() for path in args.datalist}) < len(args.datalist):
        raise UsageError("a datalist is given twice", where=args.datalist[-1], how="name each once")
    audit = audit_lists([read_list(path, number) for number, path in enumerate(args.datalist)])
    sys.stdout.write("".join(f"{line}\n" for line in summary_lines(audit)))
    if args.out is not None:
        sys.stdout.write("".join(f"{path}\n" for path in write_audit(audit, args.out)))
    sys.stdout.flush()
    if audit.leaks:
        number = f"{len(audit.leaks)} leaks were found" if len(audit.leaks) > 1 else "a leak was found"
        how = "split anew with these on one side, or take them out" if args.out else "see the pairs with --out DIR"
        raise DatalistError(number, where=args.datalist[0] if len(args.datalist) == 1 else None, how=how)
    return 0


def _phantom(args: argparse.Namespace) -> int:
    dataset = DATASETS[args.dataset]
    options = {key: getattr(args, key) for key in (*_SHARED, "cases", "size", "raw")}
    options |= _own(args, dataset.phantom_options, (each.phantom_options for each in DATASETS.values()))
    names = dataset.phantoms()(args.out, **options)
    sys.stdout.write(f"{args.out}: {len(names)} phantoms\n")
    return 0
