"""The options by which a command says what a bundle's network is run with: of ``predict`` and ``listen``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a command's parser."""
    add = parser.add_argument
    add("--network", help="an overlay of the bundle's configs/networks (default: the bundle's default)")
    add(
        "--overlay",
        action="append",
        default=[],
        metavar="NAME",
        help="a config of the bundle laid over its inference, such as severity (may be given again)",
    )
    add(
        "--checkpoint",
        help="weights, their https address with #sha256=HEX, or models:/BUNDLE@champion (default: those shipped for the"
        " network)",
    )
    add("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    add("--fast", action="store_true", help="no averaging over flips (and scales): a quarter to a half of the time")
    add(
        "--runtime",
        choices=("auto", "eager", "compiled", "onnxruntime", "openvino"),
        help="by what the network is run (default auto: where there is enough to do, the fastest that is installed and"
        " agrees with eager)",
    )
    add("--precision", choices=("auto", "fp32", "bf16"), help="of the runtime (default auto)")
    add(
        "--unlike",
        choices=("refuse", "note"),
        help="what an image gets that is unlike all that the bundle was trained on (default: the bundle's, refuse)",
    )
    add(
        "--min-confidence",
        type=float,
        metavar="P",
        help="refer a case to a person whose mask is good with a probability below P, 0 to 1 (segmentations)",
    )


def inference_overrides(args: argparse.Namespace, bundle: Path) -> dict[str, Any]:
    """The ids of the bundle's inference that ``--fast``, ``--runtime``, ``--precision``, ``--unlike`` and
    ``--min-confidence`` set.

    Raises:
        UsageError: what is asked for is unknown to the bundle.
    """
    from pipelines.prediction import fast_options, runtime_options

    overrides = fast_options(bundle) if args.fast else {}
    overrides |= runtime_options(bundle, args.runtime, args.precision)
    overrides |= {} if args.unlike is None else {"unlike": args.unlike}
    return overrides | ({} if args.min_confidence is None else {"min_confidence": args.min_confidence})
