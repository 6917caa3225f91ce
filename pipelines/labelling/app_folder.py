"""The app folder that MONAI Label starts from: its ``main.py``, and a copy of each bundle that it can work in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pipelines.bundle import bundles_in, copy_bundle
from pipelines.errors import OutputError, UsageError
from pipelines.files import text, write_file
from pipelines.model_pt import write_model_pt

_MAIN = '''"""The app that `python -m pipelines label` prepared; MONAI Label takes the class that it finds here."""

from pipelines.labelling.serving.app import BundlesApp  # noqa: F401
'''
_NAME = re.compile(r"[\w-]+")


def prepare_app(app: Path, bundles: Mapping[str, Path]) -> dict[str, Path]:
    """Make the app folder, or bring it up to date; nothing is fetched.

    Each bundle is copied to ``model/NAME`` and gets its ``models/model.pt``, made of the weights it uses. What
    trainings left there (``models/trained.pt``, ``models/NETWORK/``) stays.

    Args:
        app: the folder.
        bundles: their folders by name.

    Returns:
        The copies by name.

    Raises:
        UsageError: the folder holds something else.
        UnreadableFileError: a bundle has no weights for its default network.
        OutputError: it cannot be written.
    """
    main = app / "main.py"
    if app.is_dir() and any(app.iterdir()) and not _is_ours(main):
        raise UsageError("the folder holds something else", where=app, how="name another folder with --app")
    copies: dict[str, Path] = {}
    try:
        app.mkdir(parents=True, exist_ok=True)
        write_file(main, text(_MAIN))
        for name, folder in bundles.items():
            if not _NAME.fullmatch(name):
                raise UsageError(f"{name!r} cannot be the name of a model", where=folder, how="rename the folder")
            copies[name] = copy_bundle(folder, app / "model" / name, fresh=False)
            write_model_pt(folder, copies[name])
    except OSError as error:
        raise OutputError(
            f"the app folder cannot be made ({error})", where=app, how="name another folder with --app"
        ) from error
    return copies


def _is_ours(main: Path) -> bool:
    try:
        return "pipelines.labelling.serving.app" in main.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def served(app: Path) -> dict[str, Path]:
    """The bundles of an app folder by name."""
    return bundles_in(app / "model")
