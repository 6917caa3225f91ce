"""Makes and measures the small network that finds the lungs for the chest X-ray bundle (`networks/lungs.safetensors`).

    python -m pipelines data prepare chest_xray --raw RAW --out data/chest_xray
    python benchmarks/chest_lungs.py data/chest_xray --children MASKS --adults ADULTS --out lungs

MASKS has a mask for normal pictures of the prepared folder, `CASE.png` (lungs 255, not to be judged 127); ADULTS has
`images/` and `masks/` of adults (Montgomery and Shenzhen: Jaeger 2014, Candemir 2014). Measured are the children of the
folder's validation patients and every fifth adult, of whom training has seen none.

**The outline**: each lung with what of the heart lies before it, up to the spine, as the children's masks have it. The
adults' leave the heart out; of them what lies between the lungs (their hull, less the lungs) is not learned from.

No picture with pneumonia has a mask. So that opaque lungs are found too, bright clouds are laid over the lungs, greys
are bent, and pictures are cropped and squeezed far beyond what the data have.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.morphology import convex_hull_image
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from pipelines.evaluation.intervals import bootstrap_interval
from pipelines.inferers import resampled, supports_bfloat16
from pipelines.networks.lung_frame import LUNG_SIZE, lung_network, lung_picture
from pipelines.readers import read_xray
from pipelines.weights import save_weights

IGNORED = 2  # in labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--children", type=Path, required=True)
    parser.add_argument("--adults", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    learned, measured = pictures(args.prepared, args.children, args.adults)
    print(f"{len(learned[0])} pictures to learn from, {len(measured[0])} to measure on")
    network = train(*learned[:2], args.epochs, args.batch, args.rate)
    state = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    note = {"use": "research; masks: V7 (CC BY 4.0), NLM's Montgomery and Shenzhen sets", "seed": str(args.seed)}
    save_weights(state, args.out / "lungs.safetensors", note)
    network.load_state_dict({key: value.float() for key, value in state.items()})
    print_dice(network, *measured)


def pictures(prepared: Path, children: Path, adults: Path) -> list[tuple[Tensor, Tensor, list[str]]]:
    """Training's and measuring's pictures (N, 1, S, S) 0..1, labels (N, S, S), and whose they are."""
    content = json.loads((prepared / "datalist.json").read_text())
    parts: list[list[tuple[NDArray, NDArray, str]]] = [[], []]
    for part in ("training", "test", "validation"):
        for item in content[part]:
            path = children / f"{item['case']}.png"
            if path.is_file():
                mask = np.asarray(Image.open(path).convert("L")).T
                label = np.where(mask == 127, IGNORED, mask > 127)
                parts[part == "validation"].append(at_size(prepared / item["image"], label, f"child {item['patient']}"))
    for number, path in enumerate(sorted((adults / "images").iterdir())):
        mask = np.asarray(Image.open(next((adults / "masks").glob(f"{path.stem}*"))).convert("L")).T > 127
        label = np.where(convex_hull_image(mask) & ~mask, IGNORED, mask)
        parts[number % 5 == 0].append(at_size(path, label, f"adult {path.stem}"))
    return [
        (
            torch.from_numpy(np.stack([each[0] for each in part]))[:, None],
            torch.from_numpy(np.stack([each[1] for each in part])),
            [each[2] for each in part],
        )
        for part in parts
    ]


def at_size(path: Path, label: NDArray, patient: str) -> tuple[NDArray, NDArray, str]:
    plane = torch.from_numpy(np.ascontiguousarray(read_xray(path).array) / np.float32(255))[None, None]
    small = lung_picture(resampled(plane, (224, 224)))[0, 0]
    labels = Image.fromarray(label.astype(np.uint8)).resize((LUNG_SIZE, LUNG_SIZE), Image.Resampling.NEAREST)
    return small.numpy(), np.asarray(labels), patient


def train(images: Tensor, labels: Tensor, epochs: int, batch: int, rate: float) -> torch.nn.Module:
    network = lung_network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.01)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    amp = supports_bfloat16("cpu")
    for epoch in range(epochs):
        start, losses = time.time(), []
        for chosen in torch.randperm(len(images))[: len(images) // batch * batch].split(batch):
            x, y = changed(images[chosen], labels[chosen])
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
                logits = network(x.contiguous(memory_format=torch.channels_last)).float()
            loss = masked_loss(logits[:, 0], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, {time.time() - start:.0f} s", flush=True)
    return network.eval()


def masked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy and soft Dice where there is a label."""
    known, target = (labels != IGNORED).float(), (labels == 1).float()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, known)
    chance = logits.sigmoid() * known
    both, sizes = (chance * target).sum((1, 2)), (chance + target * known).sum((1, 2))
    return entropy + 1 - ((2 * both + 1) / (sizes + 1)).mean()


def changed(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """A batch at random: turned, cropped, squeezed; clouds over the lungs; greys bent; noise, blur, blank borders."""
    n, size = len(images), images.shape[-1]
    uniform = lambda low, high: torch.empty(n).uniform_(low, high)  # noqa: E731
    zoom, squeeze, turn = uniform(0.6, 1.15), uniform(0.8, 1.25), uniform(-0.2, 0.2)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = zoom * squeeze * turn.cos(), -zoom * turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = zoom * turn.sin(), zoom / squeeze * turn.cos()
    theta[:, :, 2] = torch.stack([uniform(-0.2, 0.2), uniform(-0.2, 0.2)], 1)
    grid = affine_grid(theta, [n, 1, size, size], align_corners=False)
    x = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    y = grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0]
    clouds = interpolate(torch.rand(n, 1, 5, 5), (size, size), mode="bicubic").clamp(0, 1)
    strength = (uniform(-0.3, 0.9).clamp(min=0)).reshape(n, 1, 1, 1)
    bright = torch.quantile(x.flatten(1), 0.9, dim=1).reshape(n, 1, 1, 1)
    near = interpolate((y == 1).float()[:, None], scale_factor=0.125, mode="area")
    near = interpolate(near, (size, size), mode="bilinear")
    x = x + strength * clouds * near * (bright - x).clamp(min=0)
    shape = (n, 1, 1, 1)
    x = x.clamp(0, 1) ** (2 ** uniform(-1, 1)).reshape(shape)
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * uniform(0.4, 1.4).reshape(shape) + middle + uniform(-0.15, 0.15).reshape(shape)
    soft = interpolate(interpolate(x, scale_factor=0.5, mode="area"), (size, size), mode="bilinear")
    x = torch.where(uniform(0, 1).reshape(shape) < 0.3, soft, x)
    x = x + torch.randn_like(x) * uniform(-0.05, 0.05).clamp(min=0).reshape(shape)
    blank = uniform(-0.1, 0.1).clamp(min=0).reshape(shape) * size
    place = torch.arange(size).float()
    edge = torch.minimum(place, size - 1 - place)
    within = torch.minimum(edge[:, None], edge[None])[None, None]
    return torch.where(within < blank, uniform(0, 1).round().reshape(shape), x).clamp(0, 1), y


@torch.no_grad()
def print_dice(network: torch.nn.Module, images: Tensor, labels: Tensor, patients: list[str]) -> None:
    predicted = torch.cat([network(part)[:, 0] > 0 for part in images.split(32)])
    known, target = labels != IGNORED, labels == 1
    predicted = predicted & known
    dice = (2 * (predicted & target).sum((1, 2)) / (predicted.sum((1, 2)) + target.sum((1, 2)))).numpy()
    print("| left out | pictures | patients | lung Dice | 95 % interval | under 0.9 |\n|---|---:|---:|---|---|---:|")
    for group in ("child", "adult"):
        rows = np.array([each.startswith(group) for each in patients])
        whose = np.array(patients)[rows]
        found = bootstrap_interval(dice[rows], whose)
        print(
            f"| {group} | {rows.sum()} | {len(set(whose))} | {found.estimate:.3f} | {found.low:.3f} to "
            f"{found.high:.3f} | {(dice[rows] < 0.9).sum()} |"
        )


if __name__ == "__main__":
    main()
