"""Two bundles of nobody: one laid out as the model zoo does it (JSON), one in YAML with code of its own."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

BOTH = ["image", "label"]
NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [8, 16],
    "strides": [2],
}
FROM_ENGINE = "$monai.handlers.from_engine(['pred', 'label'])"


def tensors(content: object = None) -> bytes:
    """A file as ``torch.save`` writes it, with this in the place of a state dict."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(OrderedDict() if content is None else content, protocol=2))
        archive.writestr("model/version", "3\n")
    return buffer.getvalue()


def steps(keys: Any, modes: Any) -> list[dict[str, Any]]:
    return [
        {"_target_": "LoadImaged", "keys": keys},
        {"_target_": "EnsureChannelFirstd", "keys": keys},
        {"_target_": "Orientationd", "keys": keys, "axcodes": "RAS"},
        {"_target_": "Spacingd", "keys": keys, "pixdim": [1.5, 1.5, 2.0], "mode": modes},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1},
        {"_target_": "EnsureTyped", "keys": keys},
    ]


def metadata() -> dict[str, Any]:
    tensor = {"type": "image", "spatial_shape": ["16*n", "16*n", "16*n"], "dtype": "float32", "value_range": [0, 1]}
    return {
        "schema": "https://project-monai.github.io/schema/meta_schema_20240725.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "first"},
        "monai_version": "1.6.1",
        "pytorch_version": "2.10.0",
        "numpy_version": "2.0.0",
        "required_packages_version": {"nibabel": "5.4.0"},
        "task": "Segmentation of an organ",
        "description": "A network that labels an organ",
        "authors": "Nobody",
        "copyright": "Copyright (c) Nobody",
        "license": "Apache-2.0",
        "network_data_format": {
            "inputs": {"image": {**tensor, "format": "hounsfield", "num_channels": 1, "channel_def": {"0": "image"}}},
            "outputs": {
                "pred": {
                    **tensor, "format": "segmentation", "num_channels": 2,
                    "channel_def": {"0": "background", "1": "organ"},
                }
            },
        },
    }  # fmt: skip


def zoo_bundle(folder: Path) -> Path:
    """As the model zoo lays it out, with the habits of its configs: macros, globs, evaluation over training."""
    bundle = folder / "organ_segmentation"
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 96], "sw_batch_size": 4, "overlap": 0.5}
    shared = {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "data/organs",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": NETWORK,
        "network": "$@network_def.to(@device)",
    }
    activation = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
    train = {
        **shared,
        "ckpt_dir": "$@bundle_root + '/models'",
        "images": "$list(sorted(glob.glob(@dataset_dir + '/imagesTr/*.nii.gz')))",
        "labels": "$list(sorted(glob.glob(@dataset_dir + '/labelsTr/*.nii.gz')))",
        "val_interval": 5,
        "optimizer": {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": 0.0001},
        "loss": {"_target_": "DiceCELoss", "softmax": True},
        "train": {
            "deterministic_transforms": steps(BOTH, ["bilinear", "nearest"]),
            "random_transforms": [
                {"_target_": "RandCropByPosNegLabeld", "keys": BOTH, "label_key": "label", "spatial_size": [96, 96, 96]}
            ],
            "preprocessing": {
                "_target_": "Compose",
                "transforms": "$@train#deterministic_transforms + @train#random_transforms",
            },
            "dataset": {
                "_target_": "CacheDataset",
                "data": "$[{'image': i, 'label': l} for i, l in zip(@images[:-9], @labels[:-9])]",
                "transform": "@train#preprocessing",
            },
            "dataloader": {"_target_": "DataLoader", "dataset": "@train#dataset", "batch_size": 2, "shuffle": True},
            "inferer": {"_target_": "SimpleInferer"},
            "postprocessing": {
                "_target_": "Compose",
                "transforms": [
                    activation,
                    {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False]},
                ],
            },
            "key_metric": {"train_accuracy": {"_target_": "ignite.metrics.Accuracy", "output_transform": FROM_ENGINE}},
            "handlers": [
                {"_target_": "ValidationHandler", "validator": "@validate#evaluator", "interval": "@val_interval"},
                {"_target_": "StatsHandler", "output_transform": "$monai.handlers.from_engine(['loss'], first=True)"},
            ],
            "trainer": {
                "_target_": "SupervisedTrainer",
                "max_epochs": 300,
                "device": "@device",
                "train_data_loader": "@train#dataloader",
                "network": "@network",
                "loss_function": "@loss",
                "optimizer": "@optimizer",
                "key_train_metric": "@train#key_metric",
                "train_handlers": "@train#handlers",
            },
        },
        "validate": {
            "preprocessing": {"_target_": "Compose", "transforms": "%train#deterministic_transforms"},
            "dataset": {
                "_target_": "Dataset",
                "data": "$[{'image': i, 'label': l} for i, l in zip(@images[-9:], @labels[-9:])]",
                "transform": "@validate#preprocessing",
            },
            "dataloader": {"_target_": "DataLoader", "dataset": "@validate#dataset", "batch_size": 1},
            "inferer": inferer,
            "postprocessing": "%train#postprocessing",
            "handlers": [
                {
                    "_target_": "CheckpointSaver",
                    "save_dir": "@ckpt_dir",
                    "save_dict": {"model": "@network"},
                    "save_key_metric": True,
                    "key_metric_filename": "model.pt",
                },
                {
                    "_target_": "EarlyStopHandler",
                    "patience": 5,
                    "score_function": "$lambda engine: engine.state.metrics['val_mean_dice']",
                },
            ],
            "key_metric": {"val_mean_dice": {"_target_": "MeanDice", "output_transform": FROM_ENGINE}},
            "evaluator": {
                "_target_": "SupervisedEvaluator",
                "device": "@device",
                "val_data_loader": "@validate#dataloader",
                "network": "@network",
                "inferer": "@validate#inferer",
                "postprocessing": "@validate#postprocessing",
                "key_val_metric": "@validate#key_metric",
                "val_handlers": "@validate#handlers",
            },
        },
        "initialize": [
            "$monai.utils.set_determinism(seed=123)",
            "$setattr(torch.backends.cudnn, 'benchmark', True)",
        ],
        "run": ["$@train#trainer.run()"],
    }
    inference = {
        **shared,
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "output_dtype": "$numpy.float32",
        "preprocessing": {"_target_": "Compose", "transforms": steps("image", "bilinear")},
        "dataset": {"_target_": "Dataset", "data": "$[{'image': i} for i in @datalist]", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": inferer,
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                activation,
                {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {
                    "_target_": "SaveImaged",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                    "output_dtype": "@output_dtype",
                },
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }
    evaluate = {
        "validate#handlers": [
            {"_target_": "MetricsSaver", "save_dir": "@output_dir", "metrics": ["val_mean_dice"], "summary_ops": "*"}
        ],
        "run": ["$@validate#evaluator.run()"],
    }
    several = {
        "device": "$torch.device(f'cuda:{dist.get_rank()}')",
        "network": {
            "_target_": "torch.nn.parallel.DistributedDataParallel",
            "module": "$@network_def.to(@device)",
            "device_ids": ["@device"],
        },
        "train#sampler": {"_target_": "DistributedSampler", "dataset": "@train#dataset", "shuffle": True},
        "train#dataloader#sampler": "@train#sampler",
        "train#trainer#train_handlers": "$@train#handlers[: -2 if dist.get_rank() > 0 else None]",
        "initialize": [
            "$import torch.distributed as dist",
            "$dist.is_initialized() or dist.init_process_group(backend='nccl')",
            "$import logging",
            "$@train#trainer.logger.setLevel(logging.WARNING if dist.get_rank() > 0 else logging.INFO)",
        ],
    }
    configs = {
        "train": train, "inference": inference, "evaluate": evaluate, "multi_gpu_train": several, "metadata": metadata()
    }  # fmt: skip
    for name, content in configs.items():
        write(bundle / "configs" / f"{name}.json", json.dumps(content, indent=4))
    write(bundle / "configs" / "logging.conf", LOGGING)
    write(bundle / "docs" / "README.md", "# Organ\n\npython -m monai.bundle run --config_file configs/train.json\n")
    write(bundle / "docs" / "data_license.txt", "CC BY 4.0\n")
    write(bundle / "LICENSE", "Apache License\nVersion 2.0, January 2004\n")
    (bundle / "models").mkdir()
    (bundle / "models" / "model.pt").write_bytes(tensors())
    return bundle


def yaml_bundle(folder: Path) -> Path:
    """In YAML, with a module of its own, weights to be fetched, and an overlay that a README lays over two others."""
    bundle = folder / "cells_classification"
    about = metadata() | {"task": "Classification of cells", "license": "MIT"}
    about["network_data_format"]["outputs"]["pred"] |= {
        "format": "classification", "channel_def": {"0": "round", "1": "long"}
    }  # fmt: skip
    write(bundle / "configs" / "metadata.json", json.dumps(about, indent=4))
    write(bundle / "configs" / "train.yaml", TRAIN)
    write(bundle / "configs" / "inference.yaml", INFERENCE)
    write(
        bundle / "configs" / "schedule.yaml",
        "lr_scheduler: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 2}\n",
    )
    write(bundle / "configs" / "warm.yaml", "warm_up: '@lr_scheduler'\ninitialize: ['$@warm_up.step()']\n")
    files = "['configs/train.yaml','configs/schedule.yaml','configs/warm.yaml']"
    commands = f'python -m monai.bundle run --config_file "{files}"'
    write(bundle / "docs" / "README.md", f"# Cells\n\n```\n{commands}\n```\n")
    write(bundle / "docs" / "data_license.txt", "CC0\n")
    write(bundle / "LICENSE", "MIT License\n")
    write(bundle / "scripts" / "__init__.py", "")
    write(bundle / "scripts" / "network.py", "import torch\n\n\nclass Net(torch.nn.Module):\n    pass\n")
    large = {"path": "models/model.pt", "url": "https://host.example/model.pt", "hash_type": "sha256"}
    large["hash_val"] = hashlib.sha256(b"weights").hexdigest()
    write(
        bundle / "large_files.yml", "large_files:\n- " + "\n  ".join(f"{key}: {value}" for key, value in large.items())
    )
    return bundle


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


LOGGING = """[loggers]
keys=root
[handlers]
keys=console
[formatters]
keys=line
[logger_root]
level=INFO
handlers=console
[handler_console]
class=StreamHandler
args=(sys.stdout,)
[formatter_line]
format=%(message)s
"""
HEAD = """imports:
- $import scripts
bundle_root: .
output_dir: $@bundle_root + '/eval'
dataset_dir: data/cells
device: $torch.device('cpu')
label_names: {0: round, 1: long}
network_def:
  _target_: scripts.network.Net
  in_channels: 1
  num_classes: 2
network: $@network_def.to(@device)
"""
TRAIN = f"""{HEAD}val_interval: 1
deterministic:
- _target_: LoadImaged
  keys: image
- _target_: ScaleIntensityd
  keys: image
optimizer: {{_target_: torch.optim.Adam, params: $@network.parameters(), lr: 1.0e-4}}
train:
  preprocessing: {{_target_: Compose, transforms: '@deterministic'}}
  postprocessing: {{_target_: Compose, transforms: []}}
  handlers: []
  dataset: {{_target_: Dataset, data: [], transform: '@##preprocessing'}}
  key_metric: {{train_auc: {{_target_: ROCAUC}}}}
  trainer:
    _target_: SupervisedTrainer
    max_epochs: 3
    optimizer: '@optimizer'
    key_train_metric: '@train#key_metric'
validate:
  preprocessing: {{_target_: Compose, transforms: '@deterministic'}}
  dataset: {{_target_: Dataset, data: [], transform: '@validate#preprocessing'}}
  handlers: []
  key_metric: {{val_auc: {{_target_: ROCAUC}}}}
  evaluator: {{_target_: SupervisedEvaluator, key_val_metric: '@validate#key_metric'}}
run:
- $@train#trainer.run()
"""
INFERENCE = f"""{HEAD}preprocessing:
  _target_: Compose
  transforms:
  - _target_: LoadImaged
    keys: image
  - _target_: ScaleIntensityd
    keys: image
postprocessing: {{_target_: Compose, transforms: []}}
inferer: {{_target_: SimpleInferer}}
evaluator: {{_target_: SupervisedEvaluator, inferer: '@inferer', network: '@network'}}
run:
- $@evaluator.run()
"""
