"""One bundle as the contract sees it: its files, its configs, and small knobs with which it runs in seconds.

Nothing here knows a bundle by its name. What differs between bundles is looked up in them: the dataset is the last part
of ``dataset_dir`` in a whole config; its card is the bundle's ``docs/data_card.yaml`` or ``data/NAME.yaml``, its
phantoms come from ``data phantom`` and the words of the metadata's ``phantoms`` or NAME; the kind is said in
``metadata.json`` (``kinds`` has what follows from it); the networks are the files of ``configs/networks``. The bundles
are the project's; those of another folder if ``PIPELINES_BUNDLES`` names one.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow

from pipelines import bundle as bundles
from pipelines.bundle import ALLOCATOR, bundles_in
from pipelines.tasks.registry import DATASETS

PROJECT = Path(__file__).resolve().parents[2]
OURS = PROJECT / "bundles"
BUNDLES = list(bundles_in(Path(os.environ.get(bundles.BUNDLES) or OURS).absolute()).values())
SIDE = 64  # pixels a side of all that is trained on here
# and nothing is downloaded
SMALL = {
    "epochs": 2,
    "batch_size": 2,
    "val_interval": 1,
    "workers": 0,
    "encoder_weights": False,
}
CPU = "$torch.device('cpu')"


class Bundle:
    """A folder under ``bundles/``.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.name
        self.configs = root / "configs"

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def metadata(self) -> dict[str, Any]:
        return json.loads((self.configs / "metadata.json").read_text(encoding="utf-8"))

    @property
    def kind(self) -> str:
        """What it declares itself to be: "segmentation", "classification", …; "" if nothing."""
        pred = self.metadata["network_data_format"]["outputs"].get("pred", {})
        return str(self.metadata.get("kind") or pred.get("format") or "")

    @property
    def shipped(self) -> list[str]:
        """The networks that there are weights of."""
        return sorted(path.stem for path in (self.root / "models").glob("*.safetensors"))

    @property
    def has_card(self) -> bool:
        """Whether there is a model card, or the record of one."""
        return any((self.root / "docs" / f"model_card.{suffix}").is_file() for suffix in ("json", "yaml"))

    @cached_property
    def whole(self) -> list[str]:
        """The configs that stand alone: the command in their heads names no other. The rest are laid over them."""
        names = [path.stem for path in sorted(self.configs.glob("*.yaml"))]
        found = [name for name in names if self.shown(name)[1] == [name]]
        return sorted(found, key=lambda name: (name != "train", name != "inference", name))

    @property
    def input(self) -> dict[str, Any]:
        """What the metadata say of the first thing that the network takes."""
        return next(iter(self.metadata["network_data_format"]["inputs"].values()))

    @property
    def output(self) -> dict[str, Any]:
        """What the metadata say of the network's output ``pred``."""
        return self.metadata["network_data_format"]["outputs"]["pred"]

    @property
    def spatial_dims(self) -> int:
        """2 for a network of pictures or slices, 3 for one of volumes."""
        return len(self.input["spatial_shape"])

    @property
    def takes_pictures(self) -> bool:
        """Whether a PNG is an input, by the metadata's ``data_type``."""
        return "PNG" in str(self.metadata.get("data_type", ""))

    @cached_property
    def networks(self) -> dict[str, Path]:
        """The overlays that choose another network, by name."""
        return {path.stem: path for path in sorted((self.configs / "networks").glob("*.yaml"))}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many parameters each network has."""
        return {name: sum(p.numel() for p in self.network(name).parameters()) for name in self.networks}

    @cached_property
    def smallest(self) -> str:
        """The network with the fewest parameters."""
        return min(self.networks, key=lambda name: self.sizes[name])

    @cached_property
    def default(self) -> str:
        """The network that is used where no overlay chooses one."""
        return str(self.config("train")["network_name"])

    @cached_property
    def dataset(self) -> str:
        """Name of the dataset, its card and its phantoms; "" if the whole configs read none."""
        default = next((self.config(name)["dataset_dir"] for name in self.whole if self.has(name, "dataset_dir")), None)
        found = re.search(r"([\w-]+)['\"]?\s*$", str(default))
        assert found, f"{self.name}: dataset_dir ends with no name of a dataset: {default}"
        return "" if default is None else found.group(1)

    @property
    def phantoms(self) -> list[str]:
        """What ``data phantom`` is told to draw the bundle's data: as the metadata say, or its dataset if the registry
        has phantoms of it; nothing where there are none."""
        said = shlex.split(str(self.metadata.get("phantoms", "")))
        known = self.dataset in DATASETS and DATASETS[self.dataset].phantom is not None
        return said or ([self.dataset] if known else [])

    def has(self, name: str, id: str) -> bool:
        """Whether a config has an id at its top."""
        return id in self.written(name)

    @property
    def card(self) -> dict[str, Any]:
        """The dataset's card: the bundle's own, or one of ``data/``."""
        places = [root / "data" / f"{self.dataset}.yaml" for root in (self.root.parents[1], PROJECT)]
        places.insert(0, self.root / "docs" / "data_card.yaml")
        path = next((place for place in places if place.is_file()), places[0])
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    @property
    def card_labels(self) -> dict[int, str]:
        """What the dataset's card calls the values of this bundle's labels: classes of a classification, or masks."""
        return self.card["classes" if self.kind == "classification" else "labels"]

    @property
    def overlays(self) -> list[str]:
        """The configs that change another and choose no network, by name."""
        return [path.stem for path in sorted(self.configs.glob("*.yaml")) if path.stem not in self.whole]

    @cached_property
    def training_overlays(self) -> list[str]:
        """The overlays that one process lays over ``train.yaml`` alone, and that leave a training to be run."""
        alone = [name for name in self.overlays if self.shown(name) == ("python", ["train", name])]
        return [name for name in alone if "@train#trainer.run" in str(self.config("train", name)["run"])]

    def shown(self, name: str) -> tuple[str, list[str]]:
        """What the command in a config's head begins with, and the configs that it lays over each other, by name."""
        head = self.file(name).read_text(encoding="utf-8").split("\n\n")[0]
        command = re.search(r"^# ?(\S+) .*--config_file (?:\"(\[[^\]]*\])\"|(\S+))", head, re.MULTILINE)
        assert command, f"{name}.yaml: its head does not show the command that runs it"
        files = plain_list(command[2]) if command[2] else [command[3]]
        return command[1], [path.rsplit("/", 1)[-1].removesuffix(".yaml") for path in files]

    def file(self, name: str) -> Path:
        """A config by its name: ``train``, ``evaluate``, …, or the name of a network."""
        return self.networks[name] if name in self.networks else self.configs / f"{name}.yaml"

    def config(self, *names: str) -> dict[str, Any]:
        """Configs merged as MONAI merges them."""
        return ConfigParser.load_config_files([str(self.file(name)) for name in names])

    def written(self, name: str) -> dict[str, Any]:
        """A config as it is written, its keys not yet merged onto anything."""
        return ConfigParser.load_config_file(str(self.file(name)))

    def network(self, name: str) -> torch.nn.Module:
        """A network with random weights."""
        return ConfigParser(self.config("inference", name)).get_parsed_content("network_def")

    def small(self, *names: str) -> dict[str, Any]:
        """Knobs that make a run of these configs small: those that they have, and each size in pixels."""
        config = self.config(*names)
        sizes = {
            key: [SIDE] * len(value)
            for key, value in config.items()
            if key.endswith("_size") and isinstance(value, list) and all(isinstance(each, int) for each in value)
        }
        return {"device": CPU, **{key: value for key, value in SMALL.items() if key in config}, **sizes}

    def workflow(self, kind: str, *names: str, **overrides: Any) -> ConfigWorkflow:
        """A workflow in this process; ``kind`` is "train" or "infer"."""
        return ConfigWorkflow(
            config_file=[str(self.file(name)) for name in names],
            meta_file=str(self.configs / "metadata.json"),
            logging_file=False,
            workflow_type=kind,
            bundle_root=str(self.root),
            **self.small(*names) | {key: str(v) if isinstance(v, Path) else v for key, v in overrides.items()},
        )

    def command(self, *files: str | Path, **knobs: Any) -> list[str]:
        """The words after ``python``: ``-m monai.bundle run`` with these configs (names, or paths) and knobs."""
        paths = [str(file if isinstance(file, Path) else self.file(file)) for file in files]
        names = [file for file in files if isinstance(file, str)]
        flags = [word for key, value in (self.small(*names) | knobs).items() for word in (f"--{key}", str(value))]
        return ["-m", "monai.bundle", "run", "--config_file", paths[0] if len(paths) == 1 else str(paths), *flags]


def environment(store: str, **more: str) -> dict[str, str]:
    """For a command that a test starts: the store of the tests, one thread, the package and these tests importable."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "RANK", "LOCAL_RANK"))}
    paths = [str(PROJECT), str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return {**ALLOCATOR, **kept, **threads, "PYTHONPATH": os.pathsep.join(paths), "MLFLOW_TRACKING_URI": store, **more}


def python(
    words: Sequence[str], cwd: Path, env: dict[str, str], *, code: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Runs ``python WORDS`` in ``cwd`` and holds its exit code against ``code`` (None: any).

    The interpreter is ``PYTHON_EXEC`` of ``env``, else a cold one.
    """
    command = [env.get("PYTHON_EXEC", sys.executable), *words]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert code is None or done.returncode == code, (
        f"exit code {done.returncode}, not {code}, of: python {' '.join(words)}\n{(done.stdout + done.stderr)[-6000:]}"
    )
    return done


def listing(folder: Path) -> set[str]:
    """Every file below a folder, Python's own caches left out."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if "__pycache__" not in path.parts}


def plain_list(text: str) -> list[str]:
    """A list as it is written for ``--config_file``."""
    value = ast.literal_eval(text)
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
