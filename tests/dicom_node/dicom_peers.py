"""Who talks to a node in the tests: a sender, a receiver that counts, a predictor without a network; small series."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import Verification

from pipelines.dicom_node.callers import Address
from pipelines.dicom_node.node import Node, NodeSettings
from pipelines.dicom_node.predictor import Answer, Interrupted
from pipelines.errors import SeriesError

TITLE, SETTLE = "NODE", 0.3
NAME, PATIENT, BORN = "Grün^Anna Maria", "MRN-4711", "19521224"


def ct_series(count: int = 3, *, series: str = "", study: str = "") -> list[Dataset]:
    """The data sets of a CT series of 16 x 16 pixels, of a patient with a name."""
    series, study, frame = series or generate_uid(), study or generate_uid(), generate_uid()
    found = []
    for k in range(count):
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.Modality, dataset.SpecificCharacterSet, dataset.InstanceNumber = "CT", "ISO_IR 100", k + 1
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, PATIENT, BORN
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 2.0 * k], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.RescaleSlope, dataset.RescaleIntercept = [1, 1], 1, -1024
        dataset.Rows = dataset.Columns = 16
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        dataset.PixelData = np.full((16, 16), 1000 + k, np.uint16).tobytes()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        found.append(dataset)
    return found


class Call:
    """An association as a context; ``store`` gives the status, None where the node did not answer."""

    def __init__(
        self,
        port: int,
        *,
        title: str = "SENDER",
        called: str = TITLE,
        contexts: Sequence[Any] = (),
        tls: Any = None,
    ) -> None:
        ae = AE(title)
        ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = 10
        offered = list(contexts) or [build_context(CTImageStorage, ExplicitVRLittleEndian), build_context(Verification)]
        self.association = ae.associate("127.0.0.1", port, offered, called, tls_args=tls)

    def __enter__(self) -> Call:
        assert self.association.is_established
        return self

    def __exit__(self, *_: object) -> None:
        if self.association.is_established:
            self.association.release()

    def store(self, dataset: Dataset) -> int | None:
        return self.association.send_c_store(dataset).get("Status")


def send(port: int, datasets: Sequence[Dataset]) -> None:
    """Store data sets in one association, each with success."""
    with Call(port) as call:
        assert [call.store(each) for each in datasets] == [0] * len(datasets)


class Receiver:
    """A node that takes results: ``uids`` counts how often each object came, ``status`` is what it answers."""

    def __init__(self, *, port: int = 0, takes: Sequence[str] = (SegmentationStorage, SecondaryCaptureImageStorage)):
        self.uids: Counter[str] = Counter()
        self.status = 0x0000
        self.seen: list[float] = []
        self._ae = AE("RECEIVER")
        for sop_class in takes:
            self._ae.add_supported_context(sop_class)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._stored)]
        self._server = self._ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        assert self._server is not None
        self.address = Address("RECEIVER", "127.0.0.1", int(self._server.server_address[1]))

    def _stored(self, event: evt.Event) -> int:
        self.seen.append(time.monotonic())
        if self.status == 0:
            self.uids[str(event.request.AffectedSOPInstanceUID)] += 1  # type: ignore[union-attr]
        return self.status

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self._ae.shutdown()


class StubPredictor:
    """Writes one segmentation object a series, and keeps what it was called with.

    Attributes:
        calls: how many slices each call found, by SeriesInstanceUID.
        hold: a call waits while this is set.
        fault: raised in place of an answer.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.hold = threading.Event()
        self.fault: Exception | None = None

    def __call__(self, series: Path, out: Path, stopped: Callable[[], bool]) -> Answer:
        datasets = [pydicom.dcmread(path) for path in sorted(series.iterdir())]
        self.calls.append((str(datasets[0].SeriesInstanceUID), len(datasets)))
        while self.hold.is_set():
            if stopped():
                raise Interrupted
            time.sleep(0.02)
        if self.fault is not None:
            raise self.fault
        result_of(datasets[0]).save_as(out / f"{series.name}_seg.dcm", enforce_file_format=True)
        return Answer(1)


def result_of(source: Dataset) -> Dataset:
    """A result that says which series it is of."""
    result = Dataset()
    result.SOPClassUID, result.SOPInstanceUID = SegmentationStorage, generate_uid()
    result.StudyInstanceUID, result.SeriesInstanceUID = source.StudyInstanceUID, generate_uid()
    result.SeriesDescription = str(source.SeriesInstanceUID)
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return result


def refusing_fault(source: Dataset) -> SeriesError:
    """A fault whose words name the patient."""
    what = f"the series {source.SeriesInstanceUID} of {PATIENT} (Grün, born {BORN}) is torn"
    return SeriesError(what, how="send it again")


def settings(**more: Any) -> NodeSettings:
    defaults = {"title": TITLE, "host": "127.0.0.1", "port": 0, "sop_classes": [CTImageStorage], "settle": SETTLE}
    return NodeSettings(**{**defaults, **more})


def until(true: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)


def states(node: Node) -> list[str]:
    """The states of the series in a node's queue, sorted."""
    return sorted(row["state"] for row in node.queue._rows("SELECT state FROM series"))
