"""Whatever a list holds, it is read or refused by name (hypothesis)."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import DatalistError, PipelinesError
from pipelines.preparation.case_list import SPLITS, read_case_list
from pipelines.preparation.datalist import load_datalist

often = settings(
    max_examples=80, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
words = st.text(max_size=8) | st.sampled_from(["a.png", "../x.png", "/a", "\0", "", ".", "..", "://", "a/b.png", "0"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words
jsons = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))
items = st.fixed_dictionaries({"image": words}, optional={"case": words | scalars})
lists = st.lists(items | words | jsons, max_size=4)
ITEM = {"image": "images/0.png", "label": "labels/0.png", "patient": "p0", "case": "0", "lung": "derived"}


@often
@given(
    content=lists | st.dictionaries(st.sampled_from([*SPLITS, "labels"]), lists, max_size=4) | jsons,
    split=st.none() | st.sampled_from(SPLITS),
)
def test_any_json(tmp_path: Path, content: Any, split: str | None) -> None:
    (tmp_path / "list.json").write_text(json.dumps(content))
    check(tmp_path / "list.json", split)


@often
@given(
    content=st.binary(max_size=60) | st.lists(st.lists(words, max_size=3).map(",".join)).map("\n".join).map(str.encode)
    | st.lists(words).map(lambda rows: "\n".join(["image,case", *rows]).encode(errors="surrogatepass")),
    ending=st.sampled_from(["json", "csv", "txt"]),
)  # fmt: skip
def test_any_text(tmp_path: Path, content: bytes, ending: str) -> None:
    (tmp_path / f"list.{ending}").write_bytes(content)
    check(tmp_path / f"list.{ending}", None)


def check(path: Path, split: str | None) -> None:
    try:
        found = read_case_list(path, split)
    except PipelinesError:
        return
    assert found.entries
    for each in found.entries:
        assert each.path.is_absolute()
        assert ".." not in each.path.parts
        assert each.name is None or not Path(each.name).is_absolute()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared")
    for kind in ("images", "labels"):
        (root / kind).mkdir()
        for number in range(3):
            (root / kind / f"{number}.png").write_bytes(f"{kind}{number}".encode())
    return root


def whole() -> dict[str, Any]:
    made = [{key: value.replace("0", str(n)) for key, value in ITEM.items()} for n in range(3)]
    return {
        "labels": {"0": "background", "1": "lung"}, "facts": {"lung": ["derived"]}, "fingerprint": "sha256:0",
        "training": made[:1], "validation": made[1:2], "test": made[2:],
    }  # fmt: skip


places = st.sampled_from(
    [
        *(("training", 0, key) for key in (*ITEM, "synthetic", "more")),
        ("training", 0), ("training",), ("test",), ("labels",), ("labels", "1"), ("classes",), ("facts",),
        ("facts", "lung"), ("facts", "image"), ("fingerprint",),
    ]
)  # fmt: skip


@often
@given(place=places, value=jsons | st.sampled_from([1, {"0": "a", "1": "b"}, {"0": 1}, [{}], "images/1.png", "p1"]))
def test_any_value_in_a_datalist(folder: Path, place: tuple[Any, ...], value: Any) -> None:
    content: Any = deepcopy(whole())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (folder / "datalist.json").write_text(json.dumps(content))
    try:
        found = load_datalist(folder)
    except DatalistError:
        return
    for section in ("training", "validation", "test"):
        for item in found[section]:
            assert Path(item["image"]).is_relative_to(folder.resolve())


def test_the_datalist_without_a_fault_is_read(folder: Path) -> None:
    (folder / "datalist.json").write_text(json.dumps(whole()))
    assert len(load_datalist(folder)["training"]) == 1


def test_a_number_of_many_digits(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text('{"training": ' + "9" * 5000 + "}")
    with pytest.raises(DatalistError, match="cannot be read"):
        load_datalist(tmp_path)
