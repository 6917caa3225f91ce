"""Folders as ``predict`` leaves them, small and without a network."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations
from PIL import Image

from pipelines.tasks.lung_ct.writers.masks import EXTENT, VOLUMES

HOST = "127.0.0.1:8123"
TOKEN = "a-token-of-this-test"
ORIGIN = {"origin": f"http://{HOST}"}
SHAPE = (24, 20, 16)  # right, front, up
CT_LABELS = {"0": "background", "1": "lung", "2": "lesion"}


def ct_volume() -> tuple[np.ndarray, np.ndarray]:
    """(HU, labels) in RAS order: a chest without any symmetry, its lesion at the patient's right, in front, above."""
    image = np.full(SHAPE, -1000, np.int16)
    image[2:22, 2:18] = 40
    label = np.zeros(SHAPE, np.uint8)
    label[4:11, 4:16, 2:14] = 1
    label[14:20, 5:15, 2:14] = 1
    label[15:19, 10:14, 9:12] = 2
    image[label == 1] = -850
    image[label == 2] = -300
    image[3, 3, 1] = 321  # no other voxel has it
    return image, label


def save_turned(array: np.ndarray, codes: str, path: Path) -> np.ndarray:
    """Save an array in RAS order with its axes as ``codes`` say (LPS, SRA, ...); returns what is stored."""
    spacing = np.diag([1.5, 1.25, 4.0, 1.0])
    spacing[:3, 3] = -10, 20, -30
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(codes))
    stored = np.ascontiguousarray(orientations.apply_orientation(array, turn))
    affine = spacing @ orientations.inv_ornt_aff(turn, array.shape)
    image = nib.Nifti1Image(stored, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return stored


def write_manifest(folder: Path, entries: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    empty = {"error": None, "mask": None, "report": None}
    lines = [json.dumps({**empty, **entry}) for entry in entries]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def write_ct_case(folder: Path, images: Path, name: str, codes: str = "RAS", extent: float = 0.02) -> dict:
    """A volume with its prediction; returns its line of the manifest."""
    image, label = ct_volume()
    images.mkdir(parents=True, exist_ok=True)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    save_turned(image, codes, images / f"{Path(name).name}.nii.gz")
    save_turned(label, codes, folder / f"{name}_mask.nii.gz")
    report = {"kind": "volume", "labels": CT_LABELS, "extent": extent, "lesion_ml": 0.36, "shape": list(SHAPE)}
    report["figures"] = [EXTENT, *VOLUMES]
    (folder / f"{name}_report.json").write_text(json.dumps(report), "utf-8")
    return {
        "input": str(images / f"{Path(name).name}.nii.gz"),
        "status": "done",
        "mask": str(folder / f"{name}_mask.nii.gz"),
        "report": str(folder / f"{name}_report.json"),
    }


def write_skin_case(folder: Path, images: Path, name: str) -> dict:
    """A colour picture with its prediction, wider than high, its lesion not in the middle."""
    images.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    picture = np.full((40, 60, 3), (210, 160, 140), np.uint8)
    mask = np.zeros((40, 60), np.uint8)
    mask[5:15, 30:50] = 1
    picture[mask == 1] = 90, 50, 40
    Image.fromarray(picture).save(images / f"{name}.png")
    Image.fromarray(mask).save(folder / f"{name}_mask.png")
    Image.fromarray(picture).save(folder / f"{name}_overlay.png")
    report = {"kind": "picture", "labels": {"0": "background", "1": "lesion"}, "area_share": 0.0833, "parts": 1}
    report["size_px"] = {"width": 60, "height": 40}
    report["figures"] = [
        {"key": "area_share", "title": "area", "kind": "share"},
        {"key": "parts", "title": "parts", "kind": "number"},
    ]
    (folder / f"{name}_report.json").write_text(json.dumps(report), "utf-8")
    return {
        "input": str(images / f"{name}.png"),
        "status": "done",
        "mask": str(folder / f"{name}_mask.png"),
        "report": str(folder / f"{name}_report.json"),
    }


def refused_case(images: Path) -> dict:
    images.mkdir(parents=True, exist_ok=True)
    path = images / "broken.nii.gz"
    path.write_text("junk")
    return {"input": str(path), "status": "refused", "error": f"{path}: the file is no NIfTI; copy it again"}
