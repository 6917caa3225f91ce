"""A training from random weights learns, by a bundle's own config.

A wrong sign in a loss, labels that lie elsewhere than their images, weights that do not reach the optimiser: all that
runs, is tracked and resumes, and shows here alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bundle_under_test import OURS, SIDE, Bundle

from pipelines.bundle import bundles_in
from pipelines.tasks.lung_ct.phantom import make_lung_phantom

LEARNT = ("covid_ct", "segmentation")  # what is drawn below, and what is to be made of it
STEPS = 80  # of 16 slices
DICE = {"val_lung_dice": 0.8, "val_lesion_dice": 0.5}  # of whole volumes that were not in training


def draw(folder: Path) -> None:
    """A prepared folder, its list written by hand: clear-cut chests, a fifth to a half of each lung lesion."""
    cases = {"training": range(8), "validation": range(8, 11), "test": range(11, 12)}
    head = {"name": "drawn", "fingerprint": "none", "phantom": True, "split": {"seed": 0, "rule": "by hand"}}
    content = head | {"labels": {"0": "background", "1": "lung", "2": "lesion"}}
    for section, numbers in cases.items():
        content[section] = []
        for number in numbers:
            phantom = make_lung_phantom(number, SIDE, 8, extent=0.2 + 0.03 * number, clear_cut=True)
            image, label = f"image{number}.nii", f"label{number}.nii"
            nib.save(nib.Nifti1Image(phantom.array.astype(np.int16), phantom.affine), folder / image)
            nib.save(nib.Nifti1Image(phantom.label.astype(np.uint8), phantom.affine), folder / label)
            item = {"image": image, "label": label, "patient": f"p{number}", "case": f"c{number}"}
            content[section].append(item)
    (folder / "datalist.json").write_text(json.dumps(content))


@pytest.mark.thorough
@pytest.mark.slow
def test_a_network_learns_lungs_and_lesions_from_random_weights(tmp_path: Path) -> None:
    (bundle,) = [each for each in map(Bundle, bundles_in(OURS).values()) if (each.dataset, each.kind) == LEARNT]
    draw(tmp_path)
    epochs = STEPS // 4
    knobs = {"epochs": epochs, "val_interval": epochs, "slices_per_case": 8, "learning_rate": 0.01}
    plain = {"amp": False, "flips": False, "scales": [1.0]}
    workflow = bundle.workflow(
        "train", "train", bundle.default, dataset_dir=tmp_path, ckpt_dir=tmp_path / "ckpt", **knobs, **plain
    )
    workflow.initialize()
    workflow.run()
    assert workflow.trainer.state.iteration == STEPS
    learnt = workflow.evaluator.state.metrics
    for name, bound in DICE.items():
        assert learnt[name] > bound, (name, learnt)
