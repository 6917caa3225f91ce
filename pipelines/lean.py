"""``import monai`` in half of the time, for a process that neither trains nor tracks: a first answer comes sooner.

MONAI imports whatever of its optional libraries is installed, for parts that a prediction never touches: MLflow for a
handler, matplotlib's pyplot and pandas for plots and profiles. ignite imports all of PyTorch's distributed optimisers
for one question, whether an optimiser is a sharded one. Together that is more than MONAI, torch and the network need.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

LEFT_OUT = frozenset({"mlflow", "matplotlib", "pandas", "tensorboard"})  # optional to MONAI and to ignite
_OPTIMISERS = "torch.distributed.optim"


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Imports MONAI and ignite without the libraries of ``LEFT_OUT``; those can be imported afterwards, as ever.

    While it is entered, for further imports, nothing looks for garbage: they make much that stays, which is a fifth of
    their time. In this process MONAI's own MLflow handler and plots stay without their libraries, and say so when they
    are used. Where MONAI is imported already, nothing happens.
    """
    if "monai" in sys.modules:
        yield
        return
    gc.disable()
    try:
        _import_monai()
        yield
    finally:
        gc.freeze()
        gc.enable()


def _import_monai() -> None:
    finder = _Refusing()
    sys.meta_path.insert(0, finder)
    stub = _OPTIMISERS not in sys.modules
    if stub:
        sys.modules[_OPTIMISERS] = _no_optimisers()
    try:
        import monai  # noqa: F401
    finally:
        sys.meta_path.remove(finder)
        if stub:
            del sys.modules[_OPTIMISERS]


class _Refusing(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in LEFT_OUT:
            raise ModuleNotFoundError(f"{fullname} was left out for a faster start", name=fullname)
        return None


def _no_optimisers() -> ModuleType:
    """What ignite asks of the module: a class that no optimiser of this process is an instance of."""
    module = ModuleType(_OPTIMISERS)
    module.ZeroRedundancyOptimizer = type("ZeroRedundancyOptimizer", (), {})  # type: ignore[attr-defined]
    return module
