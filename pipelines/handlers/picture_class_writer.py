"""Writes what a classifier found in pictures: a class with its probabilities, and where the network looked."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.networks.utils import eval_mode
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import ConfigError
from pipelines.files import save_png
from pipelines.handlers.case_writer import NOT_FOR_CARE, CaseWriter, Finding
from pipelines.readers import read_colour
from pipelines.readers.burned_in import notes_of
from pipelines.readers.shown_path import shown_path
from pipelines.transforms import TemperatureScaled

_LEAST_SIDE = 96  # pixels that every classifier takes


class PictureClassWriter(CaseWriter):
    """For each picture of an evaluator: ``NAME_report.json`` and, where a layer is given, ``NAME_overlay.png``.

    The report holds ``class``, ``probabilities`` by name and ``refer``: whether a person should look, because the
    class that is said has less than ``refer_below`` (as where the positive one is likelier and yet short of the
    operating threshold), or because a subclass doubts the picture itself (``doubts``). The class follows the operating
    point that is stored with the weights. The overlay is the picture with Grad-CAM of the class that is said (Selvaraju
    et al., https://arxiv.org/abs/1610.02391): where the last features speak for it. It is no proof of
    why.

    Args:
        output_dir, provenance, key: as ``CaseWriter``.
        names: of the classes.
        refer_below: 0..1.
        checkpoint: the weights, for the operating point and the temperature in the report; the latter has been applied.
        network: the classifier, for Grad-CAM.
        target_layer: the name of its last layer with a spatial extent, or "auto" for the one before the last adaptive
            pooling; None for no overlay.
        image_size: (W, H) that the network was trained at.

    Raises:
        ConfigError: a value out of its range, or a layer that the network does not have.
        WeightsError: while running, where the weights were trained for other classes.
    """

    def __init__(
        self,
        output_dir: str,
        names: Sequence[str],
        refer_below: float = 0.6,
        checkpoint: str | None = None,
        network: torch.nn.Module | None = None,
        target_layer: str | None = None,
        image_size: Sequence[int] | None = None,
        provenance: Mapping[str, Any] | None = None,
        key: str = "pred",
    ) -> None:
        super().__init__(output_dir, provenance, key)
        if not 0 <= refer_below <= 1:
            raise ConfigError(f"refer_below is {refer_below}", how="give a part from 0 to 1")
        self.names = [str(name) for name in names]
        self.refer_below = refer_below
        self.calibration = TemperatureScaled(key, checkpoint)
        self.network = network
        self.target_layer = (
            last_spatial_layer(network) if network is not None and target_layer == "auto" else target_layer
        )
        if network is not None and self.target_layer not in {None, *(name for name, _ in network.named_modules())}:
            raise ConfigError(f"the network has no layer {target_layer!r}", how="give --target_layer auto")
        self.image_size = None if image_size is None else tuple(image_size)
        self.seen: dict[str, torch.Tensor] = {}  # of the case, by layer, what the engine's network gave on its way
        self._running: Any = None
        self._heads: torch.Tensor | bool | None = False  # see _head; False: not asked for yet

    def attach(self, engine: Engine) -> None:
        super().attach(engine)
        engine.add_event_handler(Events.STARTED, lambda started: self.watch(getattr(started, "network", None)))

    def watch(self, network: Any) -> None:
        """Have a ``RuntimeNetwork`` of the same network keep what the picture of a case is drawn by."""
        if self.target_layer is not None and hasattr(network, "watch") and network.network is self.network:
            self._running = network
            network.watch(self.layers())

    def layers(self) -> list[str]:
        """What of the network's forward pass is kept for the picture of a case; a subclass knows more."""
        return [] if self.target_layer is None else [self.target_layer]

    def check_weights(self) -> None:
        """Hold the calibration against the weights, and the classes against those that they were trained for.

        Raises:
            UnreadableFileError, WeightsError: see ``TemperatureScaled``.
        """
        self.calibration.require(self.names, [])

    def read(self, path: Path) -> Any:
        return read_colour(path)

    def doubts(self, case: Any) -> Sequence[str]:
        """Why this may be no picture for the network, in words; a subclass knows."""
        return ()

    def pixels(self, case: Any) -> NDArray:
        """What the network looks at and the overlay shows: (C, W, H), 0..255, C 1 (grey) or 3 (RGB)."""
        return np.asarray(case.array)

    def find(self, name: str, case: Any, item: Mapping[str, Any]) -> Finding:
        self.check_weights()
        self.seen = {} if self._running is None else self._running.watched()
        probabilities = np.asarray(item[self.key].detach().cpu(), dtype=float).reshape(1, len(self.names))
        predicted = int(self.calibration.predict(probabilities, self.names)[0])
        pixels = self.pixels(case)
        point = None if self.calibration.calibration is None else self.calibration.calibration.operating_point
        reasons = list(self.doubts(case))
        if probabilities[0, predicted] < self.refer_below:
            reasons.append(f"the class that is said has less than {self.refer_below:g}")
        report = {
            "input": shown_path(case.path),
            "kind": "picture",
            "size_px": {"width": pixels.shape[1], "height": pixels.shape[2]},
            "class": self.names[predicted],
            "probabilities": {n: round(float(p), 6) for n, p in zip(self.names, probabilities[0], strict=True)},
            "refer": bool(reasons),
            "reason": "; ".join(reasons) or None,
            "refer_below": self.refer_below,
            "temperature": round(self.calibration.temperature, 4),
            "operating_point": None
            if point is None
            else {"positive": point.positive, "threshold": point.threshold, "rule": point.rule},
            "figures": [{"key": "class", "title": "class", "kind": "word"}],
            "notes": notes_of(case),
            **self.provenance,
            "use": NOT_FOR_CARE,
        }
        if self.network is None or self.target_layer is None:
            return Finding(name, report)
        known, features = self.known(case), self.seen.get(self.target_layer)
        return Finding(
            name,
            report,
            draw=lambda file: save_png(Image.fromarray(self.overlay(pixels, predicted, known, features)), file),
        )

    def known(self, case: Any) -> Any:
        """What the picture of a case is drawn by besides and need not be found again; a subclass knows."""
        return None

    def overlay(
        self, pixels: NDArray, index: int, known: Any = None, features: torch.Tensor | None = None
    ) -> NDArray[np.uint8]:
        """The picture and, beside it, the picture with Grad-CAM of a class: uint8 (H, 2 W, 3).

        Args:
            pixels: (C, W, H), 0..255, C 1 or 3.
            index: of the class.
            known: of the same case.
            features: what the target layer gave for it, 1 x C x w x h, if that is known.
        """
        assert self.network is not None
        given = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32) / 255)[None]
        given = given.to(next(self.network.parameters()).device)
        if self.image_size is not None:
            given = torch.nn.functional.interpolate(given, self.image_size, mode="bilinear", antialias=True)
        heat = self.heat(given, index, known, features)
        strength = torch.nn.functional.interpolate(heat, pixels.shape[1:], mode="bilinear")[0, 0].numpy().T
        if strength.max() > 0:
            strength = strength / strength.max()
        from matplotlib import colormaps  # not where nothing is drawn

        colours = colormaps["inferno"](np.rint(strength.clip(0, 1) * 255).astype(np.uint8), bytes=True)
        weight = np.float32(0.6) * strength
        width = pixels.shape[1]
        drawn = np.empty((pixels.shape[2], 2 * width, 3), dtype=np.uint8)
        left, right = drawn[:, :width], drawn[:, width:]
        for channel in range(3):  # one at a time: a picture of 12 megapixels would take a gibibyte
            plain = pixels[channel % len(pixels)].T.astype(np.float32)
            left[:, :, channel] = np.rint(plain)
            right[:, :, channel] = np.rint(plain + weight * (colours[:, :, channel] - plain))
        return drawn

    def heat(
        self, given: torch.Tensor, index: int, known: Any = None, features: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Grad-CAM of a class on the CPU, 1 x 1 x W x H, as it comes, of a picture 1 x C x W x H, 0..1.

        The same as monai.visualize.GradCAM's, which scales it to 0..1 besides and so shows the whole picture as a
        reason where nothing speaks for the class, and leaves a hook in the network at each call. Where the ``features``
        are known and the head is linear over their mean, nothing is run: gradients are the head's weights, whatever
        the picture (Zhou et al., https://arxiv.org/abs/1512.04150).
        """
        head = None if features is None else self._head(given, known, features)
        if head is None or features is None:
            features, (gradient,) = self._gradients(given, [index], known)
            weights = gradient.mean(dim=(2, 3), keepdim=True)
        else:
            weights = head[index].to(features.device)
        heat = (weights * features.float()).sum(dim=1, keepdim=True).relu()
        return torch.nn.functional.interpolate(heat.float(), given.shape[2:], mode="bilinear").cpu()

    def _gradients(
        self, given: torch.Tensor, classes: Sequence[int], known: Any, instead: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The target layer's features, or what is put ``instead`` of them, and the gradients of classes by these.
        Gradients are taken of what lies behind the layer and of no more."""
        assert self.network is not None and self.target_layer is not None  # noqa: PT018 - see find
        taken: list[torch.Tensor] = []
        here = threading.get_ident()

        def take(layer: torch.nn.Module, given: Any, features: torch.Tensor) -> torch.Tensor:
            if threading.get_ident() != here:  # the next picture, which is computed meanwhile
                return features
            torch.set_grad_enabled(True)
            taken.append((features if instead is None else instead.to(features)).detach().requires_grad_())
            return taken[-1].clone()  # what follows may work in place

        hook = self.network.get_submodule(self.target_layer).register_forward_hook(take)
        try:
            with eval_mode(self.network):  # and without gradients until the layer
                said = self.logits(given, known)[0]
                found = [torch.autograd.grad(said[each], taken[-1], retain_graph=True)[0] for each in classes]
        finally:
            hook.remove()
        return taken[-1].detach(), found

    def _head(self, given: torch.Tensor, known: Any, features: torch.Tensor) -> torch.Tensor | None:
        """Of a head that is linear over the mean of the target layer's features the gradients of each class by them,
        classes x 1 x C x 1 x 1; None of another one. It shows in that the gradients are the same everywhere and of
        whatever features; asked once, of a small picture, since what it gives is put aside."""
        if self._heads is False:
            least = [min(side, _LEAST_SIDE) for side in given.shape[2:]]
            given = torch.nn.functional.interpolate(given, least, mode="bilinear")
            draws = torch.Generator().manual_seed(0)
            classes = range(len(self.names))
            drawn = (torch.randn(features.shape, generator=draws) for _ in range(2))
            one, other = (torch.stack(self._gradients(given, classes, known, each)[1]) for each in drawn)
            mean = one.mean(dim=(3, 4), keepdim=True)
            close = 1e-4 * float(mean.abs().max())
            linear = max(float((each - mean).abs().max()) for each in (one, other)) <= close
            self._heads = mean if linear else None
        assert not isinstance(self._heads, bool)
        return self._heads

    def logits(self, given: torch.Tensor, known: Any = None) -> torch.Tensor:
        """What the heat is of, 1 x classes, of a picture 1 x C x W x H."""
        assert self.network is not None
        return self.network(given)


def last_spatial_layer(network: torch.nn.Module) -> str:
    """The name of the layer before a network's last adaptive pooling: its last features that lie somewhere.

    Raises:
        ConfigError: there is none.
    """
    names = [name for name, layer in network.named_modules() if isinstance(layer, torch.nn.AdaptiveAvgPool2d)]
    head, _, place = names[-1].rpartition(".") if names else ("", "", "")
    if not place.isdigit() or int(place) == 0:
        raise ConfigError(
            "the network has no adaptive pooling behind features", how="name a layer: --target_layer NAME"
        )
    return f"{head}.{int(place) - 1}"
