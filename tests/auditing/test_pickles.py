"""Weights: files that torch writes are told from those that run code, without loading either."""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import Runs

from pipelines.auditing.contents import Contents
from pipelines.auditing.pickles import check_weights


def found(folder: Path) -> list[str]:
    return [each.rule for each in check_weights(Contents(folder))]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_state_dicts_of_every_kind_of_number_are_tensors_alone(zipped: bool, tmp_path: Path) -> None:
    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    state = {str(kind): torch.zeros(3).to(kind) for kind in kinds} | torch.nn.Linear(2, 2).state_dict()
    content = {"model": state, "parameter": torch.nn.Parameter(torch.ones(1)), "epoch": 3, "shape": torch.Size([1])}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    torch.load(tmp_path / "model.pt", weights_only=True)
    assert found(tmp_path) == []


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_whole_networks_and_programs_are_not(zipped: bool, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "network.pt", _use_new_zipfile_serialization=zipped)
    torch.save({"model": torch.ones(2), "more": Runs()}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert found(tmp_path) == ["pickle-danger", "pickle-danger"]


def test_torchscript_is_read(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "model.ts"))
    assert found(tmp_path) == []


def test_numbers_of_numpy_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "numbers.npz", a=np.ones(3))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert [(each.rule, each.file) for each in check_weights(Contents(tmp_path))] == [("pickle-danger", "objects.npy")]


def by_hand(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def word(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


HIDDEN = {
    "by the memo": by_hand(word("posix"), b"\x94", b"0", word("system"), b"\x94", b"0", b"h\x00", b"h\x01", b"\x93"),
    "behind what is harmless": by_hand(
        word("posix"), word("system"), word("collections"), word("OrderedDict"), b"0", b"0", b"\x93"
    ),
    "by an old opcode": b"(S'id'\niposix\nsystem\n.",
    "before it breaks off": b"cposix\nsystem\n(S'id'\ntR\xff\xff",
    "by a number": by_hand(b"\x82\x01"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_names_that_are_hidden_are_found(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(HIDDEN[name])
    assert found(tmp_path) in (["pickle-danger"], ["weights-unreadable"])


def test_a_hidden_name_is_what_pickle_would_import() -> None:
    """The pickles by hand mean what they are said to."""
    asked = []

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            asked.append(f"{module}.{name}")
            return collections.OrderedDict

    for name in ("by the memo", "behind what is harmless"):
        Unpickler(io.BytesIO(HIDDEN[name])).load()
    assert asked == ["posix.system"] * 2
    assert pickletools.code2op["\x93"].name == "STACK_GLOBAL"


def test_a_second_pickle_in_a_zip_is_found(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt", "a") as archive:
        archive.writestr("model/other.pkl", pickle.dumps(Runs()))
    assert found(tmp_path) == ["pickle-danger"]


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("model/data.pkl", "w", force_zip64=True) as entry,
    ):
        for _ in range(70):
            entry.write(bytes(1 << 20))
    assert found(tmp_path) == ["weights-unreadable"]
