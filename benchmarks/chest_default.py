"""Makes the chest X-ray bundle's shipped weights.

    python -m pipelines data prepare chest_xray --raw RAW --out data/chest_xray
    python benchmarks/chest_default.py data/chest_xray --encoder_weights mobilenet_v2.pth --out chest_default

Training is on the training and the test part (the official test images lie elsewhere), but for a patient of each class,
whom a datalist must keep. Validation patients choose nothing but the temperature and the operating threshold: the
schedule is fixed, and the last epoch's weights are taken. Built for pictures that differ from these:

1. the classifier is trained on the encoder's features as ImageNet left it (`cached_features`), before
2. the whole network is fine-tuned from there at a low rate, so that good features are not bent to fit a random
   classifier (Kumar et al. 2022, https://arxiv.org/abs/2202.10054);
3. the weights of 1 and 2 are averaged (Wortsman et al. 2022, https://arxiv.org/abs/2109.01903), `--share` from 2;
4. `calibrate` fits temperature and threshold.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from pipelines.cross_validation import Processes, bundle_command
from pipelines.weights import read_weights

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "chest_xray_pneumonia_classification"
NAME = "mobilenet_v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--encoder_weights", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5, help="of fine-tuning")
    parser.add_argument("--share", type=float, default=0.7, help="of the fine-tuned weights in the average")
    parser.add_argument("--out", type=Path, required=True)
    args, knobs = parser.parse_known_args()
    out = args.out.absolute()
    data = all_but_validation(args.prepared.absolute(), out / "data")
    head, tuned = out / "head", out / "tuned"
    shared = ["--dataset_dir", str(data), "--patience", "1000", *knobs]
    words = ["--encoder_weights", str(args.encoder_weights.absolute()), "--learning_rate", "0.001", "--epochs", "30"]
    bundle_run(["train", "cached_features"], [*shared, *words, "--val_interval", "30", "--ckpt_dir", str(head)], head)
    words = ["--encoder_weights", "False", "--pretrained", str(head / "last.pt"), "--learning_rate", "0.0003"]
    bundle_run(["train"], [*shared, *words, "--epochs", str(args.epochs), "--ckpt_dir", str(tuned)], tuned)
    content = json.loads((data / "datalist.json").read_text())
    weights = average(head / "last.pt", tuned / "last.pt", args.share, out / f"{NAME}.safetensors", content)
    words = ["--dataset_dir", str(data), "--checkpoint", str(weights)]
    bundle_run(["train", "evaluate", "calibrate"], words, out / "calibrate")
    target = BUNDLE / "models"
    for suffix in (".safetensors", ".calibration.json"):
        shutil.copy(weights.with_suffix(suffix), target / f"{NAME}{suffix}")
    measured = ["--datalist", measured_on_validation(data), "--output_dir", str(out / "validation")]
    words = ["--dataset_dir", str(data), "--checkpoint", str(target / weights.name), *measured]
    bundle_run(
        ["train", "evaluate"], words, out / "validation"
    )  # a run of its own: `python -m pipelines card` takes it
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


def average(head: Path, tuned: Path, share: float, path: Path, content: dict) -> Path:
    """Writes ``share`` of the fine-tuned weights and the rest of those with a trained head alone."""
    first, second = read_weights(head), read_weights(tuned)
    state = {
        key: (value if not value.is_floating_point() else torch.lerp(first[key], value, share)).contiguous()
        for key, value in second.items()
    }
    note = {
        "data": f"{content['name']}, {len(content['training'])} pictures", "fingerprint": content["fingerprint"],
        "use": "research; data CC BY 4.0 (Kermany et al. 2018), encoder Apache-2.0 (ImageNet)", "share": str(share),
    }  # fmt: skip
    save_file(state, path, metadata=note)
    return path


def bundle_run(configs: list[str], words: list[str], log: Path) -> None:
    files = [BUNDLE / "configs" / f"{each}.yaml" for each in configs]
    with Processes() as processes:
        processes.run(bundle_command(BUNDLE, files, words), log.with_suffix(".log"))


if __name__ == "__main__":
    main()
