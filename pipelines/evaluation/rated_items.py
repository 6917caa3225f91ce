"""What a classification gave each item: a case as a whole, such as a picture, or each slice of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pipelines.errors import ConfigError

IGNORE_INDEX = -1  # the label of what has no class, unless a config says otherwise
_UNKNOWN = "unknown"  # the group of an item whose group nobody wrote down


class Doubt(Protocol):
    """What leaves items to a person, whatever their probabilities are."""

    reason: str  # of a summary: "A slice with ..., or REASON, is referred to a person"

    def __call__(self, item: Mapping[str, Any]) -> ArrayLike:
        """Of each item of a decollated case, as the evaluator has it, whether it is left to a person: (Z,) or ()."""


@dataclass(frozen=True)
class RatedItem:
    """One item of an evaluation.

    Attributes:
        number: of the slice, from the feet; None where the case is rated as a whole.
        label: 0..K-1. probabilities: of the K classes.
        path: of the image.
        doubtful: it is left to a person, whatever its probabilities are.
        group: the subgroup it is of; "" for none.
    """

    case: str
    patient: str
    number: int | None
    label: int
    probabilities: tuple[float, ...]
    path: str
    doubtful: bool = False
    group: str = ""

    @property
    def key(self) -> tuple[str, int]:
        return self.case, self.number or 0

    @property
    def confidence(self) -> float:
        return max(self.probabilities)


def rated_items(
    item: Mapping[str, Any],
    names: Sequence[str],
    *,
    ignore_index: int = IGNORE_INDEX,
    doubt: Doubt | None = None,
    group_key: str | None = None,
) -> list[RatedItem]:
    """The rated items of one decollated case: one, or as many as it has slices with a class.

    Args:
        item: ``pred``, (K,) or (K, Z) probabilities; ``label``, a class or (Z,) of them; ``case``, ``patient``, and
            ``image`` with its file's name in its meta.
        names: of the K classes.
        ignore_index: the label of what has no class, as torch calls it.
        doubt: see ``Doubt``.
        group_key: of the case's subgroup; a case of the group "unknown" is in none.

    Raises:
        ConfigError: shapes do not go together.
    """
    case, patient = str(item["case"]), str(item["patient"])
    given = torch.as_tensor(item["pred"]).detach().cpu().double().numpy()
    if given.ndim == 0 or given.shape[0] != len(names):
        raise ConfigError(f"probabilities {given.shape} do not fit the classes {', '.join(names)}", where=case)
    probabilities = given.reshape(len(names), -1).T
    labels = torch.as_tensor(item["label"]).cpu().numpy().reshape(-1)
    if len(labels) != len(probabilities):
        raise ConfigError(f"{len(probabilities)} slices are predicted and {len(labels)} have a class", where=case)
    doubtful = np.zeros(len(labels), dtype=bool) if doubt is None else np.reshape(doubt(item), -1)
    if len(doubtful) != len(labels):
        raise ConfigError(f"{len(doubtful)} slices are in doubt or not, of {len(labels)}", where=case)
    group = "" if group_key is None else str(item.get(group_key, _UNKNOWN))
    path = str(item["image"].meta["filename_or_obj"])
    return [
        RatedItem(
            *(case, patient, z if given.ndim > 1 else None, int(labels[z]), tuple(map(float, row)), path),
            doubtful=bool(doubtful[z]),
            group="" if group == _UNKNOWN else group,
        )
        for z, row in enumerate(probabilities)
        if labels[z] != ignore_index
    ]


def arrays(items: Sequence[RatedItem]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities (N, K) and labels (N,)."""
    return np.array([each.probabilities for each in items]), np.array([each.label for each in items], dtype=np.int64)
