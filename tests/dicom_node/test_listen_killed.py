"""``listen`` under load: 50 series from 4 senders at once, killed five times meanwhile; 50 answers, none twice."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage, SegmentationStorage
from pynetdicom import AE, evt

from pipelines.__main__ import main
from pipelines.dicom_node.queue import queue_report
from pipelines.warm import WarmPython

SERIES, SENDERS, SLICES = 50, 4, 3
STORESCU = "/usr/bin/storescu"  # dcmtk's: pynetdicom installs a command of the same name


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[list[Path]]:
    """The files of 50 phantom series of three slices."""
    folder = tmp_path_factory.mktemp("phantoms") / "raw"
    words = ["--raw", "--format", "dicom", "--size", "64", "--slices", "7", "--cases", str(SERIES)]
    assert main(["data", "phantom", "covid_ct", "--out", str(folder), *words]) == 0
    found = [sorted(each.iterdir())[2 : 2 + SLICES] for each in sorted((folder / "series").iterdir())]
    assert [len(each) for each in found] == [SLICES] * SERIES
    return found


class Pacs:
    """Takes results, and notes of each object its kind and the series that it refers to."""

    def __init__(self) -> None:
        self.received: dict[str, tuple[str, str]] = {}
        self.times: Counter[str] = Counter()
        ae = AE("PACS")
        for sop_class in (SegmentationStorage, ComprehensiveSRStorage, SecondaryCaptureImageStorage):
            ae.add_supported_context(sop_class)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._stored)]
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert self._server is not None
        self.address = f"PACS@127.0.0.1:{self._server.server_address[1]}"

    def _stored(self, event: evt.Event) -> int:
        dataset = event.dataset
        uid = str(dataset.SOPInstanceUID)
        if dataset.SOPClassUID == SegmentationStorage:
            refers_to = str(dataset.ReferencedSeriesSequence[0].SeriesInstanceUID)
        else:
            refers_to = str(dataset.StudyInstanceUID)  # each phantom is a study of its own
        self.received[uid] = (str(dataset.SOPClassUID), refers_to)
        self.times[uid] += 1
        return 0

    def of(self, sop_class: str) -> list[str]:
        """What the objects of a class refer to."""
        return [refers_to for kind, refers_to in self.received.values() if kind == sop_class]

    def close(self) -> None:
        assert self._server is not None
        self._server.shutdown()


class Listening:
    """The command, which can be killed and started again; it is started until it has its folder and port back."""

    def __init__(self, python: str, project: Path, out: Path, pacs: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.out, self.log = out, out.with_name("listen.log")
        bundle = str(project / "bundles" / "covid_ct_lesion_segmentation")
        words = ["listen", bundle, "--out", str(out), "--port", str(self.port), "--send-to", pacs, "--settle", "1.5"]
        self.command = [python, "-m", "pipelines", *words, "--network", "tiny_unet", "--fast", "--device", "cpu"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
            while self.process.poll() is None:
                with socket.socket() as tried:
                    if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                        return
                time.sleep(0.05)
            assert self.process.returncode in (2, 19), self.log.read_text()  # port or folder are not free yet
        pytest.fail(self.log.read_text())

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def counts(self) -> dict[str, int]:
        return queue_report(self.out)["counts"]


def send_until_taken(files: list[Path], title: str, port: int, stop: threading.Event) -> int:
    """Send a series until storescu says that all of it was stored; how often it took."""
    command = [STORESCU, "-aet", title, "-aec", "PIPELINES", "-to", "10", "127.0.0.1", str(port), *map(str, files)]
    for tries in range(1, 400):
        if stop.is_set() or subprocess.run(command, capture_output=True, timeout=120).returncode == 0:
            return tries
        time.sleep(0.3)
    raise AssertionError("the node never took it")


def wait_for(true: Any, listening: Listening, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert listening.process is not None
        assert listening.process.poll() is None, listening.log.read_text()
        assert time.monotonic() < end, f"{listening.counts()}\n{listening.log.read_text()}"
        time.sleep(0.05)


@pytest.mark.thorough
@pytest.mark.slow
def test_fifty_series_four_senders_five_kills(
    project: Path, series: list[list[Path]], warm: WarmPython, tmp_path: Path
) -> None:
    if not os.access(STORESCU, os.X_OK):
        pytest.skip("dcmtk's storescu is not here: apt-get install dcmtk")
    pacs = Pacs()
    listening = Listening(warm.python, project, tmp_path / "node", pacs.address)
    stop = threading.Event()
    arrived = lambda: len(list((tmp_path / "node" / "received").glob("*/*")))  # noqa: E731
    segs = lambda: len(pacs.of(SegmentationStorage))  # noqa: E731
    moments = [lambda: arrived() >= 20, lambda: arrived() >= 90]
    moments += [lambda: segs() >= 5, lambda: segs() >= 18, lambda: segs() >= 35]
    drawn = random.Random(0)
    listening.start()
    try:
        with ThreadPoolExecutor(SENDERS) as senders:
            tries = [
                senders.submit(send_until_taken, files, f"SENDER{number % SENDERS}", listening.port, stop)
                for number, files in enumerate(series)
            ]
            try:
                for moment in moments:
                    wait_for(moment, listening)
                    time.sleep(drawn.uniform(0.0, 0.5))
                    listening.kill()
                    counts = listening.counts()
                    assert counts["done"] < SERIES
                    listening.start()
                wait_for(lambda: listening.counts()["done"] == SERIES, listening)
            finally:
                stop.set()
        assert sum(each.result() for each in tries) > SERIES  # some were cut off, and came again
        time.sleep(1.0)
        sources = sorted(str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID) for files in series)
        assert sorted(pacs.of(SegmentationStorage)) == sources  # 50 objects, each for another series
        assert len(set(pacs.of(ComprehensiveSRStorage))) == len(pacs.of(ComprehensiveSRStorage)) == SERIES
        assert len(pacs.of(SecondaryCaptureImageStorage)) == SERIES
        assert len(pacs.received) == 3 * SERIES
        assert listening.counts() == {"receiving": 0, "predicting": 0, "sending": 0, "done": SERIES, "failed": 0}
        assert len(list((tmp_path / "node" / "received").glob("*/*"))) == SERIES * SLICES
        assert listening.process is not None
        listening.process.terminate()
        assert listening.process.wait(30) in (143, -15)
        said = listening.log.read_text()
        assert said.count("listening: ") == len(moments) + 1
        assert "Traceback" not in said
        assert "hantom" not in said
        assert "1.2.826" not in said
    finally:
        stop.set()
        if listening.process is not None and listening.process.poll() is None:
            listening.kill()
        pacs.close()
        shutil.rmtree(tmp_path / "node", ignore_errors=True)
