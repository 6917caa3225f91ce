"""Fewer views of a slice where those that are left out would change next to nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipelines.inferers import VolumeSliceInferer
from pipelines.inferers.views import FLIPS, labels_of, settled, view_order
from pipelines.networks import TinyUNet
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.weights import read_weights


def test_the_first_views_differ_in_flip_and_scale_and_none_is_left_out():
    order = view_order((1.0, 1.25), FLIPS)
    assert len(set(order)) == len(order) == 8
    assert order[:2] == [(0, ()), (1, (2, 3))]
    assert view_order((1.0,), FLIPS[:1]) == [(0, ())]


def test_labels_are_argmax_and_the_first_of_equal_ones():
    torch.manual_seed(0)
    values = torch.rand(2, 4, 9, 7)
    values[0, :, 0, 0] = 0.5
    assert torch.equal(labels_of(values).long(), values.argmax(dim=1))


def three(lesion: float, spread: float, seed: int = 0, views: int = 4) -> list[torch.Tensor]:
    """Views of two slices: background with a lung whose lower half is a lesion of about this probability."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(views):
        second = torch.zeros(32, 32)
        second[16:24, 8:24] = lesion
        second = (second + spread * torch.randn(32, 32, generator=generator) * (second > 0)).clamp(0, 1)
        lung = torch.zeros(32, 32)
        lung[8:24, 8:24] = 1
        one = torch.stack([1 - lung, lung * (1 - second), lung * second])
        found.append(torch.stack([one, torch.stack([1 - lung, lung, torch.zeros(32, 32)])]))
    return found


@pytest.mark.parametrize(
    ("lesion", "spread", "done"),
    [(0.95, 0.02, True), (0.5, 0.2, False), (0.45, 0.1, False), (0.02, 0.01, True), (0.8, 0.02, True)],
)
def test_a_slice_is_settled_where_its_views_agree_about_every_label(lesion, spread, done):
    assert settled(three(lesion, spread), 8, 0.05).tolist() == [done, True]


@pytest.mark.filterwarnings("error")
def test_a_slice_of_which_nothing_is_in_doubt_is_settled_without_a_warning():
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # torch says it once a process otherwise
    try:
        assert settled(three(0.95, 0.0), 8, 0.05).tolist() == [True, True]
    finally:
        torch.set_warn_always(before)


def test_the_more_views_there_are_the_sooner_it_is_settled():
    views = three(0.62, 0.15, views=7)
    last = [int(settled(views[:count], 8, 0.05)[0]) for count in range(2, 8)]
    assert last[0] == 0
    assert last[-1] == 1


def test_one_view_is_enough_only_where_nothing_is():
    blank = torch.zeros(2, 3, 16, 16)
    blank[:, 0] = 1
    blank[1, :, 3, 3] = torch.tensor([0.85, 0.0, 0.15])
    assert settled([blank], 8, 1.0).tolist() == [True, False]


class Counting(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.slices = network, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.slices += len(x)
        return self.network(x)


@pytest.fixture(scope="module")
def scan() -> torch.Tensor:
    """A phantom with slices above and below the lungs, (1, 1, X, Y, Z), 0..1."""
    phantom = make_lung_phantom(3, size=128, slices=20)
    scaled = scale_ct(phantom.array.astype(np.float32), "hu")
    return torch.nn.functional.pad(torch.from_numpy(scaled)[None, None], (3, 3))


def test_no_lesion_is_lost_and_slices_without_lung_are_looked_at_once(scan, project):
    weights = project / "bundles" / "covid_ct_lesion_segmentation" / "models" / "tiny_unet.safetensors"
    network = TinyUNet()
    network.load_state_dict({k: v.float() for k, v in read_weights(weights).items()})
    options = {"slice_size": (128, 128), "flips": True, "scales": (1.0, 1.25)}
    whole, few = Counting(network.eval()), Counting(network)
    with torch.no_grad():
        expected = VolumeSliceInferer(**options)(scan, whole)
        found = VolumeSliceInferer(**options, view_tolerance=0.05)(scan, few)
        alone = Counting(network)
        VolumeSliceInferer(**options, view_tolerance=0.05)(scan[..., :3], alone)
    assert whole.slices == 26 * 8
    assert few.slices < 0.8 * whole.slices
    assert alone.slices <= 3 * 2, "there is no lung in these"
    for label, least in ((1, 0.995), (2, 0.98)):
        one, other = expected == label, found == label
        assert one.any()
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) >= least
    bodies, count = ndimage.label(expected[0, 0].numpy() == 2)
    for body in range(1, count + 1):
        inside = bodies == body
        assert inside.sum() < 20 or (found[0, 0].numpy()[inside] == 2).mean() > 0.5


def test_pictures_and_members_get_all_views(scan):
    network = Counting(TinyUNet().eval())
    options = {"slice_size": (32, 32), "flips": True, "view_tolerance": 0.5}
    with torch.no_grad():
        VolumeSliceInferer(**options)(torch.zeros(1, 1, 40, 40), network)
        VolumeSliceInferer(**options)(torch.zeros(1, 1, 40, 40, 1), network)
        assert network.slices == 8
        VolumeSliceInferer(**options, members=True)(torch.zeros(1, 1, 40, 40, 2), network)
    assert network.slices == 16


def test_without_tolerance_and_with_none_to_spare_it_is_the_mean_of_all(scan):
    torch.manual_seed(0)
    network = TinyUNet().eval()
    options = {"slice_size": (64, 64), "flips": True, "scales": (1.0, 1.25)}
    with torch.no_grad():
        expected = VolumeSliceInferer(**options)(scan[..., :5], network)
        found = VolumeSliceInferer(**options, view_tolerance=0.0)(scan[..., :5], network)
    assert (expected == found).float().mean() > 0.9999
