"""``python -m pipelines ui``: the MLflow UI over the project's runs, opened where trainings and the registry are; or
TensorBoard over those that wrote events for it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipelines import browser
from pipelines.bundle import Project

_MLFLOW, _TENSORBOARD = 5000, 6006  # the ports that each has by custom: both may run at once
_LOOK_AGAIN = 10.0  # seconds until new trainings are looked for


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``ui``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("ui", help="the MLflow UI over this project's runs, or TensorBoard")
    parser.add_argument("--port", type=int, help=f"default: {_MLFLOW}, of TensorBoard {_TENSORBOARD}")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open nothing")
    parser.add_argument(
        "--tensorboard",
        nargs="?",
        const="",
        metavar="DIR",
        help="TensorBoard instead, over all runs that wrote events for it, or over those in a folder",
    )
    parser.set_defaults(func=lambda args: _ui(args, project(args)))


def _ui(args: argparse.Namespace, project: Project) -> int:
    if args.tensorboard is not None:
        return _tensorboard(args, project)
    from pipelines.tracking import ui_address, ui_command

    port = _MLFLOW if args.port is None else args.port
    command = ui_command(project.root, host=browser.HOST, port=port)
    return _serve(command, ui_address(browser.HOST, port), port, open_it=not args.no_browser)


def _tensorboard(args: argparse.Namespace, project: Project) -> int:
    from pipelines.sigterm import SigtermUnwinds
    from pipelines.tracking import tracking_uri
    from pipelines.tracking.tensorboard_page import EventLinks, check_installed, checked_folder, page_command

    check_installed()
    only = checked_folder(Path(args.tensorboard).expanduser()) if args.tensorboard else None
    port = _TENSORBOARD if args.port is None else args.port
    with SigtermUnwinds(), tempfile.TemporaryDirectory(prefix="tensorboard-") as folder:
        links = EventLinks(Path(folder), uri=tracking_uri(project.root), bundles=project.bundles, only=only)
        if not links.refresh():
            sys.stderr.write("no training has written events yet: give one --tensorboard True, and it shows here\n")
        command = page_command(Path(folder), host=browser.HOST, port=port)
        return _serve(command, f"http://{browser.HOST}:{port}/", port, not args.no_browser, meanwhile=links.refresh)


def _serve(
    command: list[str], address: str, port: int, open_it: bool, meanwhile: Callable[[], object] | None = None
) -> int:
    """Run a server until it ends, or this process is ended, and its page in a browser; its exit code."""
    from pipelines.sigterm import SigtermUnwinds

    browser.bound(port).close()
    server: subprocess.Popen[bytes] | None = None
    with SigtermUnwinds():
        try:
            server = subprocess.Popen(command)
            sys.stdout.write(f"{address}\n")
            sys.stdout.flush()
            if open_it and browser.answers(server, port) and browser.has_window():
                webbrowser.open(address)
            while meanwhile is not None and server.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    server.wait(_LOOK_AGAIN)
                meanwhile()
            return server.wait()
        finally:
            if server is not None:
                browser.end(server)
