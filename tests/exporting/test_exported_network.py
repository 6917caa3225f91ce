"""An exported network: its answer is PyTorch's, in each form; one that answers otherwise is not written."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pipelines.exporting.bundle_export as bundle_export
from pipelines.errors import ConfigError, DisagreementError, OutputError, UnreadableFileError, UsageError
from pipelines.exporting import BundleExport
from pipelines.exporting.answering import AnsweringNetwork
from pipelines.exporting.formats import open_network
from pipelines.exporting.network_inputs import network_inputs
from pipelines.files import held
from pipelines.handlers.case_writer import WRITING
from pipelines.inferers import SliceClassInferer, VolumeSliceInferer
from pipelines.networks import SeverityShuffleNet, TinyUNet
from pipelines.weights import save_weights

FORMS = [
    pytest.param(form, marks=pytest.mark.skipif(find_spec(needed) is None, reason=f"{needed} is not installed"))
    for form, needed in (("onnx", "onnxruntime"), ("torchscript", "torch"), ("openvino", "openvino"))
]


def volume(item: dict[str, Any]) -> dict[str, Any]:
    """In the place of a bundle's transforms: noise of 20 x 24 x 9."""
    return {**item, "image": torch.rand(1, 20, 24, 9, generator=torch.Generator().manual_seed(item["seed"]))}


def export(folder: Path, answer: str = "mask", form: str = "torchscript", **options: Any) -> BundleExport:
    torch.manual_seed(0)
    network: nn.Module = TinyUNet() if answer == "mask" else SeverityShuffleNet()
    folder.mkdir(exist_ok=True)
    save_weights(network, folder / "net.safetensors")
    (folder / "a_bundle" / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "a_bundle" / "configs" / "metadata.json").write_text('{"version": "1.2.3", "task": "A task"}')
    inferer = VolumeSliceInferer((32, 48)) if answer == "mask" else SliceClassInferer((32, 48))
    other = TinyUNet() if answer == "mask" else SeverityShuffleNet()  # its weights are loaded
    return BundleExport(
        str(folder / "a_bundle"), other, "net", str(folder / "net.safetensors"), [{"seed": 1}, {"seed": 2}], volume,
        inferer, answer, {0: "ground", 1: "tree", 2: "sky"}, {"low": 0, "high": 1}, str(folder / "out"), form,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("answer", ["mask", "probabilities"])
def test_each_form_gives_the_answer_of_pytorch(answer: str, form: str, tmp_path: Path) -> None:
    made = export(tmp_path, answer, form)
    written = made.write()
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"net"}
    images = torch.rand(3, 1, 32, 48, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        logits = made.network.eval()(images)
    found, found_logits = open_network(form, written.file)(images.numpy())
    np.testing.assert_allclose(found_logits, logits, rtol=1e-4, atol=1e-4)
    if answer == "mask":
        assert (found.dtype, found.shape) == (np.uint8, (3, 32, 48))
        assert (found == logits.argmax(1).numpy()).mean() > 0.999
    else:
        np.testing.assert_allclose(found, logits.softmax(1), atol=1e-5)
    about = json.loads(written.description.read_text())
    assert about["input"]["shape"] == ["batch", 1, 32, 48]
    assert about["input"]["low"] == 0
    assert about["outputs"][0]["label_names"] == {"0": "ground", "1": "tree", "2": "sky"}
    assert (about["bundle"], about["version"], about["network"], about["form"]) == ("a_bundle", "1.2.3", "net", form)
    assert about["compared"]["items"] == 8  # four slices of each of two volumes
    assert about["compared"]["logits_max_difference"] < 1e-3


def test_what_differs_is_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(form: str, path: Path) -> Any:
        run = open_network(form, path)
        return lambda images: [run(images)[0], run(images)[1] + 0.1 * (len(images) > 1)]

    monkeypatch.setattr(bundle_export, "open_network", opened)
    with pytest.raises(DisagreementError, match=r"differs from PyTorch: logits within 1\.0e-01"):
        export(tmp_path).write()
    assert not (tmp_path / "out").exists()
    assert export(tmp_path, difference=0.2).write().file.is_file()


def test_masks_that_differ_are_refused_though_logits_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answered(form: str, path: Path) -> Any:
        run = open_network(form, path)
        return lambda images: [255 - run(images)[0], run(images)[1]]

    monkeypatch.setattr(bundle_export, "open_network", answered)
    with pytest.raises(DisagreementError):
        export(tmp_path).write()


def test_answers_by_hand() -> None:
    class Given(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image

    two = torch.tensor([[0.0, 2.0]])
    probabilities, _ = AnsweringNetwork(Given(), "probabilities", temperature=2.0)(two)
    torch.testing.assert_close(probabilities, torch.tensor([[1 / (1 + np.e), np.e / (1 + np.e)]], dtype=torch.float32))
    single = torch.tensor([[[[-1.0, 0.0, 1.0]]]])
    assert AnsweringNetwork(Given(), "mask", threshold=0.5)(single)[0].tolist() == [[[0, 1, 1]]]
    assert AnsweringNetwork(Given(), "mask", threshold=0.6)(single)[0].tolist() == [[[0, 0, 1]]]
    with pytest.raises(ConfigError, match="no answer 'words'"):
        AnsweringNetwork(Given(), "words")


def test_inputs_are_those_of_the_bundle_and_bad_cases_are_left_out() -> None:
    def strict(item: dict[str, Any]) -> dict[str, Any]:
        if item["seed"] == 0:
            raise UnreadableFileError("the file is empty", where="x.png")
        return volume(item)

    inferer, network = VolumeSliceInferer((32, 48)), TinyUNet().eval()
    images = network_inputs([{"seed": 0}, {"seed": 3}], strict, inferer, network)
    assert images.shape == (4, 1, 32, 48)
    with pytest.raises(UnreadableFileError, match="the file is empty"):
        network_inputs([{"seed": 0}], strict, inferer, network)
    with pytest.raises(UnreadableFileError, match="no case"):
        network_inputs([], strict, inferer, network)


def test_what_is_missing_is_said_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.exporting.formats.installed", dict)
    for form, said in (("onnx", "neither onnxruntime nor openvino"), ("openvino", "openvino is not installed")):
        with pytest.raises(UsageError, match=said):
            export(tmp_path, form=form).write()
    with pytest.raises(UsageError, match="no form 'tflite'"):
        export(tmp_path, form="tflite").write()


def test_a_second_export_to_one_folder_is_refused_and_what_a_killed_one_left_is_removed(tmp_path: Path) -> None:
    made = export(tmp_path)
    left = tmp_path / "out" / f"{WRITING}x"
    left.mkdir(parents=True)
    (left / "net.ts").write_bytes(b"half")
    with held(tmp_path / "out", ".export.lock"), pytest.raises(OutputError, match="another call is writing here"):
        made.write()
    made.write()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["net.json", "net.ts"]
