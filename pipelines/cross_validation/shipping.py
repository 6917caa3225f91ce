"""Training on the cases of all folds, to write the weights that a bundle ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.bundle import is_installed
from pipelines.cross_validation.folds import Fold, Item, read_extras, read_folds, write_fold
from pipelines.cross_validation.plan import CrossValidation, Say, same_settings
from pipelines.cross_validation.pooling import Answers, answers
from pipelines.cross_validation.processes import Processes
from pipelines.errors import UsageError
from pipelines.files import make_folder, write_file
from pipelines.handlers import calibrated
from pipelines.sigterm import SigtermUnwinds
from pipelines.transforms import Calibration, calibration_path, confidence_path
from pipelines.weights import read_weights, weights_digest

LARGEST = 25_000_000  # bytes of a file that a bundle may have


def ship(plan: CrossValidation, say: Say, half: bool = False) -> Path:
    """Train on the cases of all folds, and write the weights of the last epoch to ``models/NETWORK.safetensors``.

    Nothing is measured: figures are those of the folds. Extra folders are trained on as in the folds, and watched.
    Without one two patients of each class (of all, where cases have masks) are watched and not trained on. Cases of an
    official test set take no part. It goes on from its last checkpoint, where there is one.

    Of a classification whose folds are measured here, the temperature, and where training chooses one the operating
    threshold, that their answers to unseen pictures or slices ask for are written beside the weights; without, those of
    earlier weights go.

    Args:
        half: floating-point tensors of more than one dimension are written in half precision.

    Raises:
        UsageError: see ``CrossValidation.check``; the bundle is installed; the training failed; there are weights of
            more than 25 MB.
        DatalistError: see ``read_folds`` and ``read_extras``.
        OutputError: a file cannot be written.
    """
    import safetensors.torch

    plan.check()
    if is_installed(plan.bundle):
        how = "python -m pipelines bundles --copy bundles; then again"
        raise UsageError("this bundle is part of the installed package, whose files stay", where=plan.bundle, how=how)
    folds = read_folds(plan.prepared)
    extras = read_extras(plan.extra, folds, plan.prepared)
    if plan.start is not None and not (plan.start / "ship" / "last.pt").is_file():
        raise UsageError("the earlier call has shipped nothing", where=plan.start, how="call it with --ship first")
    make_folder(plan.out)
    same_settings(plan.out, plan.settings(folds, extras))
    folder, content = plan.out / "ship", folds[0].content
    items = [item for fold in folds for item in fold.left_out]
    validation, test = ([], []) if extras else _watched(folds)
    trained = [item for item in items if item not in validation + test]
    sections = {"training": trained, "validation": validation, "test": test}
    data = write_fold(folder / "data", plan.prepared, content, sections, extras)
    say(f"training on {len(trained)} cases{' and the extra ones' if extras else ''}")
    with SigtermUnwinds(), Processes() as processes:
        command = plan.training(data, folder, f"{plan.name}-shipped")
        processes.run(command, folder / "train.log", progress=plan.progress(say))
    state = {
        key: (value.half() if half and value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for key, value in read_weights(folder / "last.pt").items()
    }
    note = {
        "data": f"{content['name']}, {len(trained)} cases"
        + "".join(f"; {extra.content['name']}, {len(extra.content['training'])}" for extra in extras),
        "fingerprint": str(content.get("fingerprint", "")),
        "use": "research only; data: docs/data_license.txt",
        "epochs": str(plan.epochs),
    }
    written = safetensors.torch.save(state, metadata=note)
    if len(written) > LARGEST:
        what = f"the weights are {len(written) / 1e6:.1f} MB, and a bundle's file has {LARGEST / 1e6:.0f} MB at most"
        raise UsageError(what, where=folder / "last.pt", how="none" if half else "call again with --half")
    target = plan.bundle / "models" / f"{plan.name}.safetensors"
    make_folder(target.parent)
    for beside in (calibration_path, confidence_path):
        beside(target).unlink(missing_ok=True)  # it was of other weights
    write_file(target, lambda file: file.write(written))
    found = answers(plan.out / "evaluation")
    if found is not None:
        folds_calibration(plan, found, target).write(calibration_path(target))
    return target


def folds_calibration(plan: CrossValidation, found: Answers, weights: Path) -> Calibration:
    """What the folds' answers say of the network's confidence."""
    given, labels = found.probabilities, found.labels
    thresholds, point = plan.config.get("thresholds"), plan.operating_point
    fitted = calibrated(
        given,
        labels,
        found.names,
        thresholds if isinstance(thresholds, list) else [],
        weights_digest(weights),
        positive=None if point is None else point[0],
        sensitivity=0.95 if point is None else point[1],
    )
    note = "; ".join(filter(None, ["fitted on the folds' answers to what they did not see", fitted.note]))
    return replace(fitted, note=note)


def _watched(folds: Sequence[Fold]) -> tuple[list[Item], list[Item]]:
    """Cases to validate and to test, which a datalist must have: of a patient of each class, where there are classes,
    and of another."""
    items = [item for fold in folds for item in fold.left_out]
    taken: set[str] = set()
    parts = []
    for _ in range(2):
        chosen: set[str] = set()
        for kind in sorted({_kind(item) for item in items}):
            own = [each["patient"] for each in items if _kind(each) == kind and each["patient"] not in taken | chosen]
            chosen |= set(own[-1:])
        parts.append([each for each in items if each["patient"] in chosen])
        taken |= chosen
    return parts[0], parts[1]


def _kind(item: Item) -> int:
    return item["label"] if isinstance(item["label"], int) else 0
