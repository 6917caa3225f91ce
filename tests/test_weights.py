"""Weights: what fits is loaded, everything else is refused by name and runs no code (bad-inputs, item 8)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
import torch

from pipelines.errors import UnreadableFileError, WeightsError
from pipelines.networks import LesionUNet, TinyUNet
from pipelines.weights import load_weights, read_weights, save_weights


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_what_is_saved_is_what_is_loaded(tmp_path, name):
    torch.manual_seed(0)
    network, other = TinyUNet(), TinyUNet()
    if name.endswith(".pt"):
        torch.save(network.state_dict(), tmp_path / name)
    else:
        save_weights(network, tmp_path / name, {"data": "none"})
    load_weights(other, tmp_path / name)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


def test_a_training_checkpoint_gives_its_network(tmp_path):
    network = TinyUNet()
    torch.save({"network": network.state_dict(), "optimizer": {"state": {}}}, tmp_path / "last.pt")
    assert read_weights(tmp_path / "last.pt").keys() == network.state_dict().keys()


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL_FOLDER"],)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "evil"))
    torch.save({"weight": Evil()}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="run code"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all" * 10], ids=["empty", "text"])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((UnreadableFileError, WeightsError), match=name):
        read_weights(tmp_path / name)


def test_truncated_safetensors(tmp_path):
    save_weights(TinyUNet(), tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFileError, match="damaged"):
        read_weights(tmp_path / "w.safetensors")


def test_missing_file():
    with pytest.raises(UnreadableFileError, match="no weights here"):
        read_weights(Path("nowhere") / "w.pt")


def test_another_network(tmp_path):
    save_weights(TinyUNet(), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"not those of LesionUNet.*missing"):
        load_weights(LesionUNet(), tmp_path / "w.safetensors")


def test_nan(tmp_path):
    network = TinyUNet()
    with torch.no_grad():
        next(network.parameters())[0] = float("nan")
    save_weights(network, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="NaN"):
        load_weights(TinyUNet(), tmp_path / "w.safetensors")


def test_no_tensors(tmp_path):
    torch.save({"epochs": 3}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no weights by name"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
        (b"\xef\xbb\xbf\n<html>", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git LFS"),
        (b"not found\n", "is a text"),
        (b'{"error": "denied"}', "is a text"),
        (b"", "empty"),
    ],
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w.pth"])
def test_what_people_give_for_weights_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFileError, match=words) as caught:
        read_weights(tmp_path / name)
    assert "code" not in str(caught.value)


def test_numbers_that_the_network_cannot_hold(tmp_path):
    state = {key: value.double() for key, value in TinyUNet().state_dict().items()}
    next(each for each in state.values() if each.dim() > 1)[0] = 1e300
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"1 tensors hold NaN or infinity, \S+weight for one"):
        load_weights(TinyUNet(), tmp_path / "w.pt")


@pytest.mark.parametrize("odd", [torch.ones(2, 2).to_sparse(), torch.ones(2, device="meta")], ids=["sparse", "meta"])
def test_tensors_without_numbers_of_their_own(tmp_path, odd):
    torch.save({"a.weight": odd}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"a\.weight for one"):
        read_weights(tmp_path / "w.pt")


def test_complex_numbers_that_are_none(tmp_path):
    torch.save({"a": torch.tensor([complex(0, float("nan"))])}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="NaN or infinity, a for one"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_within_a_checkpoint_has_one_name(tmp_path, zipped):
    """torch raises IndexError, AssertionError, struct.error and more on such."""
    torch.save({"a.weight": torch.arange(12.0)}, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "w.pt").read_bytes()
    for at in range(0, min(len(whole), 400), 7):
        (tmp_path / "w.pt").write_bytes(whole[:at] + b"\x85" + whole[at + 1 :])
        with contextlib.suppress(UnreadableFileError, WeightsError):
            read_weights(tmp_path / "w.pt")
