"""The peers' side of ``ct_peers.py``: run by the Python that has nnU-Net and lungmask, and nothing of ours.

Weights are random; whatever else is theirs. nnU-Net's plans are its planner's, for the very scan.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

NNUNET = {"nnunet-2d": "2d", "nnunet-3d": "3d_fullres"}  # with -fast behind: without mirroring
SCAN = "scan_0000.nii.gz"  # as nnU-Net calls a case's first channel
DATASET = "Dataset001_Scan"
TRAINER = "nnUNetTrainer"


def peers_side(args: argparse.Namespace) -> None:
    """Prepares for all, or runs one way in this process."""
    os.environ |= {f"nnUNet_{name}": str(args.work / name) for name in ("raw", "preprocessed", "results")}
    if args.way == "prepare":
        print(json.dumps(prepare(args.series, args.work)))
    elif args.way == "lungmask":
        lungmask(args.series, args.work, args.out)
    else:
        name = args.way.removesuffix("-fast")
        nnunet(NNUNET[name], args.work, args.out, mirroring=name == args.way, threads=args.threads)


def prepare(series: Path, work: Path) -> dict[str, Any]:
    """What is there before a first scan: the scan as nnU-Net reads it, plans, networks. Says versions and sizes."""
    import warnings
    from importlib.metadata import version

    import torch

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    about = {name: version(name) for name in ("nnunetv2", "lungmask", "torch")}
    about["lungmask, parameters"] = _lungmask_weights(work)
    _nnunet_data(series, work)
    for name, configuration in NNUNET.items():
        about[f"{name}, parameters"], about[f"{name}, patch"] = _nnunet_model(configuration, work)
    return about


def _lungmask_weights(work: Path) -> int:
    import torch
    from lungmask.mask import MODEL_URLS
    from lungmask.resunet import UNet

    network = UNet(
        n_classes=MODEL_URLS["R231"][1], padding=True, depth=5, up_mode="upsample", batch_norm=True, residual=False
    )
    torch.save(network.state_dict(), work / "lungmask.pth")
    return sum(each.numel() for each in network.parameters())


def lungmask(series: Path, work: Path, out: Path) -> None:
    """lungmask's command: the folder of DICOM files to a mask on disk.

    Noise would keep its cleaning-up busy for hours, and an empty mask would give it nothing to do: the network computes
    all, and then the answer is air and, of that, two halves, as of two lungs with specks.
    """
    import SimpleITK as sitk
    import torch
    from lungmask import LMInferer, utils

    torch.hub.load_state_dict_from_url = lambda *_, **__: torch.load(work / "lungmask.pth", weights_only=True)
    image = utils.load_input_image(str(series), disable_tqdm=True)
    inferer = LMInferer(modelname="R231", force_cpu=True, tqdm_disable=True)
    network = inferer.model

    def answer(slices: Any) -> Any:
        scores = network(slices)
        lung = ((slices > 0.04) & (slices < 0.32)).float()  # -960 to -500 HU, as lungmask scales
        right = torch.linspace(-1, 1, slices.shape[-1]).expand_as(lung)
        return scores * 1e-6 + torch.cat([1 - lung, lung * (right < 0), lung * (right >= 0)], dim=1)

    inferer.model = answer
    mask = sitk.GetImageFromArray(inferer.apply(image))
    mask.CopyInformation(image)
    out.mkdir(parents=True)
    sitk.WriteImage(mask, str(out / "scan.nii.gz"), True)


def _nnunet_data(series: Path, work: Path) -> None:
    """The scan as a training set of one case, of which the planner makes its plans."""
    import SimpleITK as sitk
    from lungmask import utils

    image = utils.load_input_image(str(series), disable_tqdm=True)
    folder = work / "raw" / DATASET
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    sitk.WriteImage(image, str(folder / "imagesTr" / SCAN), True)
    lung = sitk.BinaryThreshold(image, -960, -500)
    lesion = sitk.BinaryThreshold(image, 60, 80) * 2  # any: it is to have voxels
    sitk.WriteImage(lung + lesion, str(folder / "labelsTr" / SCAN.replace("_0000", "")), True)
    about = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "lung": 1, "lesion": 2},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments

    extract_fingerprints([1], num_processes=1, verbose=False)
    plan_experiments([1], gpu_memory_target_in_gb=8)


def _nnunet_model(configuration: str, work: Path) -> tuple[int, list[int]]:
    """A model's folder as after a training; parameters, and the size of its patch."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = json.loads((work / "preprocessed" / DATASET / "nnUNetPlans.json").read_text())
    about = (work / "raw" / DATASET / "dataset.json").read_text()
    chosen = PlansManager(plans).get_configuration(configuration)
    network = get_network_from_plans(
        chosen.network_arch_class_name,
        chosen.network_arch_init_kwargs,
        chosen.network_arch_init_kwargs_req_import,
        1,
        3,
        deep_supervision=False,
    )
    folder = _model_folder(configuration, work)
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(about)
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": TRAINER,
        "init_args": {"configuration": configuration},
        "inference_allowed_mirroring_axes": tuple(range(len(chosen.patch_size))),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return sum(each.numel() for each in network.parameters()), list(map(int, chosen.patch_size))


def _model_folder(configuration: str, work: Path) -> Path:
    return work / "results" / DATASET / f"{TRAINER}__nnUNetPlans__{configuration}"


def nnunet(configuration: str, work: Path, out: Path, mirroring: bool, threads: int) -> None:
    """As nnU-Net's README calls its predictor; a process for reading and one for writing, where it would take three."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    torch.set_num_threads(threads)
    predictor = nnUNetPredictor(
        use_mirroring=mirroring, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(_model_folder(configuration, work)), use_folds=(0,))
    scan = str(work / "raw" / DATASET / "imagesTr" / SCAN)
    predictor.predict_from_files([[scan]], str(out), num_processes_preprocessing=1, num_processes_segmentation_export=1)
