"""A DICOMweb server's address, who asks it, and what its refusals are called."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dicom_inputs import write_series
from served_studies import Running, Served

from pipelines.dicomweb import Server, series_of
from pipelines.errors import ServerError, UnreadableFileError, UsageError


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("pacs:8042", "no address"),
        ("ftp://pacs/dicom-web", "no address"),
        ("https://", "no address"),
        ("https://pacs:x/dicom-web", "no address"),
        ("https://pacs/dicom-web?a=b", "no address"),
        ("https://user:hunter2@pacs/dicom-web", "user or a password"),
        ("http://pacs.example.org/dicom-web", "in the open"),
        ("http://127.0.0.1.example.org/dicom-web", "in the open"),
    ],
)
def test_an_address_that_will_not_do_is_refused_and_tells_no_password(url, said) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Server(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://pacs/dicom-web/", "http://127.0.0.1:8042/dicom-web", "http://localhost/dicom-web"]
)
def test_https_and_this_machine_will_do(url) -> None:
    assert Server(url).url == url.rstrip("/")


def test_http_to_another_machine_is_there_when_it_is_asked_for() -> None:
    assert Server("http://pacs/dicom-web", plain_http=True).url


def test_two_kinds_of_authentication_and_half_of_one_are_refused() -> None:
    with pytest.raises(UsageError, match="one of them"):
        Server("https://pacs/d", user="a", password="b", token="c")
    with pytest.raises(UsageError, match="DICOMWEB_PASSWORD"):
        Server("https://pacs/d", user="a")


def test_user_or_token_are_sent(served: Served, tmp_path: Path) -> None:
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    for user, more in (("Basic YTpi", {"user": "a", "password": "b"}), ("Bearer t", {"token": "t"})):
        served.user = user
        assert len(series_of(Server(served.url, **more), study)) == 1
        with pytest.raises(ServerError, match="401"):
            series_of(Server(served.url), study)


def test_what_lies_in_netrc_is_sent_to_nobody(served: Served, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    series_of(Server(served.url), study)
    assert "authorization" not in served.asked[-1][2]


def test_a_proxy_is_not_asked_for_this_machine(served: Served, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    assert series_of(Server(served.url), study)


@pytest.mark.parametrize(("status", "said"), [(403, "forbidden"), (500, "answers 500"), (302, "not followed")])
def test_a_refusal_is_named(served: Served, status, said) -> None:
    served.status = [(status, 9)]
    with pytest.raises(ServerError, match=said):
        series_of(Server(served.url), "1.2.3")
    assert {path for _, path, _ in served.asked} == {"/dicom-web/studies/1.2.3/series"}


def test_a_passing_fault_is_asked_again_and_a_lasting_one_is_named(served: Served, tmp_path: Path) -> None:
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    served.status = [(503, 2)]
    assert series_of(Server(served.url), study)
    served.asked.clear()
    served.status = [(503, 9)]
    with pytest.raises(ServerError, match=r"503.*ask again later"):
        series_of(Server(served.url), study)
    assert len(served.asked) == 3


def test_nobody_there_and_no_dicomweb_are_named(served: Served) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/dicom-web"
    with pytest.raises(ServerError, match="cannot be reached"):
        series_of(Server(closed), "1.2.3")
    served.entries = ["nonsense", {"0020000E": 3}, None]
    with pytest.raises(UnreadableFileError, match="no study"):
        series_of(Server(served.url), "1.2.3")
    with pytest.raises(UnreadableFileError, match="no study"):
        series_of(Server(served.url + "/nowhere"), "1.2.3")


def test_a_certificate_is_verified(tmp_path: Path) -> None:
    key, certificate = _self_signed(tmp_path)
    files = {"ssl_keyfile": str(key), "ssl_certfile": str(certificate)}
    with Running(Served(), **files) as served:
        study = served.add(*write_series(tmp_path / "ct").iterdir())
        with pytest.raises(ServerError, match="not trusted"):
            series_of(Server(served.url), study)
        assert series_of(Server(served.url, ca_file=certificate), study)
        with pytest.raises(UsageError, match="certificates"):
            Server(served.url, ca_file=tmp_path / "none.pem")


def test_the_option_counts_more_than_the_environment(tmp_path: Path, monkeypatch) -> None:
    _, certificate = _self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    session = Server("https://pacs/d", ca_file=certificate).client._session
    settings = session.merge_environment_settings("https://pacs/d", {}, None, None, None)
    assert settings["verify"] == str(certificate)


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return folder / "key.pem", folder / "certificate.pem"
