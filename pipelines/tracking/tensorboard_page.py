"""TensorBoard over the event folders of trainings, each under the name that its run has in MLflow."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import ConfigError, UsageError
from pipelines.files import safe_name
from pipelines.tracking.event_folders import EVENTS, INSTALL, event_folders
from pipelines.tracking.run_writer import short_and_quiet
from pipelines.tracking.store import open_store, redact, sqlite_path

logger = logging.getLogger(__name__)


class EventLinks:
    """A folder of links to the event folders of trainings: what TensorBoard is told to show.

    TensorBoard calls a run after its place below the folder that it looks in; here that is EXPERIMENT/RUN.

    Args:
        folder: the links', empty.
        uri: of the store, whose runs say where their events are.
        bundles: the folders of checkpoints in there are looked through too, for what the store does not know of.
        only: a folder whose event folders are shown instead.
    """

    def __init__(self, folder: Path, *, uri: str = "", bundles: Path | None = None, only: Path | None = None) -> None:
        self.folder = folder
        self.uri, self.bundles, self.only = uri, bundles, only
        self._linked: set[Path] = set()

    def refresh(self) -> int:
        """Link what is there by now and was not before; how many there are in all."""
        for name, found in self._found():
            target = found.resolve()
            if target in self._linked:
                continue
            self._linked.add(target)
            link, number = self.folder / name, 2
            while link.is_symlink():
                link, number = link.with_name(f"{(self.folder / name).name}-{number}"), number + 1
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target, target_is_directory=True)
        return len(self._linked)

    def _found(self) -> Iterator[tuple[Path, Path]]:
        """Event folders, each with the name it is to have."""
        if self.only is not None:
            for folder in event_folders(self.only):
                within = folder.relative_to(self.only)
                yield (within if within.parts else Path(safe_name(self.only.resolve().name))), folder
            return
        yield from self._of_store()
        if self.bundles is not None:
            for place in sorted(self.bundles.glob(f"*/models/*/{EVENTS}")):
                for folder in event_folders(place):
                    yield Path(place.parents[2].name) / folder.name, folder

    def _of_store(self) -> list[tuple[Path, Path]]:
        path = sqlite_path(self.uri)
        if not self.uri or (path is not None and not path.is_file()):
            return []
        found = []
        try:
            with short_and_quiet():
                client = open_store(self.uri)
                names = {str(each.experiment_id): each.name for each in client.search_experiments()}
                token: str | None = None
                while token != "":
                    runs = client.search_runs(list(names), f"tags.{EVENTS} != ''", page_token=token)
                    token = runs.token or ""
                    for run in runs:
                        folder = Path(run.data.tags[EVENTS])
                        if event_folders(folder):  # they may lie on another machine
                            name = Path(safe_name(names[run.info.experiment_id])) / safe_name(folder.name)
                            found.append((name, folder))
        except Exception as error:  # whatever a store, its driver or the network raises: the folders are looked at
            logger.warning("%s cannot be asked for runs (%s)", redact(self.uri), redact(str(error))[:300])
        return found


def check_installed() -> None:
    """That TensorBoard is there.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("TensorBoard is not installed", where="pipelines ui --tensorboard", how=INSTALL)


def checked_folder(folder: Path) -> Path:
    """A folder of events that a user named.

    Raises:
        UsageError: there are none in it.
    """
    if not folder.is_dir() or not event_folders(folder):
        raise UsageError("there are no events for TensorBoard here", where=folder, how="name the folder of a training")
    return folder


def page_command(folder: Path, *, host: str = "127.0.0.1", port: int = 6006) -> list[str]:
    """The command that shows a folder of events at ``http://HOST:PORT/``."""
    options = ["--host", host, "--port", str(port), "--window_title", "imaging-bundles"]
    kept = ["--samples_per_plugin", "images=50,pr_curves=200", "--reload_interval", "5"]
    return [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), *options, *kept]
