"""Time of a network by each runtime, as ratios to eager float32, and how its answers agree with it.

    python benchmarks/runtimes.py [--scans PATH] [--pictures PATH] [--rounds 20] [--threads N] [--compiled]

Two networks with their shipped weights: BasicUNet on one 512 x 512 slice, MobileNetV2 on one 224 x 224 X-ray; of a
phantom where nothing is given. The runtimes take turns within one run, so that what else the machine does meets all of
them; "time" is the median of each round's ratio, behind it the quarter and three quarter points. The answers compared
are of up to 16 slices or pictures. bfloat16 is left out where the processor has no units for it: emulated, a slice took
112 times as long.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _measuring import Figures, add_json, in_turns, machine_line, phantom, ratio, timed

from pipelines.exporting.network_inputs import network_inputs
from pipelines.inferers import MixedPrecisionInferer, supports_bfloat16
from pipelines.prediction import open_inference
from pipelines.preparation.cases import look_for_cases
from pipelines.runtimes import Agreement, installed, onnx_of, open_session

PROJECT = Path(__file__).resolve().parent.parent
Forward = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=Path, help="CT, a file or folder (default: a phantom)")
    parser.add_argument("--pictures", type=Path, help="chest X-rays, a file or folder (default: a phantom)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compiled", action="store_true", help="torch.compile too: a minute more")
    add_json(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{machine_line()}; {args.rounds} rounds.\n")
    figures = Figures("runtimes")
    with tempfile.TemporaryDirectory() as folder:
        scan = args.scans or phantom("covid_ct", Path(folder) / "ct", size=512, file_format="nifti")
        measure("covid_ct_lesion_segmentation", scan, args, figures, slice_size=[512, 512], flips=False, scales=[1.0])
        picture = args.pictures or phantom("chest_xray", Path(folder) / "xray", size=512)
        measure("chest_xray_pneumonia_classification", picture, args, figures)
    figures.write(args.json)


def measure(name: str, source: Path, args: argparse.Namespace, figures: Figures, **options: Any) -> None:
    device = torch.device("cpu")
    workflow = open_inference(PROJECT / "bundles" / name, device=device, amp=False, input=str(source), **options)
    network = workflow.parser.get_parsed_content("network").eval()
    cases = look_for_cases(source)[0]
    images = network_inputs(cases, workflow.preprocessing, workflow.inferer, network)
    one = images[:1]
    ways = forwards(network, args.compiled, one)
    print(f"{name}: {' x '.join(map(str, one.shape))}\n")
    print("| runtime | time | quartiles | against eager fp32 |\n|---|---:|---|---|")
    with torch.no_grad():
        exact = network(images)
        for forward in ways.values():
            forward(one)
        seconds = in_turns(ways, args.rounds, lambda forward: timed(partial(forward, one)))
        for label, forward in ways.items():
            took = ratio(seconds[label], seconds["eager fp32"])
            print(f"| {label} | {took.middle:.3f} | {took.low:.3f} to {took.high:.3f} | ", end="")
            print(f"{Agreement.of(exact, forward(images)).text} |", flush=True)
            figures.add(f"{name}, {label} to eager fp32", "of the time", took)
    print()


def forwards(network: torch.nn.Module, compiled: bool, example: torch.Tensor) -> dict[str, Forward]:
    """Eager and compiled as ``MixedPrecisionInferer`` calls them, pictures in channels_last."""
    found: dict[str, Forward] = {}
    bf16 = supports_bfloat16("cpu")
    for label, inner in {"eager": network, **({"compiled": torch.compile(network)} if compiled else {})}.items():
        found[f"{label} fp32"] = lambda images, inner=inner: MixedPrecisionInferer(amp=False)(images, inner)
        if bf16:
            found[f"{label} bf16"] = lambda images, inner=inner: MixedPrecisionInferer(amp=True)(images, inner)
    graph = onnx_of(network, example)
    for runtime, precision in (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")):
        if runtime in installed() and (bf16 or precision == "fp32"):
            session = open_session(runtime, graph, precision)
            found[f"{runtime} {precision}"] = lambda images, run=session: torch.from_numpy(run(images.numpy())[0])
    return found


if __name__ == "__main__":
    main()
