"""What the two routes to a severity class cost: parameters, multiplications, memory, and time as ratios in one run.

    python benchmarks/severity_cost.py data/covid_ct --classifier severity_shufflenet --masks basic_unet

Training: seconds of an epoch over the same cases (the first of two, no validation), one process, nothing else
running. Inference: `python -m pipelines predict` over the prepared images, as deployed (flips and scales averaged),
each route in a process of its own; "peak" is of the process, less what the libraries take.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from inference import GIB, MEASURE

from pipelines.evaluation import network_cost
from pipelines.prediction import open_inference
from pipelines.weights import save_weights

PROJECT = Path(__file__).resolve().parent.parent
MASKS = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
CLASSES = PROJECT / "bundles" / "covid_ct_severity_classification"
SIDE = 512  # of the slice that networks are compared by, whatever size they are fed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--classifier", nargs="+", default=["severity_shufflenet"])
    parser.add_argument("--masks", nargs="+", default=["basic_unet"])
    args = parser.parse_args()
    routes = [(MASKS, name, ["--overlay", "severity"]) for name in args.masks]
    routes += [(CLASSES, name, []) for name in args.classifier]
    print(
        "| network | parameters | parameter MB | MACs of 512 x 512 | activation MB | MACs as deployed "
        "| epoch of training | inference | peak, MiB |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    first: tuple[float, float] | None = None
    for bundle, name, overlay in routes:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "w.safetensors"  # what the weights are changes neither time nor memory
            cost, deployed = network_costs(bundle, name, weights)
            epoch = time_training(bundle, name, args.prepared.absolute(), Path(folder))
            seconds, peak = time_inference(bundle, name, overlay, weights, args.prepared / "images", Path(folder))
        first = first or (epoch, seconds)
        print(
            f"| {name} | {cost.parameters:,} | {cost.parameter_mb:.2f} | {cost.macs / 1e9:.2f} G | "
            f"{cost.activation_mb:.2f} | {deployed / 1e9:.1f} G | {epoch / first[0]:.2f} ({epoch:.1f} s) | "
            f"{seconds / first[1]:.2f} ({seconds:.1f} s) | {peak * 1024:.0f} |",
            flush=True,
        )


def network_costs(bundle: Path, name: str, weights: Path) -> tuple:
    """Cost of one slice of 512 x 512, and multiplications of one slice with all that is averaged over."""
    from monai.bundle import ConfigParser

    configs = [str(bundle / "configs" / "inference.yaml"), str(bundle / "configs" / "networks" / f"{name}.yaml")]
    network = ConfigParser(ConfigParser.load_config_files(configs)).get_parsed_content("network_def")
    save_weights(network, weights)
    inferer = open_inference(bundle, name, checkpoint=str(weights)).inferer
    sides = [round(inferer.slice_size[0] * scale) for scale in getattr(inferer, "scales", (1.0,))]
    passes = [network_cost(network, (1, 1, side, side)).macs * len(inferer.flips) for side in sides]
    return network_cost(network, (1, 1, SIDE, SIDE)), sum(passes)


def time_training(bundle: Path, name: str, prepared: Path, folder: Path) -> float:
    files = [str(bundle / "configs" / each) for each in ("train.yaml", f"networks/{name}.yaml")]
    words = ["--config_file", str(files), "--bundle_root", str(bundle), "--dataset_dir", str(prepared)]
    words += ["--ckpt_dir", str(folder / "ckpt"), "--epochs", "2", "--val_interval", "2"]
    words += ["--tracking_uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command = [sys.executable, "-m", "monai.bundle", "run", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    times = re.findall(r"SupervisedTrainer: Epoch\[1\] Complete. Time taken: (\d+):(\d+):([\d.]+)", done.stderr)
    if not times:
        raise SystemExit(f"{name}: no epoch was timed\n{done.stderr[-2000:]}")
    hours, minutes, seconds = map(float, times[-1])
    return 3600 * hours + 60 * minutes + seconds


def time_inference(
    bundle: Path, name: str, overlay: list[str], weights: Path, images: Path, folder: Path
) -> tuple[float, float]:
    """Seconds, and GiB above what importing the libraries takes."""
    words = ["predict", str(bundle), str(images), "--out", str(folder / "out"), "--network", name, *overlay]
    command = [sys.executable, "-c", MEASURE, *words, "--checkpoint", str(weights)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    code, baseline, peak, seconds = output.split()[-4:]
    if code not in ("0", "3"):
        raise SystemExit(f"{name}: predict ended with {code}")
    return float(seconds), (float(peak) - float(baseline)) * 1024 / GIB


if __name__ == "__main__":
    main()
