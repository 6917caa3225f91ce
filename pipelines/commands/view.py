"""``python -m pipelines view``: a local page over a folder of results, to look at, compare and correct."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import threading
import webbrowser
from pathlib import Path

from pipelines import browser
from pipelines.sigterm import SigtermUnwinds


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``view``; it sets `func`, which takes the arguments and returns the exit code."""
    parser = subparsers.add_parser("view", help="look at results in a browser, compare two folders, correct masks")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="what predict or data prepare wrote, or a run's evaluation"
    )
    parser.add_argument(
        "second", type=Path, nargs="?", metavar="DIR2", help="another one, shown beside it (two networks, or the truth)"
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open nothing")
    parser.set_defaults(func=_view)


def _view(args: argparse.Namespace) -> int:
    import uvicorn

    from pipelines.viewer import make_app, read_folder

    folders = [read_folder(path.absolute()) for path in (args.folder, args.second) if path is not None]
    try:
        # SIGTERM unwinds, so that the cache goes; uvicorn hands the signal on to this
        with (
            SigtermUnwinds(),
            browser.bound(args.port) as listening,
            tempfile.TemporaryDirectory(prefix="view-") as cache,
        ):
            listening.listen()
            port = listening.getsockname()[1]
            token = secrets.token_urlsafe(24)
            hosts = [f"{browser.HOST}:{port}", f"localhost:{port}"]
            app = make_app(folders, token, hosts, Path(cache), read_ahead=True)
            config = uvicorn.Config(
                app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1,
                server_header=False,
            )  # fmt: skip
            address = f"http://{browser.HOST}:{port}/{token}/"
            sys.stdout.write(f"{address}\n")
            sys.stdout.flush()
            if not args.no_browser and browser.has_window():
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        return 0  # how a page's server is ended
    return 0
