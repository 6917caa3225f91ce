"""A bundle's model card: made of what a run recorded and of what its authors say, a page beside the bundle's README.

``docs/model_card.json`` is the record, taken from a run of the tracking store; ``docs/model_card.yaml`` says what no
run knows. The page, ``docs/model_card.md``, follows from these two and ``configs/metadata.json`` alone, so that a test
can hold card and run together without the store. Its parts are those of Mitchell et al., Model Cards for Model
Reporting, 2019 (https://arxiv.org/abs/1810.03993), and of CLAIM: Mongan, Moy and Kahn, Checklist for Artificial
Intelligence in Medical Imaging, Radiology: Artificial Intelligence 2:e200029, 2020.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.bundle import GENERATION, bundle_kind
from pipelines.card_sections import card_table, images_known, masks_trusted, read_part
from pipelines.comparison.runs import Run, Store
from pipelines.errors import UnreadableFileError, UsageError
from pipelines.files import markdown_cell, text, write_file
from pipelines.promotion import find_run
from pipelines.transforms import calibration_path
from pipelines.weights import weights_digest

_NOTE = "<!-- made by `python -m pipelines card` of model_card.json and model_card.yaml: change those, not this -->"
CARD, RECORD, WORDS = "model_card.md", "model_card.json", "model_card.yaml"
SAYS = ("intended_use", "out_of_scope", "limits", "evidence", "claim")
# Items of CLAIM that a model can answer: 1, 2 and 4 are about a paper.
CLAIM = {
    3: "intended use",
    5: "prospective or retrospective",
    6: "goal of the study",
    7: "sources of the data",
    8: "eligibility",
    9: "preprocessing",
    10: "subsets of the data",
    11: "definitions of data elements",
    12: "de-identification",
    13: "missing data",
    14: "reference standard",
    15: "why this reference standard",
    16: "who annotated",
    17: "annotation tools",
    18: "variability between annotators",
    19: "intended sample size",
    20: "how the data were divided",
    21: "level at which the parts are disjoint",
    22: "model",
    23: "software",
    24: "first values of the parameters",
    25: "training",
    26: "how the final model was chosen",
    27: "ensembling",
    28: "metrics",
    29: "statistics",
    30: "robustness",
    31: "explainability",
    32: "external data",
    33: "flow of cases",
    34: "demographics of each part",
    35: "performance",
    36: "precision of the estimates",
    37: "analysis of failures",
    38: "limits",
    39: "implications for practice",
    40: "registration",
    41: "protocol and code",
    42: "funding",
}
_KNOBS = ("epochs", "batch_size", "learning_rate", "weight_decay", "balancing", "patience", "seed", "amp")
# of a generator: `pipelines.generation.Diversity`
_OF_GENERATOR = ("relative_difference", "relative_spread", "sample_ssim", "real_ssim", "collapsed")
_SAMPLES = 64
_IS_OF_CLASS = re.compile(r"\w+_(sensitivity|specificity|f1|auc)")
_HEAD = ("metric", "value", "95 % interval", "number")
_NOT_STATED = "not stated"


def record_run(store: Store, wanted: str, bundles: Path) -> tuple[Path, dict[str, Any]]:
    """The bundle of a run, and what its card needs of it.

    Args:
        store: open.
        wanted: a run's id, the beginning of one, or its name.
        bundles: the folder of bundles.

    Raises:
        UsageError: no such run, or several; it did not finish, is of no bundle here, has no evaluation, or was made on
            phantoms.
        TrackingError: the store cannot be read.
    """
    run = find_run(store, wanted)
    bundle = bundles / run.experiment
    if not (bundle / "configs" / "metadata.json").is_file():
        raise UsageError(f"the run {run.name} is of {run.experiment}, and there is no such bundle", where=bundles)
    if run.status != "FINISHED":
        raise UsageError(f"the run {run.name} is {run.status}", how="take a run that is FINISHED")
    if run.params.get("data_phantom") == "True":
        raise UsageError(f"the run {run.name} was made on phantoms", how="a card is about pictures of patients")
    generates = bundle_kind(bundle) == GENERATION
    summary = _generated(run) if generates else _json_of(store, run, "evaluation/summary.json")
    if not summary:
        raise UsageError(f"the run {run.name} has no evaluation", how="run the bundle's evaluate.yaml on it first")
    evaluated = _counts(store.file(run, "evaluation/cases.csv"))
    checkpoint = run.tags.get("checkpoint") or run.tags.get("best_checkpoint") or ""
    beside = calibration_path(checkpoint) if checkpoint else None
    return bundle, {
        "run": {
            "name": run.name,
            "id": run.run_id,
            "started": _day(run.started),
            "commit": run.tags.get("git_commit", ""),
            "uncommitted_changes": run.tags.get("git_dirty") == "true",
        },
        "network": run.network,
        "parameters": int(run.params.get("parameters", 0)),
        "weights": shipped(bundle, run.network, Path(checkpoint)),
        "data": {
            "name": run.params.get("data_name", ""),
            "fingerprint": run.params.get("data_fingerprint", ""),
            "split": _loaded(run.params.get("data_split", "")),
            "cases": _cases(run, evaluated["cases"]),
        },
        "knobs": {name: run.params[name] for name in _KNOBS if name in run.params},
        "software": {
            name.removeprefix("version_"): value
            for name, value in sorted(run.tags.items())
            if name.startswith("version_")
        },
        "evaluated": {"samples": _SAMPLES} if generates else evaluated,
        "metrics": _without_duplicates(summary),
        "groups": _json_of(store, run, "evaluation/groups.json"),
        "calibration": _calibration(_loaded(beside.read_text()) if beside is not None and beside.is_file() else {}),
    }


def shipped(bundle: Path, network: str, checkpoint: Path) -> dict[str, Any] | None:
    """A network's shipped weights: file, digest, and whether ``checkpoint`` holds the same; None if there are none.

    Raises:
        UnreadableFileError, WeightsError: see ``read_weights``.
    """
    path = bundle / "models" / f"{network}.safetensors"
    if not path.is_file():
        return None
    digest = weights_digest(path)
    same = checkpoint.is_file() and weights_digest(checkpoint) == digest
    return {"file": path.name, "digest": digest, "measured": same}


def write_card(bundle: Path, record: Mapping[str, Any] | None = None) -> Path:
    """Keeps a record, if one is given, and writes the card anew, ``docs/model_card.md``; the card's path.

    Raises:
        UnreadableFileError: a file of the card is missing or damaged; record and card are left as they were.
        OutputError: a file cannot be written.
    """
    docs = bundle / "docs"
    card = render(bundle, record)  # first: a fault leaves record and card as they were
    if record is not None:
        write_file(docs / RECORD, text(json.dumps(record, indent=2, allow_nan=False) + "\n"))
    write_file(docs / CARD, text(card))
    return docs / CARD


def render(bundle: Path, record: Mapping[str, Any] | None = None) -> str:
    """The card of a bundle, Markdown, from its record (the one it has, unless another is given), words and metadata.

    Raises:
        UnreadableFileError: one of them is missing, damaged, or lacks a part.
    """
    record = read_part(bundle / "docs" / RECORD) if record is None else record
    words = read_part(bundle / "docs" / WORDS)
    metadata = read_part(bundle / "configs" / "metadata.json")
    missing = [name for name in SAYS if name not in words]
    unknown = sorted(set(words.get("claim") or {}) - set(CLAIM))
    if missing or unknown:
        what = f"{missing[0]} is missing" if missing else f"CLAIM has no item {unknown[0]}, or it is about a paper"
        raise UnreadableFileError(
            f"the words of the model card are not complete: {what}", where=bundle / "docs" / WORDS
        )
    lines = [
        f"# Model card of {bundle.name}",
        "",
        _NOTE,
        "",
        "What the bundle does and how to use it: [README](README.md).",
        "",
        *card_table(("", ""), _about(record, words)),
        "## Intended use",
        "",
        f"{metadata['intended_use']} {words['intended_use']}",
        "",
        f"Not for: {words['out_of_scope']}",
        "",
        "## Figures",
        "",
        *card_table(_HEAD, _figures(record["metrics"])),
    ]
    if record.get("groups"):
        lines += ["## Subgroups", "", *_subgroups(record["groups"])]
    if "samples" not in record["evaluated"]:
        lines += ["## Calibration", "", _calibrated(record.get("calibration") or {}), ""]
    lines += [*images_known(bundle), *masks_trusted(bundle)]
    lines += ["## Limits", ""]
    lines += [f"- {limit}" for limit in words["limits"]]
    lines += ["", "## CLAIM", "", "Items of the checklist (Mongan et al. 2020) that a model can answer.", ""]
    answers = _claims(record, words, metadata)
    lines += card_table(("item", "about", "answer"), [(str(n), CLAIM[n], answers.get(n) or _NOT_STATED) for n in CLAIM])
    return "\n".join(lines).rstrip() + "\n"


def _about(record: Mapping[str, Any], words: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    data, run, weights = record["data"], record["run"], record["weights"]
    yield "network", f"{record['network']}, {record['parameters']:,} parameters"
    yield "weights", f"`models/{weights['file']}`, {_short(weights['digest'])}" if weights else "none are shipped"
    if weights and not weights["measured"]:
        yield "measured", "other weights than the shipped ones"
    yield "figures are of", words["evidence"]
    changed = " with uncommitted changes" if run.get("uncommitted_changes") else ""
    made = f", commit {run['commit'][:10]}{changed}" if run.get("commit") else ""
    yield "run", f"{markdown_cell(run['name'])}, {run['started']}{made}"
    yield "data", f"{markdown_cell(data['name'])}, {_short(data['fingerprint'])}; {_counted(data['cases'])}"
    counts = record["evaluated"]
    if "samples" in counts:
        yield "measured on", _drawn(counts["samples"])
    else:
        patients = f"{counts['patients']} patients, where an unknown one counts for each case"
        yield "measured on", f"{counts['cases']} cases of {patients}"
    yield "software", ", ".join(f"{name} {version}" for name, version in record["software"].items())


def _figures(metrics: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, each in metrics.items():
        bounds = "–" if each["low"] is None else f"{each['low']:.3f} to {each['high']:.3f}"
        value = "–" if each["estimate"] is None else f"{each['estimate']:.3f}"
        rows.append((f"`{name}`", value, bounds, str(each["n"])))
    return rows


def _subgroups(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """A row a group, a column a metric, with the intervals."""
    names = list(dict.fromkeys(name for found in groups.values() for name in found))
    rows: list[tuple[str, ...]] = []
    for group, found in groups.items():
        number = max(each["n"] for each in found.values())
        figures = {name.strip("`"): f"{value} ({bounds})" for name, value, bounds, _ in _figures(found)}
        rows.append((group, str(number), *(figures.get(name, "–") for name in names)))
    return card_table(("group", "number", *(f"`{name}`" for name in names)), rows)


def _calibrated(found: Mapping[str, Any]) -> str:
    if not found:
        return "No temperature was fitted: what the network gives is no calibrated probability."
    said = (
        f"Temperature {found['temperature']:.3f}, fitted on {found['items']} unseen items: expected calibration error "
        f"{found['ece_before']:.3f} before and {found['ece_after']:.3f} after it, on the same items."
    )
    point = found.get("operating_point")
    if point:
        said += (
            f" {point['positive'].capitalize()} is said from a probability of {point['threshold']:.3f} "
            f"({point['rule']}; sensitivity {point['sensitivity']:.3f}, specificity {point['specificity']:.3f} there)."
        )
    return said


def _claims(record: Mapping[str, Any], words: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[int, str]:
    """The answers by item: what the record and the metadata say, and over it what the authors say."""
    data, knobs = record["data"], record["knobs"]
    found = {
        3: "as under Intended use",
        6: metadata["task"],
        7: metadata["data_source"],
        9: "as in the [README](README.md), the same in training and inference",
        20: f"{data['split'].get('rule', _NOT_STATED)}; seed {data['split'].get('seed', _NOT_STATED)}",
        21: "the patient, where the data tell who is one",
        22: f"{record['network']}: {metadata['description']}; input and output in `configs/metadata.json`",
        23: ", ".join(f"{name} {version}" for name, version in record["software"].items()),
        25: ", ".join(f"{name} {value}" for name, value in knobs.items()),
        28: "as under Figures, defined in [metrics](../../../docs/reference/metrics.md)",
        29: "95 % intervals by bootstrap over patients; paired tests, with Holm's correction, by `pipelines compare`",
        33: f"{_counted(data['cases'])}; measured on {_number(record['evaluated'])}",
        35: "as under Figures",
        36: "intervals as under Figures",
        38: "as under Limits",
        39: "as under Intended use",
        41: "configs and code of this project; the commands are in the [README](README.md)",
    }
    return found | {int(item): str(answer) for item, answer in (words["claim"] or {}).items()}


def _generated(run: Run) -> dict[str, Any]:
    """How much the samples of a generator's run differ, after its last epoch; nothing where that was not watched."""
    found = {name: run.metrics[name] for name in _OF_GENERATOR if name in run.metrics}
    return {name: {"estimate": value, "low": None, "high": None, "n": _SAMPLES} for name, value in found.items()}


def _drawn(samples: int) -> str:
    return f"{samples} generated pictures beside as many real ones of the training set"


def _number(evaluated: Mapping[str, int]) -> str:
    return _drawn(evaluated["samples"]) if "samples" in evaluated else str(evaluated["cases"])


def _without_duplicates(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Without a class's own scores where the set's are the same: of two classes, one is the other's mirror."""
    names = [name.partition("_")[::2] for name in summary]
    duplicates = {
        f"{part}_{name}" for part, name in names if f"{part}_sensitivity" in summary and _IS_OF_CLASS.fullmatch(name)
    }
    return {name: each for name, each in summary.items() if name not in duplicates}


def _calibration(content: Mapping[str, Any]) -> dict[str, Any]:
    if not content:
        return {}
    kept = {name: content[name] for name in ("temperature", "ece_before", "ece_after")}
    return {
        **kept,
        "items": content.get("items", content.get("slices")),
        "operating_point": content.get("operating_point"),
    }


def _json_of(store: Store, run: Run, name: str) -> dict[str, Any]:
    path = store.file(run, name)
    return {} if path is None else dict(_loaded(path.read_text(encoding="utf-8")))


def _loaded(content: str) -> Any:
    try:
        return json.loads(content) if content else {}
    except ValueError:
        return {}


def _counts(cases: Path | None) -> dict[str, int]:
    if cases is None:
        return {"cases": 0, "patients": 0}
    with cases.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {"cases": len(rows), "patients": len({row["patient"] for row in rows})}


def _cases(run: Run, evaluated: int) -> dict[str, int]:
    if "folds" in run.tags:
        return {f"in {run.tags['folds']} folds": evaluated}
    parts = ("training", "validation", "test")
    return {part: int(run.params[f"data_{part}_cases"]) for part in parts if f"data_{part}_cases" in run.params}


def _day(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{datetime.fromtimestamp(milliseconds / 1000, tz=UTC):%Y-%m-%d}"


def _short(digest: str) -> str:
    return digest[:19] + "…" if digest else "fingerprint not recorded"


def _counted(cases: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {part}" for part, count in cases.items())
