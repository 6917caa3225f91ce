"""Label maps of volumes of any length by a 2D network, with memory that does not grow with the number of classes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from monai.inferers import Inferer, sliding_window_inference
from monai.utils import convert_to_dst_type
from torch.nn.functional import interpolate

from pipelines.inferers.mixed_precision import MixedPrecisionInferer
from pipelines.inferers.views import FLIPS, labels_of, settled, view_order

_GROUP = 4  # batches of slices that are looked at together, so that those which need more views fill batches


class VolumeSliceInferer(Inferer):
    """Applies a 2D network slice by slice and returns the label map, not the logits.

    A few slices at a time are resampled to the size the network was trained at, run whole or in overlapping windows,
    averaged over flips, resampled back as probabilities, and reduced to labels. Only the label map (one byte a voxel)
    is kept for the volume, so a scan of 600 slices needs no more room beside it than one of 6.

    Args:
        slice_size: (H, W) to which each slice is resampled before the network; None keeps the slice's own size.
        roi_size: (H, W) of the windows; a slice no larger than this is run whole. None always runs it whole.
        overlap: of neighbouring windows, 0..1, with Gaussian weights.
        batch_size: slices (or windows) a forward pass.
        flips: average the probabilities over the four flips.
        scales: and over the slice resampled to these multiples of ``slice_size`` (of the slice's own size where that
            is None): small lesions show at the larger, large ones at the smaller.
        amp: bfloat16 autocast.
        members: return also what each flip at each scale says by itself, for ``SplitMembersd``; a byte a voxel each.
        probabilities_kept: return also the probability of each class but the first, for ``SplitProbabilitiesd``; a
            byte a voxel each.
        view_tolerance: of volumes, a slice gets no more views (flips at scales) once those that are due are expected to
            change no more than this part of any label's pixels in it (``settled``): one view is enough where nothing
            is, two or four where all agree. None: all views, which pictures and ``members`` get anyway.

    Attributes:
        progress: where set, called with how many slices of a case are done, and how many there are.
        seen: where set, called with the case's place in the batch, the first of some slices, and their mean
            probabilities (N, classes, X, Y), which nothing keeps.
    """

    def __init__(
        self,
        slice_size: Sequence[int] | None = (256, 256),
        roi_size: Sequence[int] | None = None,
        overlap: float = 0.25,
        batch_size: int = 4,
        flips: bool = False,
        scales: Sequence[float] = (1.0,),
        amp: bool = False,
        members: bool = False,
        view_tolerance: float | None = None,
        probabilities_kept: bool = False,
    ) -> None:
        super().__init__()
        self.slice_size = None if slice_size is None else tuple(slice_size)
        self.roi_size = None if roi_size is None else tuple(roi_size)
        self.overlap = overlap
        self.batch_size = batch_size
        self.flips = FLIPS if flips else FLIPS[:1]
        self.scales = tuple(scales)
        self.members = members
        self.view_tolerance = view_tolerance
        self.probabilities_kept = probabilities_kept
        self.progress: Callable[[int, int], object] | None = None
        self.seen: Callable[[int, int, torch.Tensor], object] | None = None
        self._forward = MixedPrecisionInferer(amp)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Labels of a batch of cases.

        Args:
            inputs: (B, 1, X, Y, Z) or (B, 1, X, Y), values 0..1.
            network: (N, 1, H, W) to logits (N, classes, H, W).

        Returns:
            uint8 of the inputs' shape: the class with the highest mean probability. With ``members`` more channels
            behind that one: the class that each flip at each scale finds. With ``probabilities_kept`` more behind
            these: the mean probability of class 1, 2 and so on, 0 to 255.
        """
        volume = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        flat = volume.ndim == 4
        if flat:
            volume = volume[..., None]
        labels: torch.Tensor | None = None
        few = self.view_tolerance is not None and not self.members and volume.shape[-1] > 1
        step = self.batch_size * _GROUP if few else self.batch_size
        for case in range(volume.shape[0]):
            for start in range(0, volume.shape[-1], step):
                slices = volume[case, ..., start : start + step].movedim(-1, 0).contiguous()
                if few:
                    tell = functools.partial(self._tell, start, volume.shape[-1])
                    found = [self._by_few_views(slices, network, tell)]
                else:
                    found = self._labels(slices, network) if self.members else [self.probabilities(slices, network)]
                planes = [labels_of(probabilities) for probabilities in found]
                if self.probabilities_kept:
                    planes += [_as_bytes(each) for each in found[0][:, 1:].unbind(dim=1)]
                if labels is None:
                    shape = (volume.shape[0], len(planes), *volume.shape[2:])
                    labels = torch.zeros(shape, dtype=torch.uint8, device=volume.device)
                for channel, plane in enumerate(planes):
                    labels[case, channel, ..., start : start + step] = plane.movedim(0, -1)
                if self.seen is not None:
                    self.seen(case, start, found[0])
                self._tell(start, volume.shape[-1], len(slices))
        labels = cast(torch.Tensor, labels)  # a volume has a slice
        labels = labels[..., 0] if flat else labels
        return convert_to_dst_type(labels, inputs, dtype=torch.uint8)[0]  # with the meta that Invertd needs

    def _tell(self, start: int, total: int, done: int) -> None:
        if self.progress is not None:
            self.progress(start + done, total)

    def probabilities(self, slices: torch.Tensor, network: Any) -> torch.Tensor:
        """Class probabilities (N, classes, X, Y) of slices (N, 1, X, Y), at the slices' own size."""
        return functools.reduce(torch.add, (self._at_scale(slices, s, network) for s in self.scales)) / len(self.scales)

    def _by_few_views(self, slices: torch.Tensor, network: Any, tell: Callable[[int], object]) -> torch.Tensor:
        """As ``probabilities``, each slice by as many views as it needs; ``tell`` gets as how many slices what is done
        counts."""
        order = view_order(self.scales, self.flips)
        sizes = [self._size(slices, scale) for scale in self.scales]
        small = [self._resampled(slices, size) for size in sizes]
        sums: list[torch.Tensor | None] = [None] * len(self.scales)
        counts = torch.zeros(len(self.scales), len(slices), device=slices.device)
        views: list[torch.Tensor] = []
        due = torch.arange(len(slices), device=slices.device)  # slices that need more views
        for number, (scale, axes) in enumerate(order, start=1):
            parts = small[scale][due].split(self.batch_size)
            answer = torch.cat([self._predict(p.flip(axes), network).softmax(dim=1).flip(axes) for p in parts])
            if sums[scale] is None:
                sums[scale] = answer.new_zeros((len(slices), *answer.shape[1:]))
            cast(torch.Tensor, sums[scale]).index_add_(0, due, answer)
            counts[scale, due] += 1
            if number == len(order):
                break
            if sizes[scale] != sizes[0]:
                answer = interpolate(answer, sizes[0], mode="bilinear")
            views.append(answer)
            tell(len(slices) - math.ceil(len(due) * (1 - number / len(order))))
            if number == 1 or number % 2 == 0:
                rest = ~settled(views, len(order), cast(float, self.view_tolerance))
                due, views = due[rest], [view[rest] for view in views]
                if not len(due):
                    break
        shares = counts / counts.sum(dim=0)
        means = (
            self._own_size(total / count.clamp(min=1).view(-1, 1, 1, 1), slices) * share.view(-1, 1, 1, 1)
            for total, count, share in zip(sums, counts, shares, strict=True)
            if total is not None
        )
        return functools.reduce(torch.add, means)

    def _labels(self, slices: torch.Tensor, network: Any) -> list[torch.Tensor]:
        """The mean probabilities, then those of each flip at each scale, at the slices' own size."""
        members = [
            self._own_size(answer, slices) for scale in self.scales for answer in self._answers(slices, scale, network)
        ]
        return [functools.reduce(torch.add, members) / len(members), *members]

    def _at_scale(self, slices: torch.Tensor, scale: float, network: Any) -> torch.Tensor:
        mean = functools.reduce(torch.add, self._answers(slices, scale, network)) / len(self.flips)
        return self._own_size(mean, slices)

    def _answers(self, slices: torch.Tensor, scale: float, network: Any) -> Iterator[torch.Tensor]:
        """Probabilities of each flip, at the size of the scale."""
        resampled = self._resampled(slices, self._size(slices, scale))
        return (self._predict(resampled.flip(axes), network).softmax(dim=1).flip(axes) for axes in self.flips)

    def _size(self, slices: torch.Tensor, scale: float) -> tuple[int, ...]:
        return tuple(round(side * scale) for side in self.slice_size or slices.shape[2:])

    @staticmethod
    def _resampled(slices: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
        own = tuple(slices.shape[2:])
        return slices if size == own else interpolate(slices, size, mode="bilinear", antialias=True)

    def _own_size(self, probabilities: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        own = tuple(slices.shape[2:])
        return (
            probabilities if tuple(probabilities.shape[2:]) == own else interpolate(probabilities, own, mode="bilinear")
        )

    def _predict(self, slices: torch.Tensor, network: Any) -> torch.Tensor:
        if self.roi_size is None or all(s <= r for s, r in zip(slices.shape[2:], self.roi_size, strict=True)):
            return self._forward(slices, network)
        windows = sliding_window_inference(
            slices,
            self.roi_size,
            self.batch_size,
            lambda window: self._forward(window, network),
            overlap=self.overlap,
            mode="gaussian",
        )
        return cast(torch.Tensor, windows)


def _as_bytes(probabilities: torch.Tensor) -> torch.Tensor:
    return (probabilities * 255).round().clamp(0, 255).to(torch.uint8)
