"""What a user did wrong, as the last line of ``python -m monai.bundle``, which else ends with a stack trace."""

from __future__ import annotations

import atexit
import sys
from types import TracebackType

from pipelines.errors import PipelinesError


def user_fault(error: BaseException | None) -> PipelinesError | None:
    """The fault of a user that an exception is, was raised from, or was raised in the handling of; the outermost."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, PipelinesError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def say_faults_last(program: str | None = None) -> None:
    """In a process of ``python -m monai.bundle``: a `PipelinesError` that ends it is said once more after the trace and
    all else, in the words of ``python -m pipelines``. Elsewhere, and the second time, nothing happens.

    Args:
        program: the module that is run as a program; None for what Python says of it.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = program or getattr(spec, "name", "").removesuffix(".__main__")
    if program != "monai.bundle" or getattr(sys.excepthook, "says_last", False):
        return
    before, faults = sys.excepthook, []

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        fault = user_fault(error)
        if fault is not None:
            faults.append(fault)

    def say() -> None:
        for fault in faults[-1:]:
            sys.stderr.write(f"\nerror: {fault}\n")
            sys.stderr.flush()

    hook.says_last = True  # type: ignore[attr-defined]
    sys.excepthook = hook
    atexit.register(say)  # what is registered later says what it has to say before
