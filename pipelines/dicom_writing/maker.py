"""Who made a DICOM object: bundle, version, weights; and what each object of ours has in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import highdicom as hd
import pydicom
from pydicom.uid import generate_uid

from pipelines.fetched import local
from pipelines.files import file_digest

PROJECT = "imaging-bundles"
Write = Callable[[IO[bytes]], object]
_LONGEST = 64  # of a value of the kind LO


@dataclass(frozen=True)
class Maker:
    """The algorithm.

    Attributes:
        name, version: of the bundle.
        network: its name.
        weights: SHA-256 of the weights' file, hexadecimal; "" without one.
    """

    name: str
    version: str
    network: str
    weights: str

    @classmethod
    def of(cls, bundle: Path, network: str, checkpoint: str | None) -> Maker:
        """The maker of what a bundle finds, by its metadata and weights."""
        try:
            metadata = json.loads((bundle / "configs" / "metadata.json").read_text("utf-8"))
        except (OSError, ValueError):
            metadata = {}
        file = local(checkpoint) if checkpoint else None
        weights = file_digest(file) if file is not None and file.is_file() else ""
        return cls(bundle.resolve().name[:_LONGEST], str(metadata.get("version", "0")), str(network), weights)

    @property
    def parameters(self) -> dict[str, str]:
        """Network and weights' digest, as the algorithm's parameters."""
        return {"network": self.network, "weights_sha256": self.weights or "none"}

    @property
    def device_uid(self) -> hd.UID:
        """Of the algorithm: the same in each report by the same bundle, version, network and weights."""
        return hd.UID(generate_uid(entropy_srcs=[PROJECT, self.name, self.version, self.network, self.weights]))

    def common(self, what: str, number: int) -> dict[str, Any]:
        """Arguments that each of highdicom's objects takes: new UIDs, a series of its own that says what it is for."""
        return {
            "series_instance_uid": hd.UID(),
            "series_number": number,
            "sop_instance_uid": hd.UID(),
            "instance_number": 1,
            "manufacturer": PROJECT,
            "manufacturer_model_name": self.name,
            "software_versions": _package_version(),
            "device_serial_number": self.weights[:16] or "none",
            "series_description": f"RESEARCH USE ONLY: {what} by {self.name}"[:_LONGEST],
        }


def _package_version() -> str:
    try:
        return version(PROJECT)
    except PackageNotFoundError:
        return "0"


def label_of(names: Mapping[int, str], value: int) -> str:
    """The name of a label, as long as a segment's label may be; a longer one ends in a digest of the whole."""
    name = names[value]
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def writer(dataset: pydicom.Dataset) -> Write:
    """What writes a data set to a file."""
    dataset.SpecificCharacterSet = "ISO_IR 192"  # names of labels may need more letters than the source has
    return lambda file: pydicom.dcmwrite(file, dataset, enforce_file_format=True)
