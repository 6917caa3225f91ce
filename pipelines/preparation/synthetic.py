"""Generated pictures in a prepared folder: they may join training, by name, and nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipelines.errors import DatalistError, OutputError, PipelinesError, UnreadableFileError, UsageError
from pipelines.preparation.joined_faults import joined
from pipelines.preparation.raw_case import RawCase
from pipelines.preparation.report import plain
from pipelines.readers import is_synthetic

MANIFEST = "synthetic.jsonl"  # beside generated pictures: a line a picture
_KEYS = ("file", "class", "seed", "generator", "synthetic")
_ONLY_TRAINING = "generated pictures may join training only: data prepare … --synthetic FOLDER"
T = TypeVar("T")


@dataclass(frozen=True)
class SyntheticPicture:
    """A line of a manifest.

    Attributes:
        path: of the picture.
        class_name: what it was drawn as.
        seed: of its latent vector.
        generator: digest of the weights that drew it.
        held_out: see `held_out`; of the data that these learnt from, None where that is not said.
        collapsed: these are of a generator that has collapsed.
    """

    path: Path
    class_name: str
    seed: int
    generator: str
    held_out: str | None = None
    collapsed: bool = False


def read_synthetic(folder: Path) -> list[SyntheticPicture]:
    """The pictures of a folder that a generator wrote, in the order of its manifest.

    Raises:
        UnreadableFileError: no such folder, or no manifest in it, or not one of generated pictures.
        DatalistError: a file is missing, lies elsewhere, or is not marked as synthetic itself.
    """
    path, how = Path(folder) / MANIFEST, "give the folder that the bundle's generate.yaml wrote"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise UnreadableFileError(f"there is no {MANIFEST} here", where=folder, how=how) from None
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"the manifest cannot be read ({error})", where=path, how=how) from None
    root = Path(folder).resolve()
    found = []
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict) or any(key not in line for key in _KEYS) or line["synthetic"] is not True:
            raise UnreadableFileError(f"line {number} is of no generated picture", where=path, how=how)
        target = (root / str(line["file"])).resolve()
        if not target.is_relative_to(root) or not target.is_file():
            raise DatalistError(f"line {number}: there is no {str(line['file'])[:100]!r}", where=path, how=how)
        if not is_synthetic(target):
            what = "the manifest says that the picture is generated, and the file itself is not marked so"
            raise DatalistError(what, where=target, how="generate it again")
        held, collapsed = line.get("held_out"), line.get("collapsed") is True
        found.append(
            SyntheticPicture(target, str(line["class"]), int(line["seed"]), str(line["generator"]), held, collapsed)
        )
    if not found:
        raise DatalistError("the manifest names no picture", where=path, how=how)
    return found


def check_request(synthetic: Path | None, share: float | None, folds: bool) -> None:
    """Refuse what cannot be asked for.

    Raises:
        UsageError: a share of nothing, or below 0; or folds: what each leaves out, the generator may have learnt from.
    """
    if share is not None and synthetic is None:
        raise UsageError("a share is of generated pictures, and none are given", how="give --synthetic FOLDER")
    if share is not None and not 0 <= share < float("inf"):
        raise UsageError("the share of generated pictures is below 0", where=str(share), how="0.5 is half of the real")
    if synthetic is not None and folds:
        what = "the generator learnt from pictures that the folds leave out, so that no fold would be honest"
        raise UsageError(what, where=synthetic, how="leave --folds or --synthetic out")


def refuse_synthetic(path: str | Path, where: str = "among real pictures") -> None:
    """Raise DatalistError if a file is marked as synthetic (`is_synthetic`), whatever it is called."""
    if is_synthetic(path):
        raise DatalistError(f"a generated picture is {where}", where=path, how=_ONLY_TRAINING)


def within_share(classes: Sequence[T], real: Mapping[T, int], share: float | None) -> list[int]:
    """Which of generated pictures are taken: of each class the first, `share` of its real ones; all for None.

    Args:
        classes: of each generated picture.
        real: how many real pictures a class has in training.

    Returns:
        Their places in `classes`.

    Raises:
        DatalistError: there are fewer of a class.
    """
    taken: list[int] = []
    left = {name: len(classes) if share is None else round(share * number) for name, number in real.items()}
    for index, name in enumerate(classes):
        if left.get(name, 0) > 0:
            left[name] -= 1
            taken.append(index)
    short = {name: number for name, number in left.items() if number} if share is not None else {}
    if short:
        name, number = next(iter(short.items()))
        what = f"{share:g} of the {real[name]} real pictures of class {name} are wanted, and {number} generated lack"
        raise DatalistError(what, how="generate more, or ask for a smaller share")
    return taken


def check_synthetic(
    pictures: Sequence[SyntheticPicture],
    share: float | None,
    real: Mapping[str, int],
    number_of: Callable[[str], int | None],
    check: Callable[[RawCase], T],
    *,
    skip_bad: bool,
) -> tuple[list[tuple[SyntheticPicture, T]], list[PipelinesError]]:
    """Those that join training, each as `check` reads it; and the faults of those that cannot be used.

    Args:
        share, real: see `within_share`; `real` by the name of the class.
        number_of: the number of a class by its name.
        skip_bad: leave out those that cannot be used.

    Raises:
        DatalistError: they are of a class that the data do not have, or there are too few that can be used.
        PipelinesError: some cannot be used, and are not to be left out.
    """
    unknown = sorted({each.class_name for each in pictures if number_of(each.class_name) is None})
    if unknown:
        known = ", ".join(real) or "none: its labels are masks"
        raise DatalistError(
            f"generated pictures are of the class {unknown[0]!r}, and the data's classes are {known}",
            where=pictures[0].path.parent,
            how="generate pictures for these data",
        )
    usable: list[tuple[SyntheticPicture, T]] = []
    faults: list[PipelinesError] = []
    left = {name: len(pictures) if share is None else round(share * number) for name, number in real.items()}
    counted: dict[str, int] = {}
    for each in pictures:
        counted[each.class_name] = counted.get(each.class_name, 0) + 1
        if not left.get(each.class_name):
            continue
        case = f"synthetic_{each.class_name}_{counted[each.class_name]:05d}"
        try:
            usable.append((each, check(RawCase(case, case, each.path, label=number_of(each.class_name)))))
            left[each.class_name] -= 1
        except PipelinesError as fault:
            faults.append(fault)
    if faults and not skip_bad:
        raise joined(faults, len(faults) + len(usable), pictures[0].path.parent)
    within_share([each.class_name for each, _ in usable], real, share)  # raises where there are too few
    return usable, faults


def copy_synthetic(picture: SyntheticPicture, target: Path) -> None:
    """Copy the file as it is, so that its mark stays.

    Raises:
        OutputError: the copy has no mark: the file changed meanwhile.
    """
    shutil.copyfile(picture.path, target)
    if not is_synthetic(target):
        raise OutputError("the generated picture changed while it was copied", where=picture.path, how="start again")


def synthetic_facts(picture: SyntheticPicture) -> dict[str, Any]:
    """What a datalist's entry says beside what all say."""
    return {"synthetic": True, "generator": picture.generator, "seed": picture.seed}


def synthetic_lines(content: Mapping[str, Any]) -> list[str]:
    """What the report says of the generated pictures of a datalist, in Markdown; nothing where there are none."""
    numbers = content["counts"]["training"].get("synthetic")
    if not numbers:
        return []
    named = ", ".join(f"{number} {plain(name)}" for name, number in numbers.items())
    return ["", f"**Generated pictures**, in training only and not counted above: {named}."]


def held_out(patients: Collection[str]) -> str:
    """``sha256:…`` of the patients in validation and test: two splits of one dataset with the same digest keep the same
    patients from training."""
    return f"sha256:{hashlib.sha256(json.dumps(sorted(set(patients))).encode()).hexdigest()}"


def synthetic_warnings(pictures: Sequence[SyntheticPicture], held: Collection[str]) -> list[str]:
    """What weakens figures of a training with these pictures; `held` are the patients in validation and test."""
    found = []
    if any(each.held_out != held_out(held) for each in pictures):
        found.append(
            "The generator was trained on another split or other data: it may have learnt from pictures that are in "
            "validation or test here, and figures may flatter. Train it on this folder, without generated pictures."
        )
    collapsed = sorted({each.class_name for each in pictures if each.collapsed})
    if collapsed:
        found.append(f"The generator has collapsed: its pictures are nearly all alike ({', '.join(collapsed)}).")
    return found
