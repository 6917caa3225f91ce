"""A network by another runtime: the same answers, the fastest that agrees, decided once."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pipelines.runtimes.network as runtime_network
from pipelines.errors import ConfigError, DisagreementError, UsageError
from pipelines.networks import SeverityShuffleNet, TinyUNet, TransferClassifier
from pipelines.runtimes import Agreement, RuntimeNetwork, Tolerance, enough_work, open_session

FAST = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("onnxruntime", "openvino")
]
needs_onnxruntime = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return TinyUNet().eval()


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def call(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return network(inputs)


@pytest.mark.parametrize("runtime", FAST)
@pytest.mark.parametrize("build", [tiny, SeverityShuffleNet])
def test_each_runtime_gives_what_eager_gives_for_any_batch_and_size(
    runtime: str, build: type[nn.Module], tmp_path: Path
) -> None:
    network = build().eval()
    fast = RuntimeNetwork(network, runtime, cache=tmp_path).eval()
    for shape in ((2, 1, 64, 48), (3, 1, 64, 48), (1, 1, 64, 48), (2, 1, 32, 32)):
        given = pictures(*shape).contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(call(fast, given), call(network, given), rtol=1e-4, atol=1e-4)
    assert fast.used == {f"{runtime} fp32"}
    assert set(fast.choices) == {(1, 64, 48), (1, 32, 32)}


@pytest.mark.parametrize("runtime", ["eager", *FAST])
def test_what_layers_gave_comes_from_the_same_pass(runtime: str, tmp_path: Path) -> None:
    network = TransferClassifier("mobilenet_v2").eval()
    layers = ["encoder.0", "classifier"]
    fast = RuntimeNetwork(network, runtime, cache=tmp_path).eval()
    fast.watch(layers)
    picture = pictures(1, 1, 64, 64)
    answer, seen = call(fast, picture), fast.watched()
    assert list(seen) == layers
    expected = network.encoder[0]((picture - network.mean) / network.std).detach()
    torch.testing.assert_close(seen["encoder.0"], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(seen["classifier"], answer)
    torch.testing.assert_close(answer, call(network, picture), rtol=1e-4, atol=1e-4)
    assert fast.watched() == {}, "it is handed out once"
    for calls in ([picture, picture], [picture.repeat(2, 1, 1, 1)]):
        for each in calls:
            call(fast, each)
        assert fast.watched() == {}, "of which picture it would be is not known"
    assert not any(module._forward_hooks for module in network.modules())
    assert list(fast.state_dict()) == [f"network.{key}" for key in network.state_dict()]
    with pytest.raises(AttributeError):
        fast.watch(["nowhere"])


def test_compiled_gives_what_eager_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    network = tiny()
    fast = RuntimeNetwork(network, "compiled", cache=tmp_path).eval()
    assert torch.equal(call(fast, pictures(1, 1, 32, 32)), call(network, pictures(1, 1, 32, 32)))
    assert compiled == [network]


def test_eager_is_the_network_itself(tmp_path: Path) -> None:
    network = tiny()
    plain = RuntimeNetwork(network, cache=tmp_path).eval()
    assert torch.equal(call(plain, pictures(1, 1, 32, 32)), call(network, pictures(1, 1, 32, 32)))
    assert plain.used == set()
    with torch.autocast("cpu", torch.bfloat16):
        half = call(plain, pictures(1, 1, 32, 32))
        whole = call(RuntimeNetwork(network, "eager", "fp32").eval(), pictures(1, 1, 32, 32))
    assert half.dtype == torch.bfloat16
    assert torch.equal(whole, call(network, pictures(1, 1, 32, 32)))


@needs_onnxruntime
def test_weights_that_are_loaded_later_are_those_that_run(tmp_path: Path) -> None:
    network = TinyUNet().eval()
    fast = RuntimeNetwork(network, "onnxruntime", cache=tmp_path).eval()
    network.load_state_dict(tiny().state_dict())
    given = pictures(1, 1, 32, 32)
    torch.testing.assert_close(call(fast, given), call(tiny(), given), rtol=1e-4, atol=1e-4)


@needs_onnxruntime
def test_gradients_and_further_arguments_go_to_the_network(tmp_path: Path) -> None:
    class Named(nn.Module):
        def forward(self, inputs: Tensor, encoded: bool = False) -> Tensor:
            return inputs[:, :, 0, 0] if encoded else inputs

    fast = RuntimeNetwork(Named(), "onnxruntime", cache=tmp_path).eval()
    assert fast(pictures(1, 2, 4, 4), encoded=True).shape == (1, 2)
    training = RuntimeNetwork(TinyUNet(), "onnxruntime", cache=tmp_path).train()
    training(pictures(2, 1, 16, 16)).sum().backward()
    assert all(p.grad is not None for p in training.network.parameters())


def slower(monkeypatch: pytest.MonkeyPatch, **factors: float) -> None:
    """Measured times that depend on nothing: eager 1."""

    def seconds(self: RuntimeNetwork, shape: object, ways: list[tuple[str, str]], inputs: Tensor) -> dict:
        return {way: factors.get("_".join(way), 1.0) for way in ways}

    monkeypatch.setattr(RuntimeNetwork, "_seconds", seconds)


@needs_onnxruntime
def test_auto_takes_the_fastest_and_keeps_the_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slower(monkeypatch, onnxruntime_fp32=0.5, openvino_fp32=0.7)
    caplog.set_level("INFO", "pipelines.runtimes")
    given = pictures(2, 1, 32, 32)
    first = RuntimeNetwork(tiny(), "auto", cache=tmp_path).eval()
    call(first, given)
    assert first.used == {"onnxruntime fp32"}
    assert "onnxruntime fp32 is taken; of eager's time: onnxruntime fp32 0.50" in caplog.text
    (file,) = tmp_path.glob("*.json")
    assert json.loads(file.read_text())["ratios"]["onnxruntime fp32"] == 0.5
    monkeypatch.setattr(RuntimeNetwork, "_seconds", lambda *_: pytest.fail("measured again"))
    again = RuntimeNetwork(tiny(), "auto", cache=tmp_path).eval()
    call(again, given)
    assert again.used == {"onnxruntime fp32"}
    assert "decided before" in caplog.text
    other = TinyUNet().eval()  # other weights are another decision
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        call(RuntimeNetwork(other, "auto", cache=tmp_path).eval(), given)


@needs_onnxruntime
def test_auto_stays_with_eager_where_nothing_is_faster_or_a_kept_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slower(monkeypatch, onnxruntime_fp32=0.95, openvino_fp32=0.95)
    for _ in range(2):
        network = RuntimeNetwork(tiny(), "auto", cache=tmp_path).eval()
        call(network, pictures(2, 1, 32, 32))
        assert network.used == {"eager"}
        (file,) = tmp_path.glob("*.json")
        file.write_text("{")


@needs_onnxruntime
def test_auto_leaves_out_what_does_not_agree_and_a_named_runtime_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(runtime: str, graph: bytes, precision: str = "fp32", threads: int | None = None):
        session = open_session(runtime, graph, precision, threads)
        return lambda inputs: [session(inputs)[0] + torch.linspace(0, 1, 3).reshape(1, 3, 1, 1).numpy()]

    monkeypatch.setattr(runtime_network, "open_session", off)
    slower(monkeypatch, onnxruntime_fp32=0.1, openvino_fp32=0.1)
    network = RuntimeNetwork(tiny(), "auto", cache=tmp_path).eval()
    call(network, pictures(2, 1, 32, 32))
    assert network.used == {"eager"}
    assert "differs too much" in network.choices[1, 32, 32].why
    with pytest.raises(DisagreementError, match=r"differs too much from eager.*--runtime eager"):
        call(RuntimeNetwork(tiny(), "onnxruntime", cache=tmp_path).eval(), pictures(2, 1, 32, 32))


def test_auto_without_any_or_with_little_to_do_is_eager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resting = RuntimeNetwork(tiny(), "auto", cache=tmp_path).eval()
    resting.settling = False
    call(resting, pictures(1, 1, 32, 32))
    assert resting.used == {"eager"}
    assert resting.choices == {}, "what is not decided may be, later"
    monkeypatch.setattr(runtime_network, "installed", dict)
    network = RuntimeNetwork(tiny(), "auto", cache=tmp_path).eval()
    call(network, pictures(1, 1, 32, 32))
    assert network.choices[1, 32, 32].why == "neither onnxruntime nor openvino is installed"
    with pytest.raises(UsageError, match="openvino is not installed"):
        RuntimeNetwork(tiny(), "openvino")


@needs_onnxruntime
def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slower(monkeypatch, onnxruntime_fp32=0.1)
    (tmp_path / "file").write_text("")
    network = RuntimeNetwork(tiny(), "auto", cache=tmp_path / "file" / "below").eval()
    assert call(network, pictures(1, 1, 32, 32)).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("runtime", "precision", "said"),
    [("tensorrt", "auto", "no runtime 'tensorrt'"), ("eager", "int4", "no precision"), ("onnxruntime", "bf16", "bf16")],
)
def test_what_there_is_not_is_named(runtime: str, precision: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RuntimeNetwork(tiny(), runtime, precision)


def test_the_rule_of_enough_work() -> None:
    assert [enough_work(1, 99), enough_work(1, 100), enough_work(31, 1), enough_work(32, 1), enough_work(20, 5)] == [
        False, True, False, True, True,
    ]  # fmt: skip


def test_agreement_by_hand() -> None:
    first = torch.zeros(1, 2, 2, 2)
    first[0, 1] = torch.tensor([[9.0, 9.0], [-9.0, -9.0]])
    other = first.clone()
    other[0, 1, 0, 0] = -9.0
    found = Agreement.of(first, other)
    assert (found.logits_max, found.logits_mean, found.same_labels) == (18.0, 18.0 / 8, 0.75)
    assert found.dice == pytest.approx(2 / 3)
    assert found.probabilities_max == pytest.approx(1.0, abs=1e-3)
    assert not Tolerance.of("fp32", True).holds(found)
    assert Tolerance.of("fp32", True).holds(Agreement.of(first, first))
    one = Agreement.of(torch.tensor([[2.0]]), torch.tensor([[-2.0]]))
    assert (one.dice, one.same_labels) == (None, 0.0)
    nothing = Agreement.of(first, torch.full_like(first, float("nan")))
    assert not Tolerance.of("bf16", True).holds(nothing)


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_bfloat16_is_for_masks_and_held_to_their_dice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a decision of one precision is none of another."""
    slower(monkeypatch, onnxruntime_fp32=0.5, openvino_fp32=0.3, openvino_bf16=0.1)
    monkeypatch.setattr(Tolerance, "holds", lambda self, found: True)
    for build, due in ((tiny, "openvino bf16"), (SeverityShuffleNet, "openvino fp32")):
        network = RuntimeNetwork(build().eval(), "auto", cache=tmp_path).eval()
        with torch.autocast("cpu", torch.bfloat16):
            call(network, pictures(2, 1, 32, 32))
        assert network.used == {due}
        exact = RuntimeNetwork(network.network, "auto", "fp32", cache=tmp_path).eval()
        call(exact, pictures(2, 1, 32, 32))
        assert exact.used == {"openvino fp32"}
