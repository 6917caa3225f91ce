"""What every writer of predictions does: a few files a case, all of them or none."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from ignite.engine import Engine, Events

from pipelines.errors import OutputError
from pipelines.readers import CaseImage, read_case
from pipelines.transforms import Window, judge_window, scale_ct, stretch_wide_window

logger = logging.getLogger(__name__)

NOT_FOR_CARE = "Research use only: not a medical device, not for diagnosis or treatment."


class CaseWriter(ABC):
    """Base of the handlers that write what inference found of each case of an evaluator.

    A subclass says in ``fill`` what files a case has. They appear together or not at all; ``written`` lists them by
    case and kind, of which ``report`` is always one.

    Args:
        output_dir: made if missing.
        provenance: entries for the report (network, weights).
        key: of the prediction in the engine's output.

    Raises:
        OutputError: while running, where the folder cannot be written.
    """

    def __init__(self, output_dir: str, provenance: Mapping[str, Any] | None = None, key: str = "pred") -> None:
        self.output_dir = Path(output_dir)
        self.provenance = {k: _without_folder(v) for k, v in (provenance or {}).items()}
        self.key = key
        self.written: dict[str, dict[str, Path]] = {}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        batch, outputs = cast(list, engine.state.batch), cast(list, engine.state.output)
        for item, output in zip(batch, outputs, strict=True):
            path = Path(item["image"].meta["filename_or_obj"])
            name = str(item.get("case") or path.name.split(".")[0])
            item.pop("image")  # the preprocessed copy is not needed any more; a long volume's is large
            self.written[name] = self.write_case(name, self.read(path), {**item, **output})
            logger.info("%s: %s", name, self.written[name]["report"])

    def check_weights(self) -> None:  # noqa: B027 - most writers have nothing to check
        """Hold what lies beside the weights against them, before the first case; a subclass says what that is."""

    def read(self, path: Path) -> Any:
        """The input as it is on disk: ``read_case``, where a subclass does not read another kind of image."""
        return read_case(path)

    def write_case(self, name: str, case: Any, item: Mapping[str, Any]) -> dict[str, Path]:
        """Write the files of one case.

        Args:
            name: of the case; files are called after it.
            case: the input, as ``read`` gives it.
            item: of the evaluator's batch and output.

        Returns:
            The files' paths by their kind.

        Raises:
            OutputError: they cannot be written.
        """
        return self.publish(lambda folder: self.fill(folder, name, case, item))

    @abstractmethod
    def fill(self, folder: Path, name: str, case: Any, item: Mapping[str, Any]) -> dict[str, Path]:
        """Write a case's files into ``folder``, in the places below it that they shall have below ``output_dir``."""

    def about(self, case: CaseImage) -> dict[str, Any]:
        """What each report begins with: the input and its grid."""
        return {
            "input": str(case.path),
            "kind": case.kind,
            "shape": list(case.array.shape),
            "spacing_mm": None if case.spacing is None else [round(float(s), 6) for s in case.spacing],
        }

    def publish(self, fill: Callable[[Path], dict[str, Path]]) -> dict[str, Path]:
        """Let ``fill`` write into a folder aside, then move what it wrote to ``output_dir``."""
        final: dict[str, Path] = {}
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.output_dir, prefix=".writing-") as folder:
                files = fill(Path(folder))
                final = {kind: self.output_dir / file.relative_to(folder) for kind, file in files.items()}
                for kind, file in files.items():
                    final[kind].parent.mkdir(parents=True, exist_ok=True)
                    file.replace(final[kind])
        except OSError as error:
            for path in final.values():
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise OutputError(
                f"the prediction cannot be written ({error.strerror or error})",
                where=self.output_dir,
                how="give the scan, or the folder of the results, a shorter name"
                if error.errno == errno.ENAMETOOLONG
                else "free space or choose a folder you may write to",
            ) from error
        return final


def placed(case: CaseImage) -> tuple[np.ndarray, Window]:
    """A case's axial image in the lung window, float32 (X, Y, Z) 0..1, stretched where its window is wide, and what was
    found of that window; nothing of one in Hounsfield units."""
    image = case.axial(case.array)
    scaled = scale_ct(image, case.intensity)
    if case.intensity == "hu":
        return scaled, Window(None)
    window = judge_window(image)
    return stretch_wide_window(scaled, window), window


def _without_folder(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and os.sep in value else value
