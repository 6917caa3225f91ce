"""A network that is run by the runtime which is asked for, or by the fastest that agrees with eager."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import ConfigError, DisagreementError, PipelinesError, UsageError
from pipelines.runtimes.agreement import Agreement, Tolerance
from pipelines.runtimes.graphs import onnx_of
from pipelines.runtimes.machine import cache_folder, decision_file, keep, kept
from pipelines.runtimes.sessions import installed, open_session
from pipelines.runtimes.watched import Watched
from pipelines.weights import state_digest

logger = logging.getLogger(__name__)

RUNTIMES = ("eager", "compiled", "onnxruntime", "openvino", "auto")
PRECISIONS = ("auto", "fp32", "bf16")
SLICES, ITEMS = 32, 100
_GAIN = 0.9  # of eager's time: what is hardly faster is not worth another way of computing
_ROUNDS, _LONG = 3, 3.0  # of measuring, and the seconds after which one is enough

Shape = tuple[int, ...]
Forward = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]  # logits, and what is watched


def enough_work(slices: int, cases: int) -> bool:
    """Whether choosing a runtime, some seconds, is worth it: for a volume of 32 slices or more, or where a hundred
    slices or pictures are due."""
    return slices >= SLICES or slices * cases >= ITEMS


@dataclass(frozen=True)
class Choice:
    """What runs inputs of one shape.

    Attributes:
        runtime, precision: of it; of eager's the precision is what the caller computes in.
        why: in words.
    """

    runtime: str
    precision: str
    why: str

    @property
    def name(self) -> str:
        """``openvino bf16``."""
        return self.runtime if self.runtime == "eager" else f"{self.runtime} {self.precision}"


class RuntimeNetwork(torch.nn.Module):
    """Another module's forward, by a runtime; made before its weights are loaded, which sessions read when they are
    first needed.

    Anything but a plain call of a network in evaluation mode (training, further arguments) goes to the network itself,
    and so does whatever needs gradients: Grad-CAM is given the network, not this.

    Args:
        network: (B, C, …) to logits.
        runtime: "eager", "compiled" (``torch.compile``; half a minute to begin with), "onnxruntime", "openvino", or
            "auto": the fastest of eager, onnxruntime and OpenVINO that is installed and agrees with eager in float32,
            measured on the first inputs of each shape; classifiers run in float32 there. The decision is kept for this
            machine, these versions and weights in ``XDG_CACHE_HOME/imaging-bundles``. On a GPU "auto" is eager.
        precision: "fp32", "bf16", or "auto": what the caller computes in (bfloat16 under autocast), or more exact.
        cache: the folder of decisions; None for that one.

    Attributes:
        settling: whether "auto" may decide when it meets a shape; where False, it takes what is decided, else eager.
        choices: by the shape of inputs without the batch.
        met: shapes of whole cases for which it was decided.
        used: names of what has run since it was last cleared.
        lock: held while the network itself is run; whoever else runs it or hooks into it meanwhile holds it too.

    Raises:
        ConfigError: there is no such runtime or precision.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        runtime: str = "eager",
        precision: str = "auto",
        cache: str | Path | None = None,
    ) -> None:
        super().__init__()
        for what, word, known in (("runtime", runtime, RUNTIMES), ("precision", precision, PRECISIONS)):
            if word not in known:
                raise ConfigError(f"there is no {what} {word!r}", how=f"choose from {', '.join(known)}")
        if runtime == "onnxruntime" and precision == "bf16":
            raise ConfigError("onnxruntime has no bf16 on a CPU", how="choose precision fp32, or openvino")
        if runtime in ("onnxruntime", "openvino") and runtime not in installed():
            raise UsageError(f"{runtime} is not installed", how="pip install -c constraints.txt '.[fast]', or eager")
        self.network = network
        self.runtime = runtime
        self.precision = precision
        self.cache = cache_folder() if cache is None else Path(cache)
        self.settling = True
        self.choices: dict[Shape, Choice] = {}
        self.met: set[Shape] = set()
        self.used: set[str] = set()
        self.lock = threading.RLock()
        self._forwards: dict[tuple[Shape, str], Forward] = {}
        self._graphs: dict[Shape, bytes] = {}
        self._digest = ""
        self._layers: tuple[str, ...] = ()  # that are watched
        self._calls: list[tuple[torch.Tensor, ...]] = []  # what was watched in the last ones, two at most

    def train(self, mode: bool = True) -> RuntimeNetwork:
        """As ``nn.Module.train``; engines ask for evaluation mode with each case, and a few hundred layers are asked
        once."""
        return super().train(mode) if mode or self.training or self.network.training else self

    def watch(self, layers: Sequence[str]) -> None:
        """From now on have each call give what these layers of the network give, too; ``watched`` hands it out.

        Raises:
            AttributeError: the network has no such layer.
        """
        if self._layers != tuple(layers):
            self._layers = Watched(self.network, layers).layers
            self._forwards.clear()
            self._graphs.clear()

    def watched(self) -> dict[str, torch.Tensor]:
        """What the layers gave, by name, on the device and of the precision that they were computed in, if since it
        was last asked there was one call, of one item, in evaluation mode; else nothing. "compiled" keeps nothing."""
        calls, self._calls = self._calls, []
        if len(calls) != 1 or len(calls[0]) != len(self._layers) or any(len(each) != 1 for each in calls[0]):
            return {}
        return dict(zip(self._layers, calls[0], strict=True))

    def forward(self, inputs: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits of ``inputs`` (B, C, …), as the network gives them.

        Raises:
            UsageError, ConfigError: the runtime that was asked for cannot run the network.
            DisagreementError: its answers are not eager's.
        """
        plain = self.runtime == "eager" and self.precision == "auto" and not self._layers
        if args or kwargs or self.training or plain:
            with self.lock:
                return self.network(inputs, *args, **kwargs)
        shape = tuple(inputs.shape[1:])
        choice = self.choices.get(shape)
        if choice is None:
            choice = self._decided(shape, inputs)
        self.used.add(choice.name)
        logits, *seen = self._forward_of(shape, choice.runtime, choice.precision, inputs)(inputs)
        if seen:
            self._calls = [*self._calls[-1:], tuple(seen)]
        return logits

    def _decided(self, shape: Shape, inputs: torch.Tensor) -> Choice:
        """What runs this shape; kept in ``choices`` unless it is not yet time to choose."""
        asked = self._asked_precision()
        if self.runtime == "auto":
            if inputs.device.type != "cpu":
                choice = Choice("eager", asked, "it runs on the GPU")
            elif not self.settling:
                return Choice("eager", asked, "there is little to do")
            else:
                choice = self._fastest(shape, asked, inputs)
            logger.info("inputs of %s: %s", "x".join(map(str, shape)), choice.why)
        elif self.runtime in ("eager", "compiled"):
            choice = Choice(self.runtime, asked, "asked for")
        else:
            choice = self._held(shape, asked, inputs)
        self.choices[shape] = choice
        return choice

    def _asked_precision(self) -> str:
        if self.precision != "auto":
            return self.precision
        return "bf16" if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda") else "fp32"

    def _held(self, shape: Shape, asked: str, inputs: torch.Tensor) -> Choice:
        """The runtime that was asked for, held against eager on these inputs."""
        if inputs.device.type != "cpu":
            how = "leave out the runtime, or choose --device cpu"
            raise ConfigError(f"{self.runtime} runs on the CPU here, not on {inputs.device}", how=how)
        precision = "fp32" if self.runtime == "onnxruntime" else asked
        try:
            found = self._agreement(shape, self.runtime, precision, inputs, self._exact(inputs))
        except PipelinesError:
            raise
        except Exception as error:
            what = f"{self.runtime} cannot run this network ({_first_line(error)})"
            raise ConfigError(what, how="choose --runtime eager") from error
        if not Tolerance.of(precision, found.dice is not None).holds(found):
            what = f"{self.runtime} in {precision} differs too much from eager: {found.text}"
            raise DisagreementError(what, how="choose --precision fp32, or --runtime eager")
        return Choice(self.runtime, precision, f"asked for; {found.text}")

    def _fastest(self, shape: Shape, asked: str, inputs: torch.Tensor) -> Choice:
        """The fastest that agrees: as it was decided before, or measured now."""
        others = [("onnxruntime", "fp32"), ("openvino", "fp32"), *([("openvino", "bf16")] if asked == "bf16" else [])]
        others = [each for each in others if each[0] in installed()]
        if not others:
            return Choice("eager", asked, "neither onnxruntime nor openvino is installed")
        self._digest = self._digest or state_digest(self.network.state_dict())
        about = {"network": type(self.network).__name__, "weights": self._digest, "shape": shape, "precision": asked}
        path = decision_file(self.cache, **about)
        before = kept(path)
        if before is not None and (before["runtime"], before["precision"]) in [("eager", asked), *others]:
            return Choice(before["runtime"], before["precision"], f"{before.get('why', '')} (decided before: {path})")
        exact, agreed, said = self._exact(inputs), [("eager", asked)], []
        if exact.ndim == 2:  # one picture cannot show how far bfloat16 moves the probabilities of others
            others = [each for each in others if each[1] == "fp32"]
        for runtime, precision in others:
            try:
                found = self._agreement(shape, runtime, precision, inputs, exact)
            except Exception as error:  # whatever it is that a runtime cannot do, eager can
                said.append(f"{runtime} {precision} cannot run it ({_first_line(error)})")
                continue
            if Tolerance.of(precision, found.dice is not None).holds(found):
                agreed.append((runtime, precision))
            else:
                said.append(f"{runtime} {precision} differs too much ({found.text})")
        seconds = self._seconds(shape, agreed, inputs)
        best = min(agreed, key=lambda each: seconds[each])
        if seconds[best] > _GAIN * seconds["eager", asked]:
            best = ("eager", asked)
        ratios = {each: seconds[each] / seconds["eager", asked] for each in agreed}
        measured = [f"{runtime} {precision} {ratios[runtime, precision]:.2f}" for runtime, precision in agreed[1:]]
        ours = "eager" if best[0] == "eager" else " ".join(best)
        why = f"{ours} is taken; of eager's time: {', '.join([*measured, *said]) or 'nothing else'}"
        choice = Choice(*best, why)
        keep(path, {**asdict(choice), **about, "ratios": {" ".join(each): ratio for each, ratio in ratios.items()}})
        for runtime, precision in agreed[1:]:
            if (runtime, precision) != best:
                self._forwards.pop((shape, f"{runtime} {precision}"), None)
        return choice

    def _exact(self, inputs: torch.Tensor) -> torch.Tensor:
        with torch.autocast(inputs.device.type, enabled=False), self.lock:
            return self.network(inputs)

    def _agreement(
        self, shape: Shape, runtime: str, precision: str, inputs: torch.Tensor, exact: torch.Tensor
    ) -> Agreement:
        return Agreement.of(exact, self._forward_of(shape, runtime, precision, inputs)(inputs)[0])

    def _seconds(self, shape: Shape, ways: list[tuple[str, str]], inputs: torch.Tensor) -> dict[tuple[str, str], float]:
        """The least time of each over a few rounds, in which they take turns."""
        least = dict.fromkeys(ways, float("inf"))
        begun = time.perf_counter()
        for number in range(_ROUNDS):
            for way in ways:
                forward, start = self._forward_of(shape, *way, inputs), time.perf_counter()
                forward(inputs)
                least[way] = min(least[way], time.perf_counter() - start)
            if number and time.perf_counter() - begun > _LONG:
                break
        return least

    def _forward_of(self, shape: Shape, runtime: str, precision: str, inputs: torch.Tensor) -> Forward:
        key = (shape, f"{runtime} {precision}")
        if key not in self._forwards:
            self._forwards[key] = self._made(shape, runtime, precision, inputs)
        return self._forwards[key]

    def _made(self, shape: Shape, runtime: str, precision: str, inputs: torch.Tensor) -> Forward:
        watched = Watched(self.network, self._layers) if self._layers else self.network
        if runtime in ("eager", "compiled"):
            inner: Any = watched if runtime == "eager" else torch.compile(self.network)

            def alone(given: torch.Tensor) -> tuple[torch.Tensor, ...]:
                with self.lock:
                    answer = inner(given)
                return answer if isinstance(answer, tuple) else (answer,)

            def autocast(given: torch.Tensor) -> tuple[torch.Tensor, ...]:
                with torch.autocast(given.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                    logits, *seen = alone(given)
                return logits.float(), *seen

            return alone if self.precision == "auto" else autocast
        if shape not in self._graphs:
            with self.lock:
                self._graphs[shape] = onnx_of(watched, inputs[:1], outputs=("pred", *self._layers))
        session = open_session(runtime, self._graphs[shape], precision)
        return lambda given: tuple(torch.from_numpy(each) for each in session(given.detach().numpy()))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
