"""What each kind of bundle must pass beside what any must: the table that ``@pytest.mark.contract(TRAIT, …)`` reads.

A bundle declares its kind in ``configs/metadata.json``: by the key ``kind``, or by the format of its output ``pred``.
One of a kind that is not in ``KINDS`` (an autoencoder, a GAN: no ``label_names``, several optimisers, several whole
configs) gets the tests without a mark, and those of the traits that it turns out to have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bundle_under_test import Bundle

# what a kind is expected to have; SUPERVISED: train, evaluate and inference by MONAI's trainer and evaluator, on
# phantoms, with labels, networks by overlay, checkpoints and a run that is tracked; GENERATIVE: a generator and what
# judges it are trained against each other, a network of configs/networks a class, and pictures are drawn and marked
KINDS: dict[str, frozenset[str]] = {
    "segmentation": frozenset({"supervised", "segmentation"}),
    "classification": frozenset({"supervised", "classification"}),
    "generation": frozenset({"generative"}),
}


def schedules(bundle: Bundle) -> list[dict[str, Any]]:
    """The OneCycle schedules of the whole configs, whatever they are called there."""
    found: list[dict[str, Any]] = []
    for name in bundle.whole:
        values = [value for value in bundle.written(name).values() if isinstance(value, dict)]
        found += [each for each in values if str(each.get("_target_", "")).endswith("OneCycleLR")]
    return found


# traits that are no matter of the kind: (whether a bundle has it, what is said of one that has not)
FOUND: dict[str, tuple[Callable[[Bundle], bool], str]] = {
    "weights": (lambda bundle: bool(bundle.shipped), "the bundle ships no weights"),
    "card": (lambda bundle: bool(bundle.shipped) or bundle.has_card, "there are no weights that a card could be of"),
    "schedule": (lambda bundle: bool(schedules(bundle)), "no whole config has a OneCycle schedule"),
    "autoencoder": (lambda bundle: "train_autoencoder" in bundle.whole, "the bundle trains no autoencoder"),
    "phantoms": (lambda bundle: bool(bundle.phantoms), "the registry has no phantoms of the bundle's dataset"),
}


def has_trait(bundle: Bundle, trait: str) -> bool:
    """Whether a trait is a bundle's. KeyError: there is no such trait."""
    if trait in FOUND:
        return FOUND[trait][0](bundle)
    if not any(trait in traits for traits in KINDS.values()):
        raise KeyError(trait)
    return trait in KINDS.get(bundle.kind, ())


def demand(bundle: Bundle, *traits: str) -> None:
    """Skips the test if one of these is not the bundle's, and says which."""
    for trait in traits:
        if not has_trait(bundle, trait):
            pytest.skip(FOUND[trait][1] if trait in FOUND else f"not for the kind {bundle.kind}: {trait}")
