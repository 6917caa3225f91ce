"""What is cross-validated, with which settings, and the commands that follow from them."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from pipelines.bundle import read_configs
from pipelines.cross_validation.folds import Extra, Fold, Item
from pipelines.cross_validation.processes import bundle_command
from pipelines.errors import ConfigError, UsageError
from pipelines.evaluation.case_tables import names_digest
from pipelines.files import text, write_file
from pipelines.prediction import network_overlays

Say = Callable[[str], None]
SETTINGS = "settings.json"
_PERCENTILES = (0.5, 99.5)  # that an image's values are cut at before it is compared with others


@dataclass(frozen=True)
class CrossValidation:
    """What is done, and where.

    Attributes:
        bundle: its folder.
        prepared: a prepared folder with folds.
        out: the folder of a network's folds; a call with the same one goes on with them.
        uri: the tracking store.
        network: an overlay of ``configs/networks``; None for the bundle's own.
        overlays: further overlays of ``configs``, by name.
        knobs: words of the training's command (``--epochs 40``).
        extra: prepared folders whose training parts join every training.
        start: the ``out`` of an earlier call, whose weights of the same fold training starts from.
        jobs: trainings at a time.
    """

    bundle: Path
    prepared: Path
    out: Path
    uri: str
    network: str | None = None
    overlays: Sequence[str] = ()
    knobs: Sequence[str] = ()
    extra: Sequence[Path] = ()
    start: Path | None = None
    jobs: int = 1

    def check(self) -> None:
        """Raises:
        UsageError: no such bundle, network or overlay; the bundle has no supervised training with an evaluation;
            knobs or folders that cannot be.
        """
        configs = self.bundle / "configs"
        missing = [name for name in ("train.yaml", "evaluate.yaml") if not (configs / name).is_file()]
        if missing:
            what = f"the bundle has no configs/{missing[0]}: only a supervised one can be cross-validated"
            raise UsageError(what, where=self.bundle, how="give a bundle with train.yaml and evaluate.yaml")
        if self.network is not None and self.network not in network_overlays(self.bundle):
            names = ", ".join(network_overlays(self.bundle)) or "none: leave --network out"
            raise UsageError(f"there is no network {self.network!r}", where=self.bundle, how=f"choose from {names}")
        for name in self.overlays:
            if not (configs / f"{name}.yaml").is_file() or name in ("train", "evaluate", "inference"):
                raise UsageError(f"there is no overlay {name!r}", where=configs, how="name a file of it, without .yaml")
        if len(self.knobs) % 2 or not all(word.startswith("--") for word in self.knobs[::2]):
            raise UsageError(f"{' '.join(self.knobs)} is not a list of --KNOB VALUE")
        known = self.config
        for word in self.knobs[::2]:
            knob = word.removeprefix("--")
            if knob in ("dataset_dir", "datalist", "ckpt_dir", "checkpoint", "resume", "tracking_uri", "run_name"):
                raise UsageError(f"{word} is set for each fold", how="leave it out")
            if knob.split("#")[0] not in known:
                raise UsageError(f"{knob!r} is no knob of the training", where=configs / "train.yaml")
        if self.jobs < 1:
            raise UsageError(f"--jobs must be 1 or more, got {self.jobs}")
        if self.start is not None and self.start.resolve() == self.out.resolve():
            raise UsageError("--start and --out must differ", where=self.out)

    @property
    def train_files(self) -> list[Path]:
        """The configs of the training, in the order in which they are laid over one another."""
        files = [self.bundle / "configs" / "train.yaml"]
        if self.network is not None:
            files.append(network_overlays(self.bundle)[self.network])
        return files + [self.bundle / "configs" / f"{name}.yaml" for name in self.overlays]

    @property
    def config(self) -> dict[str, Any]:
        """The training's config, with its overlays.

        Raises:
            ConfigError: it cannot be read.
        """
        return read_configs(self.train_files)

    def parser(self) -> ConfigParser:
        """MONAI's parser of the training's config, with its overlays and knobs, its imports done.

        Raises:
            ConfigError: it cannot be read.
        """
        parser = ConfigParser()
        try:
            parser.read_config([str(path) for path in self.train_files])
            parser["bundle_root"] = str(self.bundle)
            for word, value in zip(self.knobs[::2], self.knobs[1::2], strict=True):
                parser[word.removeprefix("--")] = _literal(value)
            parser.get_parsed_content("imports")
        except Exception as error:
            raise ConfigError(f"the config cannot be read ({error})", where=self.train_files[0]) from error
        return parser

    @property
    def name(self) -> str:
        """What the network is called."""
        return self.network or network_name(self.bundle)

    def value(self, id: str) -> Any:
        """What the knobs, or else the config, have for a top-level id; None without."""
        return dict(zip(self.knobs[::2], self.knobs[1::2], strict=True)).get(f"--{id}", self.config.get(id))

    @property
    def operating_point(self) -> tuple[str, float] | None:
        """The class that the training chooses an operating threshold for (its ``CalibrationFit``), and the sensitivity
        that is wanted; None where it chooses none.

        Raises:
            ConfigError: the sensitivity is no number.
        """
        handlers = (self.config.get("train") or {}).get("handlers") or []
        targets = (each for each in handlers if isinstance(each, dict))
        fit = next((each for each in targets if str(each.get("_target_", "")).endswith(".CalibrationFit")), {})
        if fit.get("positive") is None:
            return None
        wanted = fit.get("sensitivity", 0.95)
        wanted = self.value(wanted[1:]) if isinstance(wanted, str) and wanted.startswith("@") else wanted
        try:
            return str(fit["positive"]), float(wanted)
        except (TypeError, ValueError):
            raise ConfigError(f"the sensitivity is {wanted!r}, and a number is due", how="give --sensitivity") from None

    @property
    def epochs(self) -> int:
        """How many the training has.

        Raises:
            ConfigError: neither the knobs nor the config say a number.
        """
        given = self.value("epochs")
        try:
            return int(str(given))
        except ValueError:
            raise ConfigError(f"the epochs are {given!r}, and a number is due", how="give --epochs N") from None

    @property
    def key_metric(self) -> str:
        """The metric that the evaluation names first; empty where it names none."""
        config = ConfigParser.load_config_file(str(self.bundle / "configs" / "evaluate.yaml"))
        found = config.get("validate#key_metric")
        return str(next(iter(found), "")) if isinstance(found, dict) else ""

    def progress(self, say: Say) -> Callable[[int], None]:
        """Says about every tenth epoch of the training."""
        epochs, told = self.epochs, 0

        def progress(epoch: int) -> None:
            nonlocal told
            if epoch == epochs or epoch - told >= max(1, epochs // 10):
                told = epoch
                say(f"epoch {epoch} of {epochs}")

        return progress

    def training(self, data: Path, folder: Path, run_name: str) -> list[str]:
        """The command that trains in ``data``: a fixed number of epochs, without choosing anything on the way. It goes
        on from its last checkpoint, where there is one."""
        return bundle_command(self.bundle, self.train_files, self._training_words(data, folder, run_name))

    def _training_words(self, data: Path, folder: Path, run_name: str) -> list[str]:
        fixed = {"val_interval": self.epochs, "patience": self.epochs}
        words = [*self._words(data, folder), "--run_name", run_name]
        for knob, value in fixed.items():
            if f"--{knob}" not in self.knobs and knob in self.config:
                words += [f"--{knob}", str(value)]
        if self.start is not None:
            words += ["--pretrained", str(self.start.absolute() / folder.name / "last.pt")]
        if (folder / "last.pt").is_file():
            words += ["--resume", "True"]
        return words

    def evaluation(self, data: Path, folder: Path, output: str = "evaluation") -> list[str]:
        """The command that measures the weights of the last epoch, and writes to the fold's folder ``output``."""
        words = ["--checkpoint", str(folder / "last.pt"), "--output_dir", str(folder / output)]
        files = [*self.train_files, self.bundle / "configs" / "evaluate.yaml"]
        return bundle_command(self.bundle, files, [*self._words(data, folder), *words])

    def _words(self, data: Path, folder: Path) -> list[str]:
        words = ["--dataset_dir", str(data), "--datalist", "datalist.json", "--ckpt_dir", str(folder)]
        return [*words, "--tracking_uri", self.uri, *self.knobs]

    def settings(self, folds: Sequence[Fold], extras: Sequence[Extra]) -> dict[str, Any]:
        """What the trainings of one folder must have in common."""
        return {
            "bundle": self.bundle.name,
            "network": self.name,
            "overlays": list(self.overlays),
            "knobs": [list(pair) for pair in sorted(zip(self.knobs[::2], self.knobs[1::2], strict=True))],
            "data": folds[0].content.get("fingerprint", ""),
            "folds": [names_digest(item["case"] for item in fold.left_out) for fold in folds],
            "extra training": [extra.content.get("fingerprint", "") for extra in extras],
            "start": None if self.start is None else str(self.start.absolute()),
        }


def network_name(bundle: Path) -> str:
    """What a bundle's own network is called."""
    found = ConfigParser.load_config_file(str(bundle / "configs" / "train.yaml")).get("network_name")
    return found if isinstance(found, str) and found and not found.startswith("$") else "network"


def same_settings(out: Path, mine: Mapping[str, Any]) -> None:
    """A folder holds folds of one training: of other settings they would be averaged with what they are not.

    Raises:
        UsageError: it holds others.
        OutputError: it cannot be written.
    """
    path = out / SETTINGS
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        write_file(path, text(json.dumps(mine, indent=1) + "\n"))
        return
    except (OSError, ValueError):
        earlier = {}
    if earlier != mine:
        what = ", ".join(key for key in mine if not isinstance(earlier, dict) or earlier.get(key) != mine[key])
        raise UsageError(f"the folds here were made with other settings: {what}", where=out, how="choose another --out")


def image_reader(plan: CrossValidation) -> Callable[[Item], NDArray]:
    """Reads an entry's image as the bundle does, X x Y x Z, 0..1, to be compared with others: the mean of its channels,
    its values between two percentiles.

    Raises:
        ConfigError: the bundle's config says no ``validate#deterministic_transforms``.
    """
    try:
        load = plan.parser().get_parsed_content("validate#deterministic_transforms#0")
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"how images are loaded cannot be found out ({error})", where=plan.train_files[0],
            how="the first of validate#deterministic_transforms is to load the image",
        ) from error  # fmt: skip

    def read(item: Item) -> NDArray:
        image = np.asarray(load(dict(item))["image"], dtype=np.float32)
        plane = image.mean(axis=0)
        low, high = np.percentile(plane, _PERCENTILES)
        scaled = np.clip((plane - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
        return scaled if scaled.ndim == 3 else scaled[..., None]

    return read


def _literal(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word
