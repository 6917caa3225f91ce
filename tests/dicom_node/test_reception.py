"""Who may call, what is taken as it comes, and what is refused with which status."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import socket
import ssl
import struct
import time
from collections import namedtuple
from pathlib import Path

import pydicom
import pytest
from dicom_peers import SETTLE, TITLE, Call, StubPredictor, ct_series, send, settings, states, until
from pydicom.uid import (
    MPEG2MPML,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    MRImageStorage,
    RLELossless,
    generate_uid,
)
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification

from pipelines.dicom_node import storage_scp
from pipelines.dicom_node.callers import Address, Caller, parse_caller
from pipelines.dicom_node.node import Node


@pytest.fixture
def stub() -> StubPredictor:
    return StubPredictor()


def rejection(port: int, title: str, called: str = TITLE) -> int | None:
    """The reason of a rejection; None where the call is taken."""
    ae = AE(title)
    ae.add_requested_context(Verification)
    association = ae.associate("127.0.0.1", port, ae_title=called)
    if association.is_established:
        association.release()
        return None
    assert association.is_rejected
    return int(association.acceptor.primitive.diagnostic)


def test_only_those_on_the_list_may_call_and_only_by_the_nodes_name(tmp_path, stub) -> None:
    callers = [Caller("A"), parse_caller("B@127.0.0.1"), parse_caller("C@192.0.2.7")]
    with Node(tmp_path, stub, settings(callers=callers)) as node:
        assert rejection(node.port, "A") is None
        assert rejection(node.port, "B") is None
        assert rejection(node.port, "C") == 3  # from another address
        assert rejection(node.port, "D") == 3
        assert rejection(node.port, "A", called="OTHER") == 7


def test_without_a_list_anyone_may_call(tmp_path, stub) -> None:
    with Node(tmp_path, stub, settings()) as node:
        assert rejection(node.port, "WHOEVER") is None


def test_so_many_calls_at_a_time(tmp_path, stub) -> None:
    with Node(tmp_path, stub, settings(most_associations=2)) as node:
        with Call(node.port), Call(node.port):
            assert rejection(node.port, "THIRD") == 2
        until(lambda: rejection(node.port, "THIRD") is None)


def test_what_is_not_of_the_modality_is_not_agreed_to(tmp_path, stub) -> None:
    offered = [build_context(MRImageStorage, ExplicitVRLittleEndian), build_context(Verification)]
    with Node(tmp_path, stub, settings()) as node, Call(node.port, contexts=offered) as call:
        assert [each.abstract_syntax for each in call.association.accepted_contexts] == [Verification]
        assert [each.result for each in call.association.rejected_contexts] == [3]  # abstract syntax not supported


def test_compressed_objects_are_taken_as_they_come(tmp_path, stub, shared_data) -> None:
    paths = [each for each in sorted((shared_data / "ct_dicom").iterdir()) if each.is_file()]
    assert paths
    with Node(tmp_path, stub, settings()) as node:
        for path in paths:
            dataset = pydicom.dcmread(path)
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            offered = [build_context(CTImageStorage, dataset.file_meta.TransferSyntaxUID)]
            with Call(node.port, contexts=offered) as call:
                assert call.store(dataset) == 0, path
            stored = {
                pydicom.dcmread(each).SOPInstanceUID: pydicom.dcmread(each)
                for each in (tmp_path / "received").rglob("*.dcm")
            }
            there = stored[dataset.SOPInstanceUID]
            assert there.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
            assert there.PixelData == dataset.PixelData


def test_an_encoding_that_cannot_be_decoded_is_not_agreed_to(tmp_path, stub) -> None:
    compressed = [JPEGLosslessSV1, JPEG2000Lossless, RLELossless, ImplicitVRLittleEndian]
    with Node(tmp_path, stub, settings()) as node:
        for syntax in compressed:
            with Call(node.port, contexts=[build_context(CTImageStorage, syntax)]) as call:
                assert call.association.accepted_contexts[0].transfer_syntax == [syntax]
        with Call(node.port, contexts=[build_context(CTImageStorage, [MPEG2MPML, ExplicitVRLittleEndian])]) as call:
            assert call.association.accepted_contexts[0].transfer_syntax == [ExplicitVRLittleEndian]


def test_what_is_refused_has_the_status_that_says_why(tmp_path, stub, monkeypatch) -> None:
    def without(keyword: str) -> pydicom.Dataset:
        (dataset,) = ct_series(1)
        delattr(dataset, keyword)
        return dataset

    with Node(tmp_path, stub, settings(least_free=1000)) as node, Call(node.port) as call:
        assert call.store(without("StudyInstanceUID")) == 0xA900
        assert call.store(without("SeriesInstanceUID")) == 0xA900
        (long,) = ct_series(1, series="1." + "2" * 80)
        assert call.store(long) == 0xA900
        association = call.association
        (other,) = ct_series(1)
        announced = other.SOPInstanceUID
        other.SOPInstanceUID = generate_uid()
        monkeypatch.setattr("pynetdicom.association.encode", _encoder(other))
        (told,) = ct_series(1)
        told.SOPInstanceUID = announced
        assert association.send_c_store(told).Status == 0xA900  # not the instance that was announced
        (mr,) = ct_series(1)
        mr.SOPClassUID = MRImageStorage
        monkeypatch.setattr("pynetdicom.association.encode", _encoder(mr))
        told.SOPInstanceUID = mr.SOPInstanceUID
        assert association.send_c_store(told).Status == 0xA900  # not the class that was agreed
        monkeypatch.undo()
        with Call(node.port, contexts=[build_context(CTImageStorage, DeflatedExplicitVRLittleEndian)]) as another:
            told.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
            monkeypatch.setattr("pynetdicom.association.encode", lambda *_: b"not deflated")
            assert another.store(told) == 0xC000
            monkeypatch.undo()
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 999, 999))
        (good,) = ct_series(1)
        assert call.store(good) == 0xA700
        monkeypatch.undo()
        monkeypatch.setattr(node.queue, "store", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        assert call.store(good) == 0xA700
        monkeypatch.undo()
        assert call.store(good) == 0
        assert states(node) == ["receiving"]


def _encoder(dataset: pydicom.Dataset):
    from pynetdicom.dsutils import encode

    return lambda _, *how: encode(dataset, *how)


def test_it_is_on_the_disk_before_it_is_said_to_be_stored(tmp_path, stub, monkeypatch) -> None:
    """File, folder and note: each is waited for, in this order."""
    synced = []
    real = __import__("os").fsync
    monkeypatch.setattr("os.fsync", lambda fd: (synced.append(Path(f"/proc/self/fd/{fd}").resolve()), real(fd))[1])
    with Node(tmp_path, stub, settings(settle=60)) as node, Call(node.port) as call:
        assert call.store(ct_series(1)[0]) == 0
        (path,) = (tmp_path / "received").rglob("*.dcm")
        assert synced[0].parent == tmp_path / "incoming"
        assert synced[1:] == [tmp_path / "received", path.parent]
        assert node.queue.files() == {path}
        assert node.queue._rows("PRAGMA synchronous")[0][0] == 2  # FULL


def test_a_caller_who_stops_in_the_middle_or_sends_nonsense_stops_nobody(tmp_path, stub, monkeypatch) -> None:
    monkeypatch.setattr(storage_scp, "_GRACE", 0.2)
    with Node(tmp_path, stub, settings()) as node:
        quiet = socket.create_connection(("127.0.0.1", node.port))
        quiet.sendall(b"\x01\x00\x00")
        huge = socket.create_connection(("127.0.0.1", node.port))
        huge.sendall(struct.pack(">BBL", 1, 0, 2**32 - 1) + b"\0" * 2**16)
        nonsense = socket.create_connection(("127.0.0.1", node.port))
        nonsense.sendall(b"GET / HTTP/1.1\r\n\r\n")
        send(node.port, ct_series(2))
        until(lambda: states(node) == ["done"])
        huge.settimeout(5)
        with pytest.raises(OSError):  # closed, and not read to its end
            huge.sendall(bytes(2**27))
        for each in (quiet, huge, nonsense):
            each.close()


def test_reception_goes_on_while_something_is_predicted(tmp_path, stub) -> None:
    stub.hold.set()
    with Node(tmp_path, stub, settings()) as node:
        send(node.port, ct_series(1))
        until(lambda: stub.calls)
        begun = time.monotonic()
        for _ in range(5):
            send(node.port, ct_series(3))
        assert time.monotonic() - begun < 5
        stub.hold.clear()
        until(lambda: states(node) == ["done"] * 6)


def certificate(folder: Path, name: str, issuer: tuple | None = None) -> tuple[Path, tuple]:
    """A PEM file with a certificate and its key, and both to sign others with."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer_name, signer_key = (subject, key) if issuer is None else (issuer[0].subject, issuer[1])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer_key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM) + private)
    return path, (built, key)


def test_with_tls_only_callers_with_a_certificate_are_heard_and_results_go_by_tls(tmp_path, stub) -> None:
    ca, signer = certificate(tmp_path, "ca")
    own, _ = certificate(tmp_path, "node", signer)
    sender, _ = certificate(tmp_path, "sender", signer)
    stranger, _ = certificate(tmp_path, "stranger")

    def client(path: Path | None) -> tuple[ssl.SSLContext, str]:
        context = ssl.create_default_context(cafile=ca)
        if path is not None:
            context.load_cert_chain(path)
        return context, "127.0.0.1"

    pacs_settings = settings(certificate=own, ca=ca, title="PACS", sop_classes=["1.2.840.10008.5.1.4.1.1.66.4"])
    with Node(tmp_path / "pacs", StubPredictor(), pacs_settings) as pacs:  # takes segmentations, here
        destination = Address("PACS", "127.0.0.1", pacs.port)
        more = {"certificate": own, "ca": ca, "destination": destination, "destination_ca": ca}
        with Node(tmp_path / "out", stub, settings(**more)) as node:
            silent = socket.create_connection(("127.0.0.1", node.port))  # no handshake
            for tls in (None, client(None), client(stranger)):
                try:
                    with pytest.raises(AssertionError):
                        Call(node.port, tls=tls).__enter__()
                except OSError:
                    continue
            with Call(node.port, tls=client(sender)) as call:
                assert [call.store(each) for each in ct_series(2)] == [0, 0]
            until(lambda: states(node) == ["done"])
            until(lambda: len(states(pacs)) == 1)
            silent.close()


def test_an_idle_call_is_not_taken_for_the_end_of_a_series(tmp_path, stub) -> None:
    series = ct_series(3)
    with Node(tmp_path, stub, settings()) as node:
        with Call(node.port) as call:
            call.store(series[0])
            time.sleep(4 * SETTLE)
            assert stub.calls == []
            assert [call.store(each) for each in series[1:]] == [0, 0]
        until(lambda: states(node) == ["done"])
        assert [count for _, count in stub.calls] == [3]
