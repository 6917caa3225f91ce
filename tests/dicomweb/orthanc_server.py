"""Orthanc from Debian, on loopback, for as long as a test lasts."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SENDER = shutil.which("storescu")
USER, PASSWORD = "alice", "secret"


@dataclass(frozen=True)
class Orthanc:
    url: str
    dicom_port: int

    def receive(self, folder: Path) -> None:
        """Send a folder's files to it with dcmtk."""
        assert SENDER is not None
        subprocess.run([SENDER, "127.0.0.1", str(self.dicom_port), "+sd", str(folder)], check=True, timeout=60)


@contextmanager
def running(folder: Path) -> Iterator[Orthanc]:
    """A server with an empty store in ``folder``, which lets in none but ``USER``."""
    assert ORTHANC is not None
    web, dicom = _free_ports(2)
    config = {
        "StorageDirectory": str(folder / "store"), "IndexDirectory": str(folder / "store"), "Plugins": [str(PLUGIN)],
        "HttpPort": web, "DicomPort": dicom, "RemoteAccessAllowed": False, "DicomCheckCalledAet": False,
        "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD}, "OverwriteInstances": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    folder.mkdir()
    (folder / "store").mkdir()
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([ORTHANC, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)
        try:
            until = time.monotonic() + 30
            while not all(_answers(port) for port in (web, dicom)):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until, "Orthanc did not start"
                time.sleep(0.1)
            yield Orthanc(f"http://127.0.0.1:{web}/dicom-web", dicom)
        finally:
            process.terminate()
            process.wait(20)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
