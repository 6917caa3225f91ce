"""An int8 graph: small, with the names that its JSON says, for batches of any length, near what it was made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.compression.files import int8_description, write_graph
from pipelines.compression.quantising import Quantised, quantise
from pipelines.errors import ConfigError
from pipelines.exporting.answering import AnsweringNetwork
from pipelines.networks import TinyUNet
from pipelines.runtimes import onnx_of, open_session

onnx = pytest.importorskip("onnx", reason="the extra `fast` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")


@pytest.fixture(scope="module")
def network() -> TinyUNet:
    torch.manual_seed(0)
    return TinyUNet().eval()


@pytest.fixture(scope="module")
def graph(network: TinyUNet) -> bytes:
    return onnx_of(AnsweringNetwork(network, "mask").eval(), torch.zeros(1, 1, 32, 48), "image", ("mask", "logits"))


@pytest.fixture(scope="module")
def quantised(graph: bytes) -> Quantised:
    return quantise(graph, np.random.default_rng(0).random((4, 1, 32, 48), np.float32))


def test_it_is_small_and_answers_as_the_network_does(network: TinyUNet, graph: bytes, quantised: Quantised) -> None:
    assert len(quantised.graph) < 20_000 < len(graph)
    assert quantised.nodes == (6, 6)
    assert (quantised.weights, quantised.non_zero <= 9235) == (9235, True)
    images = torch.rand(3, 1, 32, 48, generator=torch.Generator().manual_seed(1))
    mask, logits = open_session("onnxruntime", quantised.graph)(images.numpy())
    with torch.no_grad():
        due = network(images)
    assert (mask.dtype, mask.shape) == (np.uint8, (3, 32, 48))
    assert np.abs(logits - due.numpy()).max() < 0.05 * float(due.abs().max())
    assert (mask == logits.argmax(1)).all()


def test_the_file_reads_as_the_one_that_it_was_made_of(graph: bytes, quantised: Quantised) -> None:
    before, after = onnx.load_from_string(graph), onnx.load_from_string(quantised.graph)
    onnx.checker.check_model(after)
    assert [each.name for each in after.graph.input] == ["image"]
    assert [each.name for each in after.graph.output] == ["mask", "logits"]
    standard = {each.domain: each.version for each in after.opset_import if each.domain in ("", "ai.onnx")}
    assert standard == {each.domain: each.version for each in before.opset_import}
    kinds = {onnx.TensorProto.DataType.Name(each.data_type) for each in after.graph.initializer}
    assert "INT8" in kinds


def test_graph_and_json_are_written_together(network: TinyUNet, quantised: Quantised, tmp_path: Path) -> None:
    images = torch.rand(2, 1, 32, 48)
    about = {"network": "net", "input": {"name": "image"}, "files": {"net.onnx": "sha256:0"}, "compared": {"items": 9}}
    path = write_graph(
        quantised.graph, tmp_path, "net_int8", lambda file: int8_description(about, file, quantised, network, images, 4)
    )
    said = json.loads((tmp_path / "net_int8.json").read_text())
    assert path.read_bytes() == quantised.graph
    assert list(said["files"]) == ["net_int8.onnx"]
    assert said["quantised"]["calibrated_on"] == 4
    assert said["compared"]["items"] == 2
    assert 0 < said["compared"]["logits_max_difference"] < 1
    assert said["input"] == about["input"]

    def fails(file: Path) -> dict[str, str]:
        raise ConfigError("no JSON of it")

    with pytest.raises(ConfigError):
        write_graph(quantised.graph, tmp_path / "other", "net_int8", fails)
    assert not list((tmp_path / "other").iterdir())


def test_images_of_another_size_are_a_fault_in_a_line(graph: bytes) -> None:
    with pytest.raises(ConfigError, match="cannot quantise"):
        quantise(graph, np.zeros((1, 1, 8, 8), np.float32))
