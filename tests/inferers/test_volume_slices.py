"""Label maps of volumes: equal to the obvious way, at any size."""

from __future__ import annotations

import pytest
import torch

from pipelines.inferers import MixedPrecisionInferer, VolumeSliceInferer, supports_bfloat16
from pipelines.networks import TinyUNet


class Threshold(torch.nn.Module):
    """Class 2 where the grey value is above 0.6, 1 above 0.3: what the label map must be is known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.3 - x, torch.minimum(x - 0.3, 0.6 - x), x - 0.6], dim=1) * 50


def blocks(x: int, y: int, z: int) -> torch.Tensor:
    return torch.rand(1, 1, -(-x // 16), -(-y // 16), z).repeat_interleave(16, 2).repeat_interleave(16, 3)[:, :, :x, :y]


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize(
    "options", [{"slice_size": None}, {"slice_size": None, "roi_size": (32, 32)}, {"slice_size": (128, 96)}]
)
def test_labels_are_those_of_the_classes_at_the_input_size(options, flips):
    torch.manual_seed(0)
    volume = blocks(77, 51, 5)
    labels = VolumeSliceInferer(batch_size=2, flips=flips, **options)(volume, Threshold())
    truth = (
        Threshold()(volume[..., 0]).argmax(1)
        if volume.ndim == 4
        else torch.cat([Threshold()(volume[..., z]).argmax(1)[..., None] for z in range(5)], -1)
    )
    assert labels.shape == volume.shape
    assert labels.dtype == torch.uint8
    agreement = (labels[0] == truth).float().mean()
    assert agreement == 1 if options["slice_size"] is None else agreement > 0.9


def test_a_slice_is_the_same_alone_and_in_a_volume():
    torch.manual_seed(0)
    network = TinyUNet().eval()
    volume = torch.rand(1, 1, 40, 56, 7)
    inferer = VolumeSliceInferer(slice_size=(64, 64), batch_size=3, flips=True)
    with torch.no_grad():
        whole = inferer(volume, network)
        assert torch.equal(inferer(volume[..., 4], network), whole[..., 4])


def test_flip_averaging_makes_the_answer_flip_with_the_picture():
    torch.manual_seed(0)
    network = TinyUNet().eval()
    slices = torch.rand(2, 1, 48, 48)
    with torch.no_grad():
        with_flips = VolumeSliceInferer(slice_size=None, flips=True)
        assert torch.allclose(
            with_flips.probabilities(slices.flip(3), network).flip(3),
            with_flips.probabilities(slices, network),
            atol=1e-5,
        )
        without = VolumeSliceInferer(slice_size=None)
        assert not torch.allclose(
            without.probabilities(slices.flip(3), network).flip(3), without.probabilities(slices, network), atol=1e-5
        )


def test_mixed_precision_returns_float32_near_to_it():
    torch.manual_seed(0)
    network, slices = TinyUNet().eval(), torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        exact = MixedPrecisionInferer(amp=False)(slices, network)
        mixed = MixedPrecisionInferer(amp=True)(slices, network)
    assert torch.equal(exact, network(slices).float())
    assert mixed.dtype == torch.float32
    assert 0 < (exact - mixed).abs().max() < 0.05


@pytest.mark.parametrize(("dims", "laid"), [(2, torch.channels_last), (3, torch.channels_last_3d)])
def test_what_a_network_learns_from_lies_as_its_weights_do(dims, laid):
    images = torch.rand(2, 3, *[8] * dims)
    seen = []
    for channels_last in (True, False):
        MixedPrecisionInferer(False, channels_last)(images, lambda given: seen.append(given) or given)
    assert [each.is_contiguous(memory_format=laid) for each in seen] == [True, False]
    assert torch.equal(*seen)


def test_support_is_known_for_the_cpu():
    assert supports_bfloat16("cpu") in (True, False)
    assert supports_bfloat16("meta") is False


@pytest.mark.parametrize(("capability", "expected"), [("AVX512", True), ("AVX2", False), ("DEFAULT", False)])
def test_a_cpu_that_is_told_to_do_less_is_not_given_bfloat16(monkeypatch, capability, expected):
    """With ATEN_CPU_CAPABILITY=avx2 it would emulate it, some ten times slower than float32."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert supports_bfloat16("cpu") is expected


def test_scales_are_averaged():
    torch.manual_seed(0)
    network, slices = TinyUNet().eval(), torch.rand(1, 1, 40, 40)
    with torch.no_grad():
        one, two, both = (
            VolumeSliceInferer(slice_size=(32, 32), scales=scales).probabilities(slices, network)
            for scales in ((1.0,), (1.25,), (1.0, 1.25))
        )
    assert both.shape == (1, 3, 40, 40)
    assert torch.allclose(both, (one + two) / 2, atol=1e-6)
    assert not torch.allclose(one, two, atol=1e-4)
    assert torch.equal(two, network(slices).softmax(1))  # 32 x 1.25 is the slices' own size
