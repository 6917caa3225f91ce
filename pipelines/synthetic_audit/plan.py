"""What an audit trains: networks, arms and seeds, and for how long, so that no arm wins by more optimiser steps."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.cross_validation import CrossValidation
from pipelines.errors import ConfigError, UsageError
from pipelines.files import file_digest, safe_name

EQUAL = ("steps", "epochs")
_TRANSFORMS = "train#random_transforms"  # of a bundle: its classical augmentation
_OWN = ("seed", "epochs", "synthetic_share", "encoder_weights", "dataset_dir", "ckpt_dir", "run_name", _TRANSFORMS)
_FEWEST_SEEDS = 2  # three or more are for a result; two show that the command works


@dataclass(frozen=True)
class Arm:
    """What training sees.

    Attributes:
        share: of generated pictures, as a part of the real ones of each class.
        augmented: with the bundle's random transforms.
    """

    share: float
    augmented: bool

    @property
    def name(self) -> str:
        """``none``, ``classical``, ``generated 25 %`` or ``classical + generated 100 %``."""
        parts = ["classical"] if self.augmented else []
        parts += [f"generated {100 * self.share:g} %"] if self.share else []
        return " + ".join(parts) or "none"


@dataclass(frozen=True)
class Training:
    """One training of an audit.

    Attributes:
        pictures: in the training set, generated ones included.
        steps: of the optimiser, in all epochs.
        plan: gives its commands.
    """

    network: str
    arm: Arm
    seed: int
    epochs: int
    pictures: int
    steps: int
    plan: CrossValidation = field(repr=False)

    @property
    def name(self) -> str:
        return safe_name(f"{self.network}-{self.arm.name}-seed{self.seed}".replace(" %", "").replace(" ", "_"))


@dataclass(frozen=True)
class Audit:
    """What is audited.

    Attributes:
        bundle: of a classifier, with the knob ``synthetic_share``.
        prepared: a prepared folder with classes, without generated pictures.
        generators: weights, one a class; or one folder of generated pictures with their manifest.
        out: what is made; a call with the same one goes on.
        uri: the tracking store.
        networks: overlays of ``configs/networks``.
        seeds: of each network and arm.
        shares: of generated pictures, as parts of the real ones.
        epochs: of the arm that sees the real pictures alone; None for the bundle's.
        equal: "steps": every arm has as many optimiser steps; "epochs": as many epochs, but for classical augmentation,
            which then sees as many pictures as the arm with the most generated ones.
        both: a further arm, of classical augmentation and the most generated pictures.
        encoders: encoder weights of a network: a file, ``False`` or ``True``; the bundle's own way without.
        knobs: words of every training's command.
        training_patients, test_patients: at most so many; None for all.
        feature_weights: of the network whose features generated and real pictures are compared in; None for what the
            bundle ships.
    """

    bundle: Path
    prepared: Path
    generators: Sequence[Path]
    out: Path
    uri: str
    networks: Sequence[str]
    seeds: Sequence[int] = (0, 1, 2)
    shares: Sequence[float] = (0.25, 0.5, 1.0)
    epochs: int | None = None
    equal: str = "steps"
    both: bool = False
    encoders: Mapping[str, str] = field(default_factory=dict)
    knobs: Sequence[str] = ()
    training_patients: int | None = None
    test_patients: int | None = None
    feature_weights: Path | None = None

    def check(self) -> None:
        """Raises:
        UsageError: seeds, shares, networks or knobs that cannot be; the bundle cannot take generated pictures.
        """
        if len(set(self.seeds)) < _FEWEST_SEEDS or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            given = " ".join(map(str, self.seeds))
            raise UsageError(f"the seeds are {given}", how="give two or more different ones from 0 on, better three")
        if not self.shares or not all(0 < share < math.inf for share in self.shares):
            raise UsageError(
                f"the shares are {self.shares}", how="give parts above 0: 0.5 is half of the real pictures"
            )
        if self.equal not in EQUAL:
            raise UsageError(f"--equal is {self.equal!r}", how=f"choose from {', '.join(EQUAL)}")
        if not self.networks or len(set(self.networks)) < len(self.networks):
            raise UsageError("a network is named twice, or none", how="name each once after --networks")
        strange = sorted(set(self.encoders) - set(self.networks))
        if strange:
            raise UsageError(f"encoder weights are given for {strange[0]}, which is not among the networks")
        for word in self.knobs[::2]:
            if word.removeprefix("--") in _OWN:
                raise UsageError(f"{word} is set for each training", how="leave it out, or use the command's own words")
        base = CrossValidation(self.bundle, self.prepared, self.out, self.uri)
        base.check()
        if "synthetic_share" not in base.config:
            what = "the bundle's training has no knob synthetic_share: it cannot be trained with generated pictures"
            raise UsageError(what, where=self.bundle, how="name a bundle that classifies pictures")
        for network in self.networks:
            self.plan(network, Arm(0, True), 0, 1).check()

    @property
    def arms(self) -> list[Arm]:
        """Without augmentation, with the classical one, and with each share of generated pictures."""
        shares = sorted(set(self.shares))
        further = [Arm(shares[-1], True)] if self.both else []
        return [Arm(0.0, False), Arm(0.0, True), *(Arm(share, False) for share in shares), *further]

    def plan(
        self, network: str, arm: Arm, seed: int, epochs: int, size: tuple[int, int] | None = None
    ) -> CrossValidation:
        """The commands of one training: a fixed number of epochs, the last weights measured.

        Args:
            size: (rows, columns) of a generated picture, which all pictures have unless a knob says otherwise.
        """
        words = [] if size is None or "--image_size" in self.knobs else ["--image_size", f"[{size[1]},{size[0]}]"]
        words += ["--seed", str(seed), "--epochs", str(epochs), "--synthetic_share", str(arm.share)]
        words += ["--encoder_weights", self.encoders[network]] if network in self.encoders else []
        words += [] if arm.augmented else [f"--{_TRANSFORMS}", "[]"]
        return CrossValidation(self.bundle, self.prepared, self.out, self.uri, network, knobs=[*self.knobs, *words])

    def trainings(self, real: Mapping[int, int], size: tuple[int, int]) -> list[Training]:
        """All of them, seed by seed, so that an audit that is stopped early has whole seeds.

        Args:
            real: pictures of each class in training.
            size: (rows, columns) of a generated picture.

        Raises:
            ConfigError: the bundle's knobs ``epochs`` or ``batch_size`` are no numbers.
        """
        found = []
        for seed in self.seeds:
            for network in self.networks:
                plan = self.plan(network, Arm(0, False), seed, 1)
                batch = _number(plan, "batch_size")
                own = self.epochs if self.epochs is not None else _number(plan, "epochs", config=True)
                for arm in self.arms:
                    pictures = with_share(real, arm.share)
                    epochs = self._epochs(arm, real, batch, own)
                    steps = epochs * steps_an_epoch(pictures, batch)
                    commands = self.plan(network, arm, seed, epochs, size)
                    found.append(Training(network, arm, seed, epochs, pictures, steps, commands))
        return found

    def _epochs(self, arm: Arm, real: Mapping[int, int], batch: int, epochs: int) -> int:
        """Of an arm, where the real pictures alone have ``epochs``."""
        alone = steps_an_epoch(with_share(real, 0), batch)
        if self.equal == "steps":
            due = epochs * alone / steps_an_epoch(with_share(real, arm.share), batch)
        elif arm == Arm(0.0, True):  # as many pictures as the arm with the most
            due = epochs * steps_an_epoch(with_share(real, max(self.shares)), batch) / alone
        else:
            due = epochs
        return max(1, round(due))

    def settings(self, training: Training, data: Path) -> dict[str, Any]:
        """What makes a training's result: two with the same are one. Of the code it holds the configs alone."""
        plan, knobs = training.plan, training.plan.knobs
        configs = [*plan.train_files, self.bundle / "configs" / "evaluate.yaml"]
        encoder = self.encoders.get(training.network, "")
        return {
            "bundle": self.bundle.name,
            "network": training.network,
            "arm": training.arm.name,
            "knobs": sorted(zip(knobs[::2], knobs[1::2], strict=True)),
            "encoder": file_digest(Path(encoder)) if Path(encoder).is_file() else encoder,
            "configs": [file_digest(path) for path in configs],
            "data": file_digest(data / "datalist.json"),
        }


def digest(settings: Mapping[str, Any]) -> str:
    """A mark of settings: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def with_share(real: Mapping[int, int], share: float) -> int:
    """How many pictures a training set has with a share of generated ones."""
    return sum(number + round(share * number) for number in real.values())


def steps_an_epoch(pictures: int, batch: int) -> int:
    """Of a loader that leaves a last batch of one picture out, as batch norm cannot do with it."""
    return max(1, pictures // batch if pictures % batch == 1 else math.ceil(pictures / batch))


def _number(plan: CrossValidation, knob: str, config: bool = False) -> int:
    value = plan.config.get(knob) if config else plan.value(knob)
    try:
        return int(str(value))
    except ValueError:
        raise ConfigError(f"{knob} is {value!r}, and a number is due", how=f"give --{knob} N") from None
