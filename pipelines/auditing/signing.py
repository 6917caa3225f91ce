"""A bundle's manifest: the SHA-256 of each of its files, signed with an Ed25519 key."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.auditing.contents import Contents
from pipelines.auditing.findings import Finding
from pipelines.errors import OutputError, UnreadableFileError, UsageError
from pipelines.files import text, write_file
from pipelines.listed_hashes import MANIFEST, differences, digests, listed_in, manifest

SIGNATURE = f"{MANIFEST}.sig"
_KEY = "make one: openssl genpkey -algorithm ed25519 -out KEY.pem; openssl pkey -in KEY.pem -pubout -out KEY.pub"


def write_manifest(bundle: Path, key: Path | None = None) -> list[Path]:
    """Write ``manifest.json`` of all of a bundle's files, and with a private key (PEM) ``manifest.json.sig``.

    Returns:
        The files that were written; an older signature is taken away.

    Raises:
        UnreadableFileError: a file, or the key, cannot be read.
        UsageError: the key is no Ed25519 key, or lies in the bundle.
        OutputError: the folder cannot be written.
    """
    if key is not None and key.resolve().is_relative_to(bundle.resolve()):
        raise UsageError(
            "the private key lies in the bundle, and would be sent along", where=key, how="keep it elsewhere"
        )
    private = None if key is None else _private(key)
    contents = Contents(bundle)
    about = {"bundle": bundle.resolve().name, "version": str(contents.about.get("version", ""))}
    content = manifest(about, _sums(contents)).encode()
    target, signature = bundle / MANIFEST, bundle / SIGNATURE
    how = "choose a bundle that can be written"
    try:
        signature.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"the signature cannot be replaced ({error.strerror})", where=signature, how=how) from error
    write_file(target, lambda file: file.write(content), how=how)
    if private is None:
        return [target]
    signed = base64.b64encode(private.sign(content)).decode()
    write_file(signature, text(f"{signed}\n"), how=how)
    return [target, signature]


def check_manifest(contents: Contents, public_key: Path | None = None) -> Iterator[Finding]:
    """Whether the files are those of the manifest, where there is one; with a key also that it is signed by it.

    Raises:
        UnreadableFileError, UsageError: the key cannot be used.
    """
    public = None if public_key is None else _public(public_key)
    path, signature = contents.folder / MANIFEST, contents.folder / SIGNATURE
    if not path.is_file():
        if public is not None:
            how = "ask its sender to sign it: python -m pipelines check BUNDLE --write-manifest --sign KEY.pem"
            yield Finding("signature-wrong", MANIFEST, 0, "there is no manifest to be signed", how)
        return
    content = path.read_bytes()
    try:
        listed = listed_in(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        yield Finding("manifest-differs", MANIFEST, 0, "it cannot be read")
        return
    if public is not None:
        yield from _check_signature(public, content, signature)
    for what, names in differences(listed, _sums(contents)).items():
        for name in names[:5]:
            yield Finding("manifest-differs", name, 0, f"the file is {what}")
        if len(names) > 5:
            yield Finding("manifest-differs", MANIFEST, 0, f"{len(names) - 5} more files are {what}")


def _check_signature(public: Any, content: bytes, signature: Path) -> Iterator[Finding]:
    from cryptography.exceptions import InvalidSignature

    if not signature.is_file():
        yield Finding("signature-wrong", SIGNATURE, 0, "the manifest is not signed")
        return
    try:
        public.verify(base64.b64decode(signature.read_bytes().strip(), validate=True), content)
    except (InvalidSignature, binascii.Error, ValueError):
        yield Finding("signature-wrong", SIGNATURE, 0, "the signature is not that of this manifest by this key")


def _sums(contents: Contents) -> dict[str, str]:
    """Of all files but the manifest itself. A link counts by what it leads to.

    Raises:
        UnreadableFileError: a file cannot be read.
    """
    files = {name: path for name, path in contents.files.items() if name not in (MANIFEST, SIGNATURE)}
    try:
        return digests({name: path for name, path in files.items() if path.is_file()})
    except OSError as error:
        raise UnreadableFileError(f"a file cannot be read ({error.strerror})", where=error.filename) from error


def _private(path: Path) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return _key(path, lambda content: load_pem_private_key(content, password=None), Ed25519PrivateKey, "private")


def _public(path: Path) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return _key(path, load_pem_public_key, Ed25519PublicKey, "public")


def _key(path: Path, load: Any, kind: type, word: str) -> Any:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"the {word} key cannot be read ({error.strerror})", where=path, how=_KEY) from error
    try:
        key = load(content)
    except Exception as error:  # cryptography has many of its own: a password, another kind, no PEM
        raise UsageError(f"this is no {word} key in PEM without a password", where=path, how=_KEY) from error
    if not isinstance(key, kind):
        raise UsageError(f"this is no {word} key of Ed25519", where=path, how=_KEY)
    return key
