"""The datasets that there are, as plain data: the task each belongs to, and what prepares it and draws its phantoms.

Whoever adds a task writes its room and a line here. Nothing is imported before it is used, so that ``--help`` is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Option:
    """An option of ``data prepare`` or ``data phantom`` that not every dataset has.

    Attributes:
        argument: of the function that it is handed to.
        kind: int, float, str, Path, list for one or more words, or bool for a switch.
        help: a clause.
        choices: of a word or number.
    """

    argument: str
    kind: type
    help: str
    choices: tuple[str, ...] | tuple[int, ...] | None = None


@dataclass(frozen=True)
class Dataset:
    """One dataset.

    Attributes:
        name: as ``data prepare NAME`` has it; ``data/NAME.yaml`` is its card.
        task: its room in ``pipelines.tasks``.
        prepare: "MODULE:FUNCTION" in that room, which takes (*fixed, raw, out) and options.
        fixed: what it is told first.
        phantom: "MODULE:FUNCTION", which takes (out) and options; None where there is none.
        prepare_options, phantom_options: beyond those that all datasets have.
    """

    name: str
    task: str
    prepare: str
    fixed: tuple[str, ...] = ()
    phantom: str | None = None
    prepare_options: Mapping[str, Option] = field(default_factory=dict)
    phantom_options: Mapping[str, Option] = field(default_factory=dict)

    def preparer(self) -> Callable[..., Any]:
        """The function that prepares it."""
        return self._function(self.prepare)

    def phantoms(self) -> Callable[..., Any]:
        """The function that draws its phantoms.

        Raises:
            LookupError: it has none.
        """
        if self.phantom is None:
            raise LookupError(self.name)
        return self._function(self.phantom)

    def _function(self, named: str) -> Callable[..., Any]:
        module, function = named.split(":")
        return getattr(import_module(f"pipelines.tasks.{self.task}.{module}"), function)


@dataclass(frozen=True)
class Part:
    """A label that lies within another, and is measured as its share of both.

    Attributes:
        whole: the name of the other label.
        floor_share: of a slice's, or a volume's, voxels: of less of the whole there is no share.
        floor_ml: in a volume, so much of the whole suffices.
    """

    whole: str
    floor_share: float
    floor_ml: float


# By name, in masks that have both labels. Other labels are measured by themselves.
PARTS = {"lesion": Part("lung", floor_share=0.01, floor_ml=100.0)}

_SYNTHETIC = {
    "--synthetic": Option("synthetic", Path, "a folder of generated pictures, which join training and nothing else"),
    "--synthetic-share": Option(
        "synthetic_share", float, "take of each class as many as this share of its real ones in training (default all)"
    ),
}
_SKIN = "prepare:prepare_skin_lesions"
_JOINED = {
    "--further-raw": Option("further_raw", list, "raw folders whose cases join those of --raw"),
    "--test-names": Option("test_names", Path, "a file with the names of the cases that are tested, a line each"),
}
DATASETS = {
    each.name: each
    for each in (
        Dataset(
            "covid_ct",
            "lung_ct",
            "prepare:prepare_covid_ct",
            phantom="prepare:phantom_covid_ct",
            prepare_options={
                "--mask-values": Option(
                    "mask_values", str, "DICOM series: what the values of the masks mean", ("lung-lesion", "lesion")
                ),
                "--further-raw": Option("further_raw", list, "raw folders whose cases join those of --raw"),
                "--deidentify": Option(
                    "deidentify", bool, "DICOM series: apply PS3.15's basic profile, keep these series, forget names"
                ),
            },
            phantom_options={
                "--slices": Option("slices", int, "of each scan (default 24)"),
                "--format": Option(
                    "file_format", str, "default nifti; both only with --raw", ("nifti", "dicom", "both")
                ),
                "--clear-cut": Option("clear_cut", bool, "no slice near a threshold of severity"),
            },
        ),
        Dataset(
            "isic2016", "dermoscopy", _SKIN, ("isic2016",), phantom="phantoms:phantom_isic2016", prepare_options=_JOINED
        ),
        Dataset("ph2", "dermoscopy", _SKIN, ("ph2",), prepare_options=_JOINED),
        Dataset("skin_lesions", "dermoscopy", _SKIN, ("skin_lesions",), prepare_options=_JOINED),
        Dataset(
            "chest_xray",
            "chest_xray",
            "prepare:prepare_chest_xray",
            phantom="phantoms:phantom_chest_xray",
            prepare_options=_SYNTHETIC,
        ),
        Dataset(
            "pairs",
            "general",
            "pairs:prepare_pairs",
            phantom="phantoms:phantom_pairs",
            prepare_options={
                "--labels": Option("labels", list, "names of the masks' values in their order, background first")
            },
            phantom_options={
                "--dims": Option("dims", int, "3 for volumes (default), 2 for pictures", (2, 3)),
                "--labels": Option("labels", list, "names of what is drawn, background first (default two)"),
            },
        ),
        Dataset(
            "classes",
            "general",
            "classes:prepare_classes",
            phantom="phantoms:phantom_classes",
            prepare_options={
                "--classes": Option("classes", list, "the class folders in their order (default by name)"),
                **_SYNTHETIC,
            },
            phantom_options={
                "--classes": Option("classes", int, "how many (default 2)", (2, 3)),
                "--names": Option("names", list, "what they are called, in the place of --classes"),
            },
        ),
    )
}
