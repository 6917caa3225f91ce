"""Audits without trainings: what networks predict is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.comparison.cases import ItemTable
from pipelines.cross_validation import CrossValidation
from pipelines.synthetic_audit.plan import Arm, Audit, Training
from pipelines.synthetic_audit.trainings import Measured

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
BUNDLE = BUNDLES / "chest_xray_pneumonia_classification"
GENERATORS = [BUNDLES / "chest_xray_gan" / "models" / f"dcgan_{name}.safetensors" for name in ("normal", "pneumonia")]
NAMES = ("normal", "pneumonia")
ARMS = (Arm(0.0, False), Arm(0.0, True), Arm(0.5, False), Arm(1.0, False))


def made_table(number: int, wrong: int, seed: int, name: str = "case") -> ItemTable:
    """Of ``number`` items of as many patients, half of each class, the first ``wrong`` of a drawn order predicted
    wrongly; with the same seed fewer wrong ones are among the more."""
    labels = np.arange(number) % 2
    predicted = labels.copy()
    places = np.random.default_rng(seed).permutation(number)[:wrong]
    predicted[places] = 1 - predicted[places]
    share = np.where(predicted == 1, 0.8, 0.2)
    items = tuple(f"{name}{k}" for k in range(number))
    return ItemTable(items, items, items, labels, predicted, np.stack([1 - share, share], axis=1), NAMES)


def made_measured(
    wrong: dict[tuple[str, Arm], list[int]], number: int = 200, generated_wrong: int = 0
) -> list[Measured]:
    """Trainings of each network and arm, which predict so many real cases wrongly with seeds 0, 1, ...; of as many
    generated ones ``generated_wrong``."""
    found = []
    for (network, arm), numbers in wrong.items():
        for seed, each in enumerate(numbers):
            plan = CrossValidation(BUNDLE, Path("data"), Path("out"), "sqlite:///none.db", network)
            training = Training(network, arm, seed, 2, 100, 20, plan)
            generated = made_table(number, generated_wrong, seed, "made")
            found.append(Measured(training, made_table(number, each, seed), generated, f"run{seed}", 3.0))
    return found


def made_audit(folder: Path, prepared: Path, uri: str = "sqlite:///none.db", **more: object) -> Audit:
    settings = {"networks": ["chest_cnn"], "seeds": (0, 1), "shares": (1.0,), "epochs": 2, **more}
    settings.setdefault("knobs", ["--batch_size", "8"])
    return Audit(BUNDLE, prepared, GENERATORS, folder, uri, **settings)  # type: ignore[arg-type]
