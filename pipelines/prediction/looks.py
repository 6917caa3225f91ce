"""What images a bundle knows, fitted on those that it was trained on; and how often others are told from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from monai.transforms import Compose
from numpy.typing import NDArray
from scipy import stats

from pipelines.bundle import meet_demands
from pipelines.errors import ConfigError, PipelinesError, UsageError
from pipelines.prediction.opening import fault_behind
from pipelines.preparation.cases import look_for_cases
from pipelines.preparation.datalist import files, is_prepared
from pipelines.transforms.looks import Looks, fit_look, limits_for, look_of

logger = logging.getLogger(__name__)
LOOKS = Path("configs") / "looks.safetensors"
MOST, MOST_MEASURED = 2000, 600  # images that a look is fitted on, and of each kind that is measured
Say = Callable[[str], object]
Seen = tuple[Mapping[str, Any], NDArray[np.float32], tuple[float, float]]


@dataclass(frozen=True)
class Told:
    """How the images of one kind are taken.

    Attributes:
        name: of the kind.
        own: they are of the kind that the bundle is for.
        images: how many.
        unreadable: refused while they are read, by the checks that every image gets.
        refused: beyond 1.2 of the limit (``limits_for``).
        doubtful: between the limit and that.
        middle: the median distance, in the limit; of those that are read.
    """

    name: str
    own: bool
    images: int
    unreadable: int
    refused: int
    doubtful: int
    middle: float

    @property
    def row(self) -> list[str]:
        """Cells of a table: shares with exact 95 % intervals (Clopper and Pearson)."""
        told = (self.unreadable, self.refused, self.doubtful)
        shares = [_share(each, self.images) for each in (*told[:2], self.unreadable + self.refused, told[2])]
        return [self.name, "own" if self.own else "other", f"{self.images}", *shares, f"{self.middle:.2f}"]


HEAD = [
    "images",
    "kind",
    "number",
    "not read",
    "refused as unlike",
    "refused in all",
    "said to be doubtful",
    "distance",
]


class Reader:
    """Images as a bundle's network gets them: its ``deterministic_transforms``, nothing else of it.

    Raises:
        UsageError: it has no ``configs/inference.yaml``.
        ConfigError: that cannot be used.
        UntrustedBundleError: see ``meet_demands``.
    """

    def __init__(self, bundle: Path) -> None:
        config = bundle / "configs" / "inference.yaml"
        if not config.is_file():
            raise UsageError("this is not a bundle with configs/inference.yaml", where=bundle, how="give its folder")
        meet_demands(bundle)
        parser = ConfigParser()
        try:
            parser.read_config(str(config))
            parser["bundle_root"] = str(bundle.absolute())
            parser.get_parsed_content("imports")
            self._transform = Compose(parser.get_parsed_content("deterministic_transforms"))
        except Exception as error:
            raise ConfigError(f"the preprocessing cannot be used ({error})", where=config) from error

    def look(self, item: Mapping[str, Any]) -> tuple[NDArray[np.float32], tuple[float, float]]:
        """Features (N, F) of an item's ``image``, a path, and its ``limits_for``.

        Raises:
            PipelinesError: it cannot be read, or is refused.
        """
        try:
            image = self._transform({"image": str(item["image"])})["image"]
            return look_of(image), limits_for(image)
        except RuntimeError as error:
            raise fault_behind(error) or error from None

    def looks(
        self, items: Sequence[Mapping[str, Any]]
    ) -> list[tuple[Mapping[str, Any], NDArray[np.float32], tuple[float, float]]]:
        """Those that can be read, with what ``look`` says of them."""
        found = []
        for item in items:
            try:
                found.append((item, *self.look(item)))
            except PipelinesError as error:
                logger.info("%s", error)
        return found


def images_of(places: Sequence[Path], sections: Sequence[str]) -> list[dict[str, Any]]:
    """The images of prepared folders' sections, and of any other folders.

    Raises:
        DatalistError: see ``files``.
        UnreadableFileError: there is nothing to read.
    """
    found: list[dict[str, Any]] = []
    for place in places:
        if is_prepared(place):
            found += [item for section in sections for item in files(place, "datalist.json", section)]
        else:
            found += look_for_cases(place)[0]
    return found


def fit_looks(bundle: Path, prepared: Path, also: Mapping[str, Sequence[Path]], say: Say) -> Looks:
    """Fit what a bundle's images look like on the training part of a prepared folder.

    Args:
        also: further kinds that are to be taken, by name: prepared folders (their training part) or any folder.

    Raises:
        ConfigError: fewer than 20 images of a kind can be read.
        DatalistError, UnreadableFileError: see ``images_of``.
    """
    reader, known = Reader(bundle), []
    for name, places in {prepared.name: [prepared], **also}.items():
        chosen = _some(images_of(places, ["training"]), MOST)
        say(f"looking at {len(chosen)} images of {name}")
        looks = reader.looks(chosen)
        patients = [item.get("patient", number) for number, (item, look, _) in enumerate(looks) for _ in look]
        features = [look for _, look, _ in looks]
        known.append(fit_look(name, np.concatenate(features) if looks else np.zeros((0, 1)), patients))
    return Looks(tuple(known))


def told_apart(
    bundle: Path, looks: Looks, own: Mapping[str, Sequence[Path]], other: Mapping[str, Sequence[Path]], say: Say
) -> list[Told]:
    """How often images are refused: of prepared folders (their validation and test parts) or any folders, by name.

    Args:
        own: images that the bundle is for, and that were not fitted on.
        other: images that it is not for.

    Raises:
        DatalistError, UnreadableFileError: see ``images_of``.
    """
    reader, found = Reader(bundle), []
    for name, places in {**own, **other}.items():
        items = _some(images_of(places, ["validation", "test"]), MOST_MEASURED)
        say(f"looking at {len(items)} images of {name}")
        seen = reader.looks(items)
        far = np.array([float(np.median(looks.unlike(look))) for _, look, _ in seen])
        from_doubt, from_refused = np.array([limits for _, _, limits in seen]).reshape(-1, 2).T
        refused, doubtful = int((far >= from_refused).sum()), int(((far >= from_doubt) & (far < from_refused)).sum())
        middle = float(np.median(far)) if len(far) else float("nan")
        found.append(Told(name, name in own, len(items), len(items) - len(seen), refused, doubtful, middle))
    return found


def table(told: Sequence[Told]) -> str:
    """The rates, as Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|---:|" + "---|" * (len(HEAD) - 4) + "---:|"]
    return "\n".join([*lines, *("| " + " | ".join(each.row) + " |" for each in told)])


def _some(items: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many of them, at equal steps."""
    return [items[k] for k in np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)] if items else []


def _share(number: int, of: int) -> str:
    if of == 0:
        return ""
    low, high = stats.binomtest(number, of).proportion_ci(0.95, method="exact")
    return f"{100 * number / of:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
