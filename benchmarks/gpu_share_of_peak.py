"""Training steps of BasicUNet on a GPU as a share of what its matrix units can do, and where the time goes.

    python benchmarks/gpu_share_of_peak.py --size 512 --batches 8 32

The ceiling is measured: a bfloat16 matrix product of 8192 x 8192. Operations are those of convolutions and matrix
products, forward and backward, as `torch.utils.flop_counter` counts them; a step is forward, DiceCE, backward, AdamW.
Beside the share stand operations per byte that the widest layer must move, and the kernels' time by their kind: where
norms, activations and copies take most of it, the memory and not the matrix units sets the pace.
"""

from __future__ import annotations

import argparse
import contextlib
from collections import defaultdict
from collections.abc import Callable
from statistics import median

import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

KINDS = {
    "convolutions": ("conv", "gemm", "cutlass", "xmma", "implicit", "wgrad", "dgrad", "sm90", "sm80", "cudnn_"),
    "norms": ("batch_norm", "bn_", "batchnorm", "norm"),
    "optimiser": ("multi_tensor", "adam"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("error: this measures a GPU, and there is none")
    peak = matrix_rate()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: bfloat16 product {peak / 1e12:.0f} TFLOP/s")
    intensity = 2 * 9 * 32 * 32 / (2 * 2 * 32)
    print(f"a 3 x 3 convolution of 32 to 32 channels: {intensity:.0f} operations a byte that it reads or writes")
    print(
        "| batch | way | ms a step | slices/s | TFLOP/s | share of the ceiling | convolutions, norms, optimiser, rest |"
    )
    print("|---:|---|---:|---:|---:|---:|---|")
    for batch in args.batches:
        for way in ("float32", "bfloat16", "bfloat16, channels last", "the same, compiled"):
            step = steps(way, batch, args.size)
            step()
            with FlopCounterMode(display=False) as counter:
                steps("bfloat16", 1, args.size)()
            operations = counter.get_total_flops() * batch
            seconds = timed(step, args.steps)
            rate = operations / seconds
            print(
                f"| {batch} | {way} | {seconds * 1e3:.1f} | {batch / seconds:.0f} | {rate / 1e12:.1f} "
                f"| {rate / peak:.3f} | {shares(step)} |",
                flush=True,
            )
            del step
            torch.cuda.empty_cache()


def steps(way: str, batch: int, size: int) -> Callable[[], object]:
    """A training step on random pictures that stay on the GPU."""
    torch.manual_seed(0)
    layout = torch.channels_last if "channels last" in way or "compiled" in way else torch.contiguous_format
    network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=3, norm="batch").to("cuda", memory_format=layout)
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    images = torch.rand(batch, 1, size, size, device="cuda").to(memory_format=layout)
    labels = torch.randint(0, 3, (batch, 1, size, size), device="cuda")
    forward = torch.compile(network) if "compiled" in way else network
    mixed = way != "float32"

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16) if mixed else contextlib.nullcontext():
            loss = loss_function(forward(images).float(), labels)
        loss.backward()
        optimizer.step()

    return step


def timed(step: Callable[[], object], number: int) -> float:
    """The median step in seconds, after three that warm up, by events on the GPU."""
    found = []
    for index in range(number + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize()
        if index >= 3:
            found.append(begin.elapsed_time(end) / 1e3)
    return median(found)


def matrix_rate(size: int = 8192) -> float:
    """Operations a second of a bfloat16 matrix product of random numbers."""
    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / timed(lambda: left @ right, 20)


def shares(step: Callable[[], object]) -> str:
    """The kernels' time by their kind, as shares of all of it."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        step()
        torch.cuda.synchronize()
    times: dict[str, float] = defaultdict(float)
    for event in found.events():
        if event.device_type == DeviceType.CUDA:
            name = event.name.lower()
            kind = next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "rest")
            times["norms" if "bn_" in name or "batch_norm" in name else kind] += event.time_range.elapsed_us()
    total = sum(times.values()) or 1.0
    return ", ".join(f"{times[kind] / total:.2f}" for kind in (*KINDS, "rest"))


if __name__ == "__main__":
    main()
