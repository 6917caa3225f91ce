"""Lists of images: every form gives the same cases, names do not depend on what else is listed, faults are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import DatalistError, PipelinesError, UnreadableFileError, UsageError
from pipelines.preparation.case_list import read_case_list
from pipelines.preparation.cases import look_for_listed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``lists/images`` with a.png, b.png and a folder of two, and ``elsewhere/a.png``."""
    for place in ("lists/images/a", "lists/images/b", "lists/images/many/c", "lists/images/many/d", "elsewhere/a"):
        path = tmp_path / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    return tmp_path


def write(root: Path, name: str, text: str) -> Path:
    path = root / "lists" / name
    path.write_text(text, encoding="utf-8")
    return path


DATALIST = {
    "training": [{"image": "images/a.png", "label": 0, "case": "first"}],
    "validation": [],
    "test": ["images/b.png", {"image": "images/a.png", "case": "first"}],
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.txt", "images/b.png\n\n  images/a.png  \r\nimages/b.png\n"),
        ("x", "images/b.png\nimages/a.png"),
        ("x.csv", "images/b.png\nimages/a.png\n"),
        ("x.csv", "\ufeffage,Image\n7,images/b.png\n8,images/a.png\n"),
        ("x.csv", "path,case\nimages/b.png,images/b\nimages/a.png,\n"),
        ("x.json", '["images/b.png", "images/a.png"]'),
        ("x.json", '[{"image": "./images/b.png"}, {"image": "../lists/images/a.png"}]'),
    ],
)
def test_every_form_names_the_same_cases(root, name, text) -> None:
    items, faulty = look_for_listed(read_case_list(write(root, name, text)))
    assert faulty == []
    assert [(item["case"], item["image"]) for item in items] == [
        ("images/b", str(root / "lists" / "images" / "b.png")),
        ("images/a", str(root / "lists" / "images" / "a.png")),
    ]


@pytest.mark.parametrize(("split", "names"), [(None, ["b", "a"]), ("training", ["a"]), ("all", ["a", "b"])])
def test_a_datalist_gives_its_test_part_or_the_split_that_is_asked_for(root, split, names) -> None:
    entries = read_case_list(write(root, "datalist.json", json.dumps(DATALIST)), split).entries
    assert [(each.path.stem, each.name) for each in entries] == [(n, "first" if n == "a" else None) for n in names]


def test_names_are_given_or_of_the_path_and_the_same_whatever_else_is_listed(root) -> None:
    outside = root / "elsewhere" / "a.png"
    text = f"images/a.png\nimages/many\nimages/many/c.png\n{outside}\nimages/gone.png\n"
    items, faulty = look_for_listed(read_case_list(write(root, "x.txt", text)))
    alone = str(outside.with_suffix("").relative_to("/"))
    assert [item["case"] for item in items] == ["images/a", "images/many/c", "images/many/d", alone]
    assert [each.path.name for each in faulty] == ["gone.png"]
    assert isinstance(faulty[0].fault, UnreadableFileError)
    text = "image,case\nimages/many,P7\nimages/a.png,P8/first\n"
    items, _ = look_for_listed(read_case_list(write(root, "x.csv", text)))
    assert [item["case"] for item in items] == ["P7/c", "P7/d", "P8/first"]


def test_two_cases_never_have_one_name(root) -> None:
    Image.open(root / "lists" / "images" / "a.png").save(root / "lists" / "images" / "a.jpg")
    text = "image,case\nimages/a.png,\nimages/a.jpg,\nimages/b.png,images/a.png\n"
    items, _ = look_for_listed(read_case_list(write(root, "x.csv", text)))
    assert len({item["case"] for item in items}) == 3


@pytest.mark.parametrize(
    ("name", "text", "split", "kind", "said"),
    [
        ("x.json", '{"images": []}', None, DatalistError, "neither a datalist nor a list"),
        ("x.json", "[", None, DatalistError, "cannot be read"),
        ("x.json", "7", None, DatalistError, "neither a datalist nor a list"),
        ("x.json", "[]", None, DatalistError, "the list is empty"),
        ("x.json", '["a.png", 7]', None, DatalistError, "entry 2 names no image"),
        ("x.json", '[{"case": "x"}]', None, DatalistError, "entry 1 names no image"),
        ("x.json", '["a\\u0000"]', None, DatalistError, "names no image"),
        ("x.json", '[{"image": "a.png", "case": "../x"}]', None, DatalistError, "cannot be the name of a case"),
        ("x.json", '[{"image": "a.png", "case": 7}]', None, DatalistError, "cannot be the name of a case"),
        ("x.json", '["a.png"]', "test", UsageError, "has no splits"),
        ("x.json", '{"test": [], "training": ["a.png"]}', None, DatalistError, "--split training"),
        ("x.json", '{"test": ["a.png"]}', "tset", UsageError, "training, validation, test, all"),
        ("x.csv", "name,age\na,7\n", None, DatalistError, "no column image"),
        ("x.csv", "image,case\na.png,x\nb.png,x\n", None, DatalistError, "line 3: two files are called x"),
        ("x.csv", "image,case\na.png,x\na.png,y\n", None, DatalistError, "listed twice"),
        ("x.csv", "image,case\n,x\n", None, DatalistError, "line 2 names no image"),
        ("x.txt", "s3://bucket/a.png\n", None, DatalistError, "mount the bucket"),
        ("x.txt", " \n", None, DatalistError, "the list is empty"),
        ("x.txt", "a.png\n", "all", UsageError, "has no splits"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(root, name, text, split, kind, said) -> None:
    path = write(root, name, text)
    with pytest.raises(PipelinesError) as caught:
        read_case_list(path, split)
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["gone.txt", "images"])
def test_a_list_that_is_not_there(root, name) -> None:
    with pytest.raises(UnreadableFileError, match="there is no such list"):
        read_case_list(root / "lists" / name)


def test_a_list_that_is_no_text(root) -> None:
    with pytest.raises(UnreadableFileError, match="UTF-8"):
        read_case_list(root / "lists" / "images" / "a.png")
