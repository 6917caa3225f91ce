"""``index.html`` beside a manifest: what there is so far, as a page that opens from disk and needs no script."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from pipelines.errors import OutputError
from pipelines.files import save_png, sweep_unfinished, text, write_file
from pipelines.key_figures import figures, warnings
from pipelines.predicted import Outcome

logger = logging.getLogger(__name__)

INDEX = "index.html"
THUMBNAILS = ".thumbnails"  # hidden, so that no case has its name
_HEIGHT, _WIDTH = 160, 320  # of a thumbnail, at most, in pixels
_EVERY = 2.0  # seconds between two writings, at least; and ten times what one takes


@dataclass(frozen=True)
class _Row:
    """A case as the page shows it; links are relative, so that the folder can be moved."""

    name: str
    status: str
    thumbnail: str | None
    overlay: str | None
    links: tuple[tuple[str, str], ...]
    figures: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    error: str | None


class IndexPage:
    """The page of a folder of predictions, written anew every few seconds while cases come, and when it is closed.

    A page or thumbnail that cannot be written is logged and stops nothing: the manifest is what counts.

    Args:
        folder: of the manifest.
        title: the bundle's name.
    """

    def __init__(self, folder: Path, title: str) -> None:
        self.folder = folder
        self.title = title
        self._rows: list[_Row] = []
        self._written, self._took = 0.0, 0.0
        environment = Environment(
            loader=PackageLoader("pipelines.prediction", "."), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._template = environment.get_template("index.html.j2")

    def add(self, *outcomes: Outcome) -> None:
        """Add cases; the page is written if it is time."""
        self._rows += [self._row(outcome) for outcome in outcomes]
        if time.monotonic() - self._written > max(_EVERY, 10 * self._took):
            self._write(ended=False)

    def close(self) -> None:
        """Write the page as it stays."""
        sweep_unfinished(self.folder / THUMBNAILS, below=True)
        self._write(ended=True)

    def _write(self, *, ended: bool) -> None:
        begun = time.monotonic()
        content = self._template.render(
            title=self.title,
            rows=sorted(self._rows, key=lambda row: row.status == "done"),  # what is to be seen to comes first
            counts=sorted(Counter(row.status for row in self._rows).items()),
            ended=ended,
            folder=self.folder.absolute().name,
            made=f"{datetime.now():%Y-%m-%d %H:%M}",
        )
        try:
            write_file(self.folder / INDEX, text(content))
        except OutputError as error:
            logger.warning("%s", error)
        self._written = time.monotonic()
        self._took = self._written - begun

    def _row(self, outcome: Outcome) -> _Row:
        report: dict = {}
        overlay = None
        links: list[tuple[str, str]] = []
        if outcome.report is not None:
            path = Path(outcome.report)
            try:
                report = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                logger.warning("%s: %s", path, error)
            drawn = outcome.files.get("overlay")
            overlay = Path(drawn) if drawn is not None and Path(drawn).is_file() else None
            named = {"mask": outcome.mask, **outcome.files, "report": outcome.report}
            links = [(kind, self._link(Path(file))) for kind, file in named.items() if file is not None]
        return _Row(
            outcome.case or Path(outcome.input).name,
            outcome.status,
            None if overlay is None else self._thumbnail(overlay),
            None if overlay is None else self._link(overlay),
            tuple(links),
            tuple((each["title"], each["text"]) for each in figures(report)),
            tuple(warnings(report)),
            outcome.error,
        )

    def _thumbnail(self, overlay: Path) -> str | None:
        target = self.folder / THUMBNAILS / f"{self._relative(overlay).removesuffix('_overlay.png')}.png"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(overlay) as picture:
                picture.draft("RGB", (_WIDTH, _HEIGHT))
                small = picture.convert("RGB")
            small.thumbnail((_WIDTH, _HEIGHT))
            write_file(target, lambda file: save_png(small, file))
        except (OSError, OutputError) as error:
            logger.warning("%s: %s", target, error)
            return None
        return self._link(target)

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.folder.absolute() if path.is_absolute() else self.folder)

    def _link(self, path: Path) -> str:
        return quote(os.fsencode(self._relative(path)))
