"""``python -m pipelines label``: MONAI Label's server over bundles of this project, for 3D Slicer and other clients."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines import browser
from pipelines.bundle import MARK, Project, bundles_in, named_bundle, refuse_generating
from pipelines.errors import OutputError, UsageError
from pipelines.sigterm import SigtermUnwinds

_APP = "label-app"


def add_parser(subparsers: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    """Add ``label``; it sets `func`, which takes the arguments and returns the exit code.

    Args:
        subparsers: of the command line.
        project: gives the project of the arguments.
    """
    parser = subparsers.add_parser("label", help="MONAI Label's server over bundles, for 3D Slicer and OHIF")
    parser.add_argument("bundle", nargs="+", metavar="BUNDLE", help="names of bundles, or their folders")
    parser.add_argument(
        "--studies",
        type=Path,
        metavar="DIR",
        required=True,
        help="the folder of images; labels are kept in it. With --dicomweb: where fetched series are kept",
    )
    parser.add_argument("--dicomweb", metavar="URL", help="images come from this DICOMweb server")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--app", type=Path, metavar="DIR", help=f"where bundles are copied to, and trained (default: {_APP})"
    )
    parser.set_defaults(func=lambda args: _label(args, project(args)))


def _label(args: argparse.Namespace, project: Project) -> int:
    bundles = _chosen(args.bundle, project)
    studies = _studies(args)
    browser.bound(args.port).close()
    from pipelines.labelling.environment import label_python, server_command, server_environment

    python = label_python()  # before torch is imported, which takes seconds
    from pipelines.labelling.app_folder import prepare_app
    from pipelines.tracking import tracking_uri

    app = (args.app or project.root / _APP).expanduser().absolute()
    prepare_app(app, bundles)
    command = server_command(python, app, list(bundles), studies, args.port, tracking_uri(project.root))
    environment = server_environment(app, args.studies.absolute() if args.dicomweb else None)
    log = app / "logs" / "server.log"
    log.parent.mkdir(exist_ok=True)
    address = f"http://{browser.HOST}:{args.port}/"
    server: subprocess.Popen[bytes] | None = None
    with SigtermUnwinds(), log.open("wb") as output:
        try:
            shown = None if args.verbose else output
            server = subprocess.Popen(command, env=environment, stdout=shown, stderr=shown, cwd=app)
            sys.stdout.write("MONAI Label starts, which takes some ten seconds ...\n")
            sys.stdout.flush()
            if not browser.answers(server, args.port):
                raise OutputError(f"MONAI Label did not start ({_last_line(log)})", where=log, how="read that file")
            sys.stdout.write(f"{address}\n{', '.join(bundles)}; what the server says: {log}\n")
            sys.stdout.flush()
            return server.wait()
        except KeyboardInterrupt:
            return 0  # how a server is ended
        finally:
            if server is not None:
                browser.end(server)


def _chosen(words: list[str], project: Project) -> dict[str, Path]:
    """The bundles that are meant, by name.

    Raises:
        UsageError: there is no such bundle, or two of one name.
    """
    chosen: dict[str, Path] = {}
    for word in words:
        folder = named_bundle(word, project.bundles).absolute()
        if not (folder / MARK).is_file():
            known = bundles_in(project.bundles)
            how = f"choose from {', '.join(known)}" if known else "name a folder of bundles with --bundles"
            raise UsageError(f"there is no bundle {word!r}", where=project.bundles, how=how)
        refuse_generating(folder, "label")
        if chosen.setdefault(folder.name, folder) != folder:
            raise UsageError(f"two bundles are called {folder.name}", where=folder, how="rename one of the folders")
    return chosen


def _studies(args: argparse.Namespace) -> str:
    """What MONAI Label calls its studies: the folder, or the server's address.

    Raises:
        UsageError: there is no such folder, or the address is none.
    """
    if not args.studies.is_dir():
        raise UsageError("there is no such folder of studies", where=args.studies, how="make it, or name another")
    if args.dicomweb is None:
        return str(args.studies.absolute())
    if not args.dicomweb.startswith(("http://", "https://")):
        how = "give http://HOST:PORT/dicom-web or the like"
        raise UsageError(f"{args.dicomweb!r} is no address of a DICOMweb server", how=how)
    return str(args.dicomweb)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
