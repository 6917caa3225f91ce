"""Every network of the chest X-ray bundle, trained by one recipe on one prepared folder, measured and timed.

    python -m pipelines data prepare chest_xray --raw pneumoniamnist.npz --out data/pneumoniamnist
    python benchmarks/chest_networks.py data/pneumoniamnist --size 64 --epochs 5 --out c64 \\
        --encoder_weights mobilenet_v2.pth
    python benchmarks/chest_networks.py data/pneumoniamnist --size 64 --out c64 --report

What the recipe does not fix for a network comes from its overlay. `--encoder_weights` goes to MobileNetV2; the other
encoders start from `--other_encoders` (a folder with NAME.pth of each, or true: torchvision's download) or from random
weights, and the table says which. A network that has been measured in ``--out`` is not trained again. `--report` trains
nothing: it prints the table of what is there. Times are taken in this one process, every network in turn, round after
round: inference of one picture, and learning from a batch of 32 (forward and backward); the middle of the rounds, as a
ratio to ChestCNN's.
Every step is a command of the bundle; the runs are tracked like any other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from pipelines.cross_validation import Processes, bundle_command
from pipelines.evaluation import network_cost
from pipelines.networks import prepare_encoder

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "chest_xray_pneumonia_classification"
CONFIGS = BUNDLE / "configs"
NETWORKS = (
    "chest_cnn", "small_alexnet", "alexnet", "mobilenet_v2", "efficientnet_b0", "googlenet", "densenet121", "resnet50",
    "resnet34", "vgg16_transfer", "vgg19",
)  # fmt: skip
BATCH = 32
HAVE_NO_ENCODER = ("chest_cnn", "small_alexnet", "alexnet")
SCORES = (
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "f1_positive",
    "auc",
    "average_precision",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--encoder_weights", type=Path, help="of MobileNetV2")
    parser.add_argument("--other_encoders", default="false", help="a folder with NAME.pth, true or false")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15, help="of timing inference")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", action="store_true")
    args, knobs = parser.parse_known_args()
    args.out = args.out.absolute()
    if not args.report:
        for name in args.networks:
            train_and_measure(args, name, knobs)
    done = [name for name in NETWORKS if (args.out / name / "evaluation" / "summary.json").is_file()]
    if not done:
        raise SystemExit(f"{args.out}: no network has been measured here")
    text = table(args, done)
    print(text)
    (args.out / "results.md").write_text(text + "\n")


def weights_of(args: argparse.Namespace, name: str) -> str:
    """What ``--encoder_weights`` of the bundle is told."""
    if name in HAVE_NO_ENCODER:
        return "False"
    if name == "mobilenet_v2" and args.encoder_weights:
        return str(args.encoder_weights.absolute())
    if args.other_encoders.lower() in ("true", "false"):
        return args.other_encoders.capitalize()
    file = Path(args.other_encoders).absolute() / f"{name}.pth"
    return str(file) if file.is_file() else "False"


def train_and_measure(args: argparse.Namespace, name: str, knobs: list[str]) -> None:
    folder = args.out / name
    if (folder / "evaluation" / "summary.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    shared = ["--dataset_dir", str(args.prepared.absolute()), "--ckpt_dir", str(folder)]
    shared += ["--image_size", f"[{args.size},{args.size}]", "--encoder_weights", weights_of(args, name), *knobs]
    if weights_of(args, name) == "False":
        shared += ["--freeze_encoder", "False"]  # random features are no use frozen
    flags = ["--epochs", str(args.epochs), "--patience", str(args.epochs), "--run_name", f"{name}-{args.size}"]
    bundle_run(args, ["train", f"networks/{name}"], [*shared, *flags], folder / "train.log")
    bundle_run(args, ["train", f"networks/{name}", "evaluate"], shared, folder / "evaluation.log")
    (folder / "encoder.txt").write_text("random" if weights_of(args, name) == "False" else "ImageNet")
    print(name, (folder / "evaluation" / "summary.md").read_text(), flush=True)


def bundle_run(args: argparse.Namespace, configs: list[str], words: list[str], log: Path) -> None:
    files = [CONFIGS / f"{each}.yaml" for each in configs]
    with Processes() as processes:
        processes.run(bundle_command(BUNDLE, files, words), log, {"OMP_NUM_THREADS": str(args.threads)})


def step_seconds(networks: dict[str, torch.nn.Module], pictures: torch.Tensor, rounds: int, learn: bool) -> dict:
    """Seconds of one step by network: the middle of the rounds, in each of which every network has its turn."""
    labels = torch.zeros(len(pictures), dtype=torch.long)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(rounds + 1):  # the first warms up
        for name, network in networks.items():
            network.train(learn)
            start = time.perf_counter()
            with torch.set_grad_enabled(learn):
                scores = network(pictures)
                if learn:
                    torch.nn.functional.cross_entropy(scores, labels).backward()
            if turn:
                times[name].append(time.perf_counter() - start)
            network.zero_grad(set_to_none=True)
    return {name: statistics.median(each) for name, each in times.items()}


def table(args: argparse.Namespace, names: list[str]) -> str:
    networks = {}
    for name in dict.fromkeys(["chest_cnn", *names]):
        files = [str(CONFIGS / "inference.yaml"), str(CONFIGS / "networks" / f"{name}.yaml")]
        networks[name] = ConfigParser(ConfigParser.load_config_files(files)).get_parsed_content("network_def").eval()
        prepare_encoder(networks[name], False, None, hold_norm=True)
    torch.set_num_threads(args.threads)
    inference = step_seconds(networks, torch.rand(1, 1, args.size, args.size), args.rounds, learn=False)
    learning = step_seconds(networks, torch.rand(BATCH, 1, args.size, args.size), max(1, args.rounds // 5), learn=True)
    lines = [
        f"| network | encoder from | {' | '.join(SCORES)} | parameters | MACs | training | inference |",
        "|---|---|" + "---:|" * (len(SCORES) + 4),
    ]
    for name in names:
        summary = json.loads((args.out / name / "evaluation" / "summary.json").read_text())
        cells = [cell(summary[f"test_{score}"]) for score in SCORES]
        cost = network_cost(networks[name], (1, 1, args.size, args.size))
        encoder = "-" if name in HAVE_NO_ENCODER else (args.out / name / "encoder.txt").read_text()
        lines.append(
            f"| {name} | {encoder} | {' | '.join(cells)} | {cost.parameters:,} | {cost.macs / 1e6:,.0f} M | "
            f"{learning[name] / learning['chest_cnn']:.1f} | {inference[name] / inference['chest_cnn']:.1f} |"
        )
    return "\n".join(lines)


def cell(entry: dict) -> str:
    if entry["estimate"] is None:
        return "-"
    return f"{entry['estimate']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"


if __name__ == "__main__":
    main()
