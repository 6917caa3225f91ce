"""Makes the skin lesion bundle's shipped weights, and measures them against earlier ones on pictures they did not see.

    python -m pipelines data prepare skin_lesions --raw isic2016 --further-raw isic2018_more skin_lesions \\
        --test-names benchmarks/skin_held_out.txt --validation 0.03 --out data/skin
    python benchmarks/skin_shipping.py data/skin --encoder_weights FILE --out skin_shipped --ship \\
        --earlier EARLIER.safetensors --earlier_size 128

The schedule is fixed and the last epoch's weights are taken: validation chooses nothing. Where the training was ended,
the same command goes on. Further ``--KNOB VALUE`` go to training and measuring. The figures are of the file that is
shipped, in half precision: by source, and paired with the earlier weights on the same pictures. The worst pictures are
named, and drawn in OUT/evaluation.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from pipelines.cross_validation import Processes, bundle_command
from pipelines.evaluation import bootstrap_interval, paired_difference
from pipelines.weights import read_weights, save_weights

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "skin_lesion_segmentation"
METRICS = ("dice", "iou", "thresholded_iou", "sensitivity", "specificity", "hd95_px")
Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--network", default="skips")
    parser.add_argument("--encoder_weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--average", type=Path, help="the --out of an earlier leg: the mean of its weights and these")
    parser.add_argument("--earlier", type=Path, help="weights to compare with")
    parser.add_argument("--earlier_network", default="skips")
    parser.add_argument("--earlier_size", type=int, default=128)
    parser.add_argument("--ship", action="store_true", help="write the bundle's models/NETWORK.safetensors")
    args, knobs = parser.parse_known_args()
    out, data = args.out.absolute(), args.prepared.absolute()
    words = ["--dataset_dir", str(data), "--ckpt_dir", str(out), *knobs]
    if not (out / "trained").is_file():
        own = ["--encoder_weights", str(args.encoder_weights.absolute()), "--patience", "1000"]
        resume = ["--resume", "True"] if (out / "last.pt").is_file() else []
        bundle_run(["train", f"networks/{args.network}"], [*words, *own, *resume], out / "train.log")
        (out / "trained").touch()
    legs = [out / "last.pt", *([args.average / "last.pt"] if args.average else [])]
    weights = half_precision(legs, out / f"{args.network}.safetensors", data)
    rows = measured(args.network, [*words, "--checkpoint", str(weights)], out / "evaluation")
    text = table({"these weights": rows})
    if args.earlier:
        size = f"[{args.earlier_size},{args.earlier_size}]"
        own = ["--dataset_dir", str(data), "--checkpoint", str(args.earlier.absolute()), "--image_size", size]
        before = measured(args.earlier_network, [*own, "--track", "False"], out / "earlier")
        text = table({"these weights": rows, "earlier": before}) + "\n\n" + paired(rows, before)
    text += "\n\n" + worst(rows)
    print(text)
    (out / "results.md").write_text(text + "\n")
    if args.ship:
        shutil.copyfile(weights, BUNDLE / "models" / weights.name)


def half_precision(trained: Sequence[Path], path: Path, data: Path) -> Path:
    """Writes the mean of weights as they are shipped: tensors of more than one dimension in half precision."""
    content = json.loads((data / "datalist.json").read_text())
    states = [read_weights(each) for each in trained]
    state = {}
    for key, value in states[0].items():
        if value.is_floating_point():
            value = torch.stack([each[key] for each in states]).mean(dim=0)
        state[key] = value.half() if value.is_floating_point() and value.ndim > 1 else value
    note = {
        "data": f"{content['name']}, {len(content['training'])} pictures", "fingerprint": content["fingerprint"],
        "use": "research only; data: docs/data_license.txt",
    }  # fmt: skip
    save_weights(state, path, note)
    return path


def measured(network: str, words: Sequence[str], output: Path) -> list[Row]:
    """The rows of ``cases.csv``, measured once."""
    if not (output / "cases.csv").is_file():
        words = [*words, "--group", "source", "--keep_masks", "0", "--output_dir", str(output)]
        bundle_run(["train", f"networks/{network}", "evaluate"], words, output.with_suffix(".log"))
    with (output / "cases.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def bundle_run(configs: Sequence[str], words: Sequence[str], log: Path) -> None:
    files = [BUNDLE / "configs" / f"{each}.yaml" for each in configs]
    log.parent.mkdir(parents=True, exist_ok=True)
    with Processes() as processes:
        processes.run(bundle_command(BUNDLE, files, words), log)


def value(row: Row, metric: str) -> float:
    return float(row[f"lesion_{metric}"]) if row[f"lesion_{metric}"] else float("nan")


def by_source(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return {name: [r for r in rows if r["group"] == name] for name in sorted({r["group"] for r in rows})}


def table(found: dict[str, list[Row]]) -> str:
    """Means with intervals over patients, by source; and how many pictures have a Dice under 0.5."""
    lines = [f"| weights | source | pictures | {' | '.join(METRICS)} | Dice under 0.5 |"]
    lines.append("|---|---|---:|" + "---|" * len(METRICS) + "---:|")
    for weights, rows in found.items():
        for source, own in {**by_source(rows), "all": rows}.items():
            cells = []
            for metric in METRICS:
                each = bootstrap_interval([value(r, metric) for r in own], [r["patient"] for r in own])
                cells.append(f"{each.estimate:.3f} ({each.low:.3f} to {each.high:.3f})")
            poor = sum(value(r, "dice") < 0.5 for r in own)
            lines.append(f"| {weights} | {source} | {len(own)} | {' | '.join(cells)} | {poor} |")
    return "\n".join(lines)


def paired(rows: Sequence[Row], before: Sequence[Row]) -> str:
    """Dice of these weights less that of the earlier ones, picture by picture."""
    lines = ["| source | Dice, these less the earlier | p (Wilcoxon) | better, worse |", "|---|---|---:|---:|"]
    others = {row["case"]: row for row in before}
    for source, own in {**by_source(rows), "all": list(rows)}.items():
        dice: Callable[[Row], float] = lambda row: value(row, "dice")  # noqa: E731
        found = paired_difference(
            [dice(r) for r in own], [dice(others[r["case"]]) for r in own], [r["patient"] for r in own]
        )
        gap = found.difference
        lines.append(
            f"| {source} | {gap.estimate:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}) | {found.p_value:.2g} "
            f"| {found.wins}, {found.losses} |"
        )
    return "\n".join(lines)


def worst(rows: Sequence[Row], number: int = 20) -> str:
    lines = ["| picture | source | Dice | sensitivity | specificity |", "|---|---|---:|---:|---:|"]
    for row in sorted(rows, key=lambda each: value(each, "dice"))[:number]:
        cells = " | ".join(f"{value(row, metric):.3f}" for metric in ("dice", "sensitivity", "specificity"))
        lines.append(f"| {row['case']} | {row['group']} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
