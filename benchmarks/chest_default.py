"""Makes the chest X-ray bundle's shipped weights.

    python -m pipelines data prepare chest_xray --raw RAW --out data/chest_xray
    python benchmarks/chest_default.py data/chest_xray --encoder_weights mobilenet_v2.pth --out chest_default

The view of the frame around the lungs is one run of `train.yaml` with the knobs below, on the training and the test
part (the official test set lies elsewhere), but for a patient of each class, whom a datalist must keep. The view of the
whole picture is the network of version 0.2, whose weights are in the bundle (`mobilenet_v2`).

Built for pictures that differ from these: the first seven layers stay as ImageNet left them, training is short, every
picture is changed as another scanner would change it, and temperature and threshold are chosen on shifted validation
pictures (`tasks/chest_xray/shifts.py`). The last epoch's weights are taken. Other knobs of `train.yaml` may follow;
they win.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

from pipelines.cross_validation import Processes, bundle_command
from pipelines.weights import read_weights, save_weights

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "chest_xray_pneumonia_classification"
NAME = "two_views"
WHOLE = BUNDLE / "models" / "mobilenet_v2.safetensors"
KNOBS = ["--epochs", "3", "--val_interval", "3", "--freeze_encoder", "7"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--encoder_weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args, knobs = parser.parse_known_args()
    out = args.out.absolute()
    data = all_but_validation(args.prepared.absolute(), out / "data")
    words = ["--dataset_dir", str(data), "--encoder_weights", str(args.encoder_weights.absolute()), *KNOBS, *knobs]
    bundle_run(["train", "networks/lung_framed"], [*words, "--ckpt_dir", str(out / "trained")], out / "trained")
    weights = joined(out / "trained" / "model.pt", WHOLE, out / f"{NAME}.safetensors", data)
    bundle_run(
        ["train", "evaluate", "calibrate"],
        ["--dataset_dir", str(data), "--checkpoint", str(weights)],
        out / "calibrated",
    )
    target = BUNDLE / "models"
    for suffix in (".safetensors", ".calibration.json"):
        shutil.copy(weights.with_suffix(suffix), target / f"{NAME}{suffix}")
    measured = ["--datalist", measured_on_validation(data), "--output_dir", str(out / "validation")]
    words = ["--dataset_dir", str(data), "--checkpoint", str(target / weights.name), *measured]
    # a run of its own: `python -m pipelines card` takes it
    bundle_run(["train", "evaluate"], words, out / "validation")
    print((out / "validation" / "summary.md").read_text())


def all_but_validation(prepared: Path, folder: Path) -> Path:
    """The prepared folder, its test part moved into training but for a patient of each class."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "images").exists():
        shutil.copytree(prepared / "images", folder / "images", copy_function=os.link)
    content = json.loads((prepared / "datalist.json").read_text())
    kept = {next(i["patient"] for i in content["test"] if i["label"] == label) for label in (0, 1)}
    content["training"] += [item for item in content["test"] if item["patient"] not in kept]
    content["test"] = [item for item in content["test"] if item["patient"] in kept]
    del content["counts"]
    (folder / "datalist.json").write_text(json.dumps(content, indent=1))
    return folder


def measured_on_validation(folder: Path) -> str:
    """A datalist whose test part is the validation part of the folder's own, which training has not seen; its name."""
    content = json.loads((folder / "datalist.json").read_text())
    content["validation"], content["test"] = content["test"], content["validation"]
    (folder / "datalist_measured.json").write_text(json.dumps(content, indent=1))
    return "datalist_measured.json"


def joined(framed: Path, whole: Path, path: Path, data: Path) -> Path:
    """Writes the weights of both views as those of a TwoViewClassifier, kernels in half precision."""
    content = json.loads((data / "datalist.json").read_text())
    state = {**read_weights(framed), **{f"whole.{key}": value for key, value in read_weights(whole).items()}}
    note = {
        "data": f"{content['name']}, {len(content['training'])} pictures", "fingerprint": content["fingerprint"],
        "use": "research; data CC BY 4.0 (Kermany et al. 2018), encoders Apache-2.0 (ImageNet); "
        "lungs: masks of V7 (CC BY 4.0) and NLM",
    }  # fmt: skip
    kept = {
        key: value.half() if value.is_floating_point() and value.ndim > 1 else value for key, value in state.items()
    }
    save_weights(kept, path, note)
    return path


def bundle_run(configs: list[str], words: list[str], log: Path) -> None:
    files = [BUNDLE / "configs" / f"{each}.yaml" for each in configs]
    with Processes() as processes:
        processes.run(bundle_command(BUNDLE, files, words), log.with_suffix(".log"))


if __name__ == "__main__":
    main()
