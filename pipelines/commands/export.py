"""``python -m pipelines export``: a bundle's network as one file for other programs."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.bundle import GENERATION, Project, bundle_kind, named_bundle, named_from_here
from pipelines.errors import UsageError


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``export``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("export", help="a bundle's network as one file for other programs, compared")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    parser.add_argument("--to", default="onnx", choices=("onnx", "torchscript", "openvino"), help="default: onnx")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="NETWORK.onnx and NETWORK.json go here")
    parser.add_argument("--network", help="an overlay of the bundle's configs/networks (default: the bundle's default)")
    parser.add_argument(
        "--checkpoint",
        help="weights, their https address with #sha256=HEX, or models:/BUNDLE@champion (default: those shipped for the"
        " network)",
    )
    parser.add_argument(
        "--input", type=Path, metavar="PATH", help="a case or a folder of cases to compare on (default: phantoms)"
    )
    parser.set_defaults(func=lambda args: _export(args, project(args)))


def _export(args: argparse.Namespace, project: Project) -> int:
    bundle = named_bundle(args.bundle, project.bundles)
    if bundle_kind(bundle) == GENERATION:
        raise UsageError(
            "a generator is not exported: its pictures are marked as synthetic by what writes them, and would leave an"
            " exported file without a mark",
            where=bundle,
            how=f"generate with it: python -m monai.bundle run --config_file {named_from_here(bundle)}/configs/"
            "generate.yaml",
        )
    from pipelines.exporting import export_bundle
    from pipelines.loading import chosen

    overrides: dict[str, Any] = chosen(project, args.checkpoint, None)
    with tempfile.TemporaryDirectory(prefix="phantoms-") as folder:
        if args.input is not None:
            overrides["input"] = str(args.input.absolute())
        else:
            overrides["dataset_dir"] = str(_phantoms(bundle, Path(folder)))
            overrides |= _answered(bundle)
        exported = export_bundle(bundle, args.out, args.to, network=args.network, **overrides)
    on = "phantoms" if args.input is None else args.input
    sys.stdout.write(
        f"{exported.file}: against PyTorch, {exported.text} of {on}\n"
        f"{exported.description}: what goes in, and what comes out\n"
    )
    return 0


def _answered(bundle: Path) -> dict[str, Any]:
    """What makes the bundle's inference answer phantoms too, which may be unlike all that it was trained on."""
    return {"unlike": "note"} if "unlike" in _inference(bundle) else {}


def _inference(bundle: Path) -> dict[str, Any]:
    """The bundle's inference.yaml as it stands; nothing without one."""
    from monai.bundle import ConfigParser

    config = bundle / "configs" / "inference.yaml"
    return ConfigParser.load_config_file(str(config)) if config.is_file() else {}


def _phantoms(bundle: Path, folder: Path) -> Path:
    """A prepared folder of phantoms of the bundle's data.

    Raises:
        UsageError: there are none.
    """
    from pipelines.commands import data
    from pipelines.tasks.registry import DATASETS

    try:
        about = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError("this is not a bundle with configs/metadata.json", where=bundle) from None
    words = shlex.split(str(about.get("phantoms", ""))) or [_dataset(bundle)]
    if words[0] not in DATASETS or DATASETS[words[0]].phantom is None:
        raise UsageError("there are no phantoms of the bundle's data", where=bundle, how="give --input")
    parser = argparse.ArgumentParser()
    data.add_parser(parser.add_subparsers())
    given = parser.parse_args(["data", "phantom", *words, "--cases", "12", "--test", "0.5", "--out", str(folder / "p")])
    logging.getLogger("pipelines.preparation").setLevel(logging.ERROR)  # that phantoms are few
    with contextlib.redirect_stdout(io.StringIO()):
        given.func(given)
    return folder / "p"


def _dataset(bundle: Path) -> str:
    """The last part of the bundle's ``dataset_dir``."""
    return str(_inference(bundle).get("dataset_dir") or "").rstrip("'\"").rsplit("/", 1)[-1]
