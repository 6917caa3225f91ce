"""``python -m pipelines ui``: the MLflow UI over the project's runs, opened where trainings and the registry are."""

from __future__ import annotations

import argparse
import subprocess
import sys
import webbrowser
from collections.abc import Callable

from pipelines import browser
from pipelines.bundle import Project


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``ui``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("ui", help="the MLflow UI over this project's runs")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open nothing")
    parser.set_defaults(func=lambda args: _ui(args, project(args)))


def _ui(args: argparse.Namespace, project: Project) -> int:
    from pipelines.sigterm import SigtermUnwinds
    from pipelines.tracking import ui_address, ui_command

    command = ui_command(project.root, host=browser.HOST, port=args.port)
    browser.bound(args.port).close()
    address = ui_address(browser.HOST, args.port)
    server: subprocess.Popen[bytes] | None = None
    with SigtermUnwinds():
        try:
            server = subprocess.Popen(command)
            sys.stdout.write(f"{address}\n")
            sys.stdout.flush()
            if not args.no_browser and browser.answers(server, args.port) and browser.has_window():
                webbrowser.open(address)
            return server.wait()
        finally:
            if server is not None:
                browser.end(server)
