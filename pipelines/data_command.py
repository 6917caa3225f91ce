"""``python -m pipelines data``: prepare a raw dataset, or draw phantoms."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from pipelines.errors import UsageError

# What the datasets room knows too: named here again so that --help need not import it (a test holds them together).
SKIN_DATASETS = ("isic2016", "ph2", "skin_lesions")
CHEST_XRAY = "chest_xray"
DATASETS = ("covid_ct", *SKIN_DATASETS, CHEST_XRAY)
PHANTOMS = ("covid_ct", "isic2016", CHEST_XRAY)
PHANTOM_FORMATS = ("nifti", "dicom", "both")
MASK_VALUES = ("lung-lesion", "lesion")
DEFAULT_SLICES = 24

# options that both commands hand on as they are
_SHARED = ("seed", "validation", "test", "folds", "force")

logger = logging.getLogger(__name__)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``data prepare`` and ``data phantom``; each sets `func`, which takes the arguments and returns the exit
    code."""
    data = subparsers.add_parser("data", help="prepare a dataset, or draw phantoms")
    actions = data.add_subparsers(dest="action", required=True)
    prepare = actions.add_parser("prepare", help="check a raw folder and write it as a prepared one, split by patient")
    prepare.add_argument("dataset", choices=DATASETS)
    prepare.add_argument(
        "--raw", type=Path, required=True, help="the unpacked dataset (chest X-rays: also a .npz or .csv file)"
    )
    prepare.add_argument(
        "--mask-values", choices=MASK_VALUES, help="DICOM series only: what the values of the masks mean"
    )
    prepare.add_argument("--skip-bad", action="store_true", help="leave faulty cases out and list them in the report")
    prepare.set_defaults(func=_prepare)
    phantom = actions.add_parser("phantom", help="draw phantoms, for trying commands without data")
    phantom.add_argument("dataset", choices=PHANTOMS)
    phantom.add_argument("--cases", type=int, default=12)
    phantom.add_argument(
        "--size", type=int, default=160, help="columns, and rows (of skin lesions three quarters of it; default 160)"
    )
    phantom.add_argument("--slices", type=int, help=f"CT only (default {DEFAULT_SLICES})")
    phantom.add_argument("--format", choices=PHANTOM_FORMATS, help="CT only (default nifti); both only with --raw")
    phantom.add_argument(
        "--clear-cut", action="store_true", default=None, help="CT only: no slice near a threshold of severity"
    )
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
            "--folds", type=int, default=0, help="also write datalist_fold0.json ... for cross-validation"
        )
        parser.add_argument("--force", action="store_true", help="replace a folder that this command wrote")


def _prepare(args: argparse.Namespace) -> int:
    from pipelines.preparation.splits import SECTIONS
    from pipelines.tasks.chest_xray.prepare import prepare_chest_xray
    from pipelines.tasks.dermoscopy.prepare import prepare_skin_lesions
    from pipelines.tasks.lung_ct.prepare import prepare_covid_ct

    options = {key: getattr(args, key) for key in (*_SHARED, "skip_bad")}
    if args.dataset in SKIN_DATASETS:
        _refuse(args, "mask_values")
        prepared = prepare_skin_lesions(args.dataset, args.raw, args.out, **options)
    elif args.dataset == CHEST_XRAY:
        _refuse(args, "mask_values")
        prepared = prepare_chest_xray(args.raw, args.out, **options)
    else:
        prepared = prepare_covid_ct(args.raw, args.out, mask_values=args.mask_values, **options)
    numbers = ", ".join(f"{len(prepared.split[section])} {section}" for section in SECTIONS)
    for fault in prepared.left_out:
        logger.warning("left out: %s", fault)
    sys.stdout.write(f"{prepared.folder}: {numbers} cases; see {prepared.folder / 'report.md'}\n")
    return 0


def _phantom(args: argparse.Namespace) -> int:
    from pipelines.tasks.chest_xray.phantoms import phantom_chest_xray
    from pipelines.tasks.dermoscopy.phantoms import phantom_isic2016
    from pipelines.tasks.lung_ct.prepare import phantom_covid_ct

    options = {key: getattr(args, key) for key in (*_SHARED, "cases", "size", "raw")}
    if args.dataset in (*SKIN_DATASETS, CHEST_XRAY):
        _refuse(args, "slices")
        _refuse(args, "format")
        _refuse(args, "clear_cut")
        draw = phantom_chest_xray if args.dataset == CHEST_XRAY else phantom_isic2016
        names = draw(args.out, **options)
    else:
        slices = DEFAULT_SLICES if args.slices is None else args.slices
        options |= {"file_format": args.format or PHANTOM_FORMATS[0], "clear_cut": bool(args.clear_cut)}
        names = phantom_covid_ct(args.out, slices=slices, **options)
    sys.stdout.write(f"{args.out}: {len(names)} phantoms\n")
    return 0


def _refuse(args: argparse.Namespace, option: str) -> None:
    if getattr(args, option) is not None:
        raise UsageError(f"--{option.replace('_', '-')} is for CT only", where=args.dataset, how="leave it out")
