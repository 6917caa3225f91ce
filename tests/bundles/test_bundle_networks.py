"""A network takes and gives what the metadata say, and its exports by ``monai.bundle`` equal it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import monai.bundle
import numpy as np
import pytest
import torch
from bundle_under_test import SIDE, Bundle, python
from conftest import Chain
from monai.bundle.scripts import _get_fake_spatial_shape
from torch import Tensor, nn

from pipelines.weights import load_weights

pytestmark = pytest.mark.contract("supervised")
# Exports sum in another order than eager; logits are of order 1, so this is float32 rounding and no more.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def ready(bundle: Bundle, network: str) -> nn.Module:
    """The network in eval mode, its norm statistics moved, so that an export that loses them shows."""
    torch.manual_seed(0)
    built = bundle.network(network).eval()
    for layer in built.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.8, 1.2)  # type: ignore[arg-type]
    return built


def shape(bundle: Bundle, side: str, n: int) -> tuple[int, ...]:
    """(channels, sizes…) of the network's input ("inputs") or output, by the metadata."""
    tensor = bundle.output if side == "outputs" else bundle.input
    return (tensor["num_channels"], *_get_fake_spatial_shape(tensor["spatial_shape"], n=n, any=SIDE))


def image(bundle: Bundle, n: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, *shape(bundle, "inputs", n), generator=torch.Generator().manual_seed(1))


def configs(bundle: Bundle, network: str) -> list[str]:
    return [str(bundle.file("inference")), str(bundle.file(network))]


def test_monai_verifies_what_goes_in_and_comes_out(bundle: Bundle, network: str) -> None:
    monai.bundle.verify_net_in_out(
        net_id="network",
        meta_file=str(bundle.configs / "metadata.json"),
        config_file=configs(bundle, network),
        device="cpu",
        n=2,
        any=SIDE,
        bundle_root=str(bundle.root),
    )


@pytest.mark.parametrize("n", [1, 2, 5])
def test_output_has_the_shape_and_type_of_the_metadata(bundle: Bundle, network: str, n: int) -> None:
    """MONAI looks at the channels and the type alone."""
    with torch.no_grad():
        output = ready(bundle, network)(image(bundle, n, batch=2))
    assert tuple(output.shape) == (2, *shape(bundle, "outputs", n))
    assert str(output.dtype) == f"torch.{bundle.metadata['network_data_format']['outputs']['pred']['dtype']}"


def test_torchscript_export_equals_eager(bundle: Bundle, network: str, tmp_path: Path) -> None:
    eager = ready(bundle, network)
    torch.save(eager.state_dict(), tmp_path / "model.pt")
    monai.bundle.ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(bundle.configs / "metadata.json"),
        config_file=configs(bundle, network),
    )
    exported = torch.jit.load(tmp_path / "model.ts")
    for n in (2, 3):  # scripted, not traced: one export serves every size
        with torch.no_grad():
            torch.testing.assert_close(exported(image(bundle, n)), eager(image(bundle, n)), **TOLERANCE)


def test_onnx_export_equals_eager(
    bundle: Bundle, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # MONAI leaves the weights of a trial file there
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    eager, given = ready(bundle, network), image(bundle, 2)
    torch.save(eager.state_dict(), tmp_path / "model.pt")
    monai.bundle.onnx_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.onnx"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(bundle.configs / "metadata.json"),
        config_file=configs(bundle, network),
        input_shape=list(given.shape),
    )
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (exported,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(exported, eager(given).numpy(), **TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ckpt_export", "onnx_export"])
def test_what_was_trained_is_exported_from_the_command_line(
    bundle: Bundle, trained: Chain, env: dict[str, str], tmp_path: Path, command: str
) -> None:
    given, target = image(bundle, 2), tmp_path / ("model.ts" if command == "ckpt_export" else "model.onnx")
    words = ["-m", "monai.bundle", command, "network_def", "--filepath", str(target)]
    words += ["--ckpt_file", str(trained.checkpoint), "--meta_file", str(bundle.configs / "metadata.json")]
    words += ["--config_file", str(configs(bundle, bundle.smallest)), "--input_shape", str(list(given.shape))]
    python(words, tmp_path, {**env, "TMPDIR": str(tmp_path)})
    eager = bundle.network(bundle.smallest).eval()
    load_weights(eager, trained.checkpoint)
    with torch.no_grad():
        if command == "ckpt_export":
            exported = torch.jit.load(target)(given).numpy()
        else:
            runtime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
            session = runtime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
            (exported,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
        np.testing.assert_allclose(exported, eager(given).numpy(), **TOLERANCE)
