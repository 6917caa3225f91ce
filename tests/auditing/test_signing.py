"""A signed manifest, and what is demanded of a bundle before it is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from foreign_bundles import write, yaml_bundle, zoo_bundle
from planted import put, value

from pipelines.__main__ import main
from pipelines.auditing.audit import audit
from pipelines.auditing.demand import meet_demands
from pipelines.auditing.signing import write_manifest
from pipelines.bundle import copy_bundle, locate, read_configs
from pipelines.errors import UnreadableFileError, UntrustedBundleError, UsageError
from pipelines.prediction import open_inference


def keys(folder: Path, name: str = "key") -> tuple[Path, Path]:
    """A new private and public key, as openssl writes them."""
    private = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    plain = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.pem").write_bytes(private.private_bytes(*plain))
    (folder / f"{name}.pub").write_bytes(
        private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return folder / f"{name}.pem", folder / f"{name}.pub"


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle that is signed by the key that is trusted."""
    private, public = keys(tmp_path)
    bundle = zoo_bundle(tmp_path)
    write_manifest(bundle, private)
    monkeypatch.setenv("PIPELINES_REQUIRE", "clean, signed")
    monkeypatch.setenv("PIPELINES_PUBLIC_KEY", str(public))
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")
    return bundle


def compiled(bundle: Path) -> None:
    (bundle / "scripts" / "__pycache__").mkdir(parents=True)
    (bundle / "scripts" / "__pycache__" / "network.cpython-311.pyc").write_bytes(b"")


SPOILT = {
    "changed": (put("configs/train.json", "300", "301"), "configs/train.json"),
    "added": (lambda bundle: write(bundle / "configs" / "new.json", "{}"), "configs/new.json"),
    "weights beside": (lambda bundle: write(bundle / "models" / "net" / "model.pt", "x"), "models/net/model.pt"),
    "gone": (lambda bundle: (bundle / "LICENSE").unlink(), "LICENSE"),
    "compiled": (compiled, "__pycache__"),
    "manifest": (put("manifest.json", "0.1.0", "0.2.0"), "manifest.json.sig"),
    "signature": (lambda bundle: (bundle / "manifest.json.sig").write_text("AAAA"), "manifest.json.sig"),
    "no signature": (lambda bundle: (bundle / "manifest.json.sig").unlink(), "manifest.json.sig"),
    "no manifest": (lambda bundle: (bundle / "manifest.json").unlink(), "manifest.json"),
}


def test_a_signed_bundle_is_what_is_demanded_and_stays_it(signed: Path) -> None:
    meet_demands(signed)
    (signed / "eval").mkdir()
    write(signed / "eval" / "metrics.csv", "what a run left")
    meet_demands(signed)


@pytest.mark.parametrize("how", SPOILT)
def test_one_that_was_changed_is_not(how: str, signed: Path) -> None:
    meet_demands(signed)
    spoil, file = SPOILT[how]
    spoil(signed)
    with pytest.raises(UntrustedBundleError, match="the bundle is not run") as refused:
        meet_demands(signed)
    assert file in str(refused.value)


def test_another_key_is_none(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, other = keys(tmp_path, "other")
    assert [each.rule for each in audit(signed, public_key=other).findings] == ["signature-wrong"]
    monkeypatch.setenv("PIPELINES_PUBLIC_KEY", str(other))
    with pytest.raises(UntrustedBundleError, match="not that of this manifest"):
        meet_demands(signed)


def test_who_signs_anew_is_believed_again(signed: Path, tmp_path: Path) -> None:
    put("configs/train.json", "300", "301")(signed)
    write_manifest(signed, tmp_path / "key.pem")
    meet_demands(signed)
    write_manifest(signed)
    assert not (signed / "manifest.json.sig").exists(), "an old signature would be wrong"


def test_a_copy_is_not_signed(signed: Path, tmp_path: Path) -> None:
    """It is without what trainings left, and to be changed."""
    copy = copy_bundle(signed, tmp_path / "copy")
    assert not list(copy.glob("manifest*"))


@pytest.mark.parametrize(
    ("words", "key", "error", "said"),
    [
        ("tidy", "key.pub", UsageError, "tidy"),
        ("signed", "", UsageError, "PIPELINES_PUBLIC_KEY"),
        ("signed", "nothing.pub", UnreadableFileError, "cannot be read"),
        ("signed", "key.pem", UsageError, "public key"),
        ("signed", "rsa.pub", UsageError, "Ed25519"),
    ],
)
def test_demands_that_cannot_be(
    words: str, key: str, error: type[Exception], said: str, signed: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if key == "rsa.pub":
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        made = generate_private_key(65537, 1024).public_key().public_bytes(serialization.Encoding.PEM, form)
        (tmp_path / key).write_bytes(made)
    monkeypatch.setenv("PIPELINES_REQUIRE", words)
    monkeypatch.setenv("PIPELINES_PUBLIC_KEY", str(tmp_path / key) if key else "")
    with pytest.raises(error, match=said):
        meet_demands(signed)


def test_a_private_key_in_the_bundle_is_refused(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "key.pem").rename(signed / "key.pem")
    with pytest.raises(UsageError, match="sent along"):
        write_manifest(signed, signed / "key.pem")


def test_strict_counts_warnings_and_clean_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = yaml_bundle(tmp_path)  # with notes
    monkeypatch.setenv("PIPELINES_REQUIRE", "strict")
    meet_demands(bundle)
    put("configs/inference.yaml", "data/cells", "/data/cells")(bundle)
    with pytest.raises(UntrustedBundleError, match="/data/cells"):
        meet_demands(bundle)
    monkeypatch.setenv("PIPELINES_REQUIRE", "clean")
    meet_demands(bundle)


def test_every_way_to_run_a_bundle_asks_first(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a config would do as it is evaluated is not done."""
    bundle = copy_bundle(project / "bundles" / "covid_ct_severity_classification", tmp_path / "bundle")
    trace = tmp_path / "it-ran"
    put("configs/inference.yaml", "bundle_root: .", f"bundle_root: .\nbad: $open('{trace}', 'w')\n")(bundle)
    put("configs/inference.yaml", "initialize:", "initialize:\n- $@bad")(bundle)
    monkeypatch.setenv("PIPELINES_REQUIRE", "clean")
    config = bundle / "configs" / "inference.yaml"
    for way in (lambda: open_inference(bundle), lambda: locate(bundle), lambda: read_configs([config])):
        with pytest.raises(UntrustedBundleError):
            way()
    assert not trace.exists()


def test_the_command_line_demands_too(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = copy_bundle(project / "bundles" / "covid_ct_severity_classification", tmp_path / "bundle")
    value("configs/metadata.json", "pytorch_version", "2.5.1")(bundle)
    (tmp_path / "a.png").write_bytes((project / "docs" / "images" / "task_xray.png").read_bytes())
    words = ["predict", str(bundle), str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    assert main(["--require", "clean", *words]) == UntrustedBundleError.exit_code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "configs/metadata.json" in said
    assert "CVE-2025-32434" in said
    assert not (tmp_path / "out").exists()
    assert "PIPELINES_REQUIRE" not in os.environ
