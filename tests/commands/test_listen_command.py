"""``pipelines listen``: what it refuses before it opens anything, and its state for people and programs."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.dicom_node.queue import SeriesQueue

BUNDLE = "covid_ct_lesion_segmentation"


def refused(capsys: pytest.CaptureFixture[str], *words: object, code: int = 2) -> str:
    assert main(["listen", *map(str, words)]) == code
    return capsys.readouterr().err


def test_faults_are_named_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "node"
    assert "which bundle?" in refused(capsys, "--out", out)
    assert "there is no bundle 'nothing'" in refused(capsys, "nothing", "--out", out)
    for words, said in {
        ("--host", "0.0.0.0"): "anyone who reaches 0.0.0.0 could send to it",
        ("--ae-title", "SEVENTEEN LETTERS"): "cannot be an AE title",
        ("--allow", "A@"): "the address of 'A@' is not known",
        ("--send-to", "ORTHANC"): "names no DICOM node",
        ("--settle", "0"): "--settle must be more than 0",
        ("--settle", "nan"): "--settle must be more than 0",
        ("--max-associations", "0"): "--max-associations must be at least 1",
        ("--max-pdu", "0"): "--max-pdu must lie between",
        ("--min-free", "-1"): "cannot be negative",
        ("--keep-days", "-1"): "cannot be negative",
        ("--tls-key", "key.pem"): "need --tls-certificate",
        ("--send-tls-ca", "ca.pem"): "needs --send-to",
    }.items():
        assert said in refused(capsys, BUNDLE, "--out", out, *words), words
    assert "there is no queue here" in refused(capsys, "--status", "--out", out, code=19)
    assert not out.exists()


def test_an_address_or_certificate_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [BUNDLE, "--network", "tiny_unet", "--out", tmp_path / "node"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1 cannot be used" in refused(capsys, *words, "--port", port)
    (tmp_path / "no.pem").write_text("nothing")
    said = refused(capsys, *words, "--port", 0, "--tls-certificate", tmp_path / "no.pem")
    assert "the certificate and key cannot be used" in said
    assert not (tmp_path / "node" / ".listen.lock").exists()


def test_a_confidence_that_nobody_measured_is_refused_before_any_series_comes(tmp_path: Path, capsys) -> None:
    words = [BUNDLE, "--network", "tiny_unet", "--out", tmp_path / "node", "--port", 0]
    assert "pipelines confidence" in refused(capsys, *words, "--min-confidence", "0.5", code=18)
    assert "min_confidence is 2.0" in refused(capsys, *words, "--min-confidence", "2", code=18)
    assert not (tmp_path / "node").exists()


def test_the_state_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queue = SeriesQueue(tmp_path)
    for series in ("0123456789abcdef", "fedcba9876543210"):
        queue.store(series, "i", "c", tmp_path / "received" / f"{series}.dcm")
    job = queue.begin("fedcba9876543210")
    assert job is not None
    queue.failed(job, "slices are missing")
    assert main(["listen", "--status", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("fedcba9876543210  failed     1 instances: slices are missing")
    assert lines[-1] == "1 receiving, 0 predicting, 0 sending, 0 done, 1 failed"
    assert main(["listen", "--status", "--json", "--out", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {each["series"]: each["state"] for each in report["series"]} == {
        "0123456789abcdef": "receiving",
        "fedcba9876543210": "failed",
    }
