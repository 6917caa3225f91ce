from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import DatalistError, UnreadableFileError
from pipelines.tasks.dermoscopy.diagnosis_tables import Known, read_diagnoses, read_isic_truth, read_ph2_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table"


def test_words_are_settled_and_names_compare_without_case_or_suffix(table: Path) -> None:
    table.write_text('Diagnosis,Image,age\n"Atypical  Nevus",IMD002.JPG,40\nunknown,b,\n,c,\n', encoding="utf-8-sig")
    assert read_diagnoses(table) == {"imd002": Known("atypical nevus"), "b": Known(), "c": Known()}


@pytest.mark.parametrize(
    ("word", "settled"),
    [
        ("=cmd|x", "_cmd_x"),
        ("<b>nevus", "_b_nevus"),
        ("+1", "1"),
        ("naevus bleu foncé", "naevus bleu foncé"),
        ("- ", None),
    ],
)
def test_hostile_diagnoses_become_harmless(table: Path, word: str, settled: str | None) -> None:
    table.write_text(f"image,diagnosis\na,{word}\n", encoding="utf-8")
    assert read_diagnoses(table) == {"a": Known(settled)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the header is ''"),
        ("image;diagnosis\na;nevus\n", "the header is"),
        ("a,nevus\nb,nevus\n", "image,diagnosis or image,diagnosis,patient"),
        ("image,diagnosis,patient\na,nevus\n", "line 2: 2 cells, 3 are due"),
        ("image,diagnosis\n,nevus\n", "line 2: no image is named"),
        ("image,diagnosis\na,nevus\nA.png,melanoma\n", "line 3: A.png is listed a second time"),
    ],
)
def test_tables_that_cannot_be_trusted(table: Path, text: str, words: str) -> None:
    table.write_text(text)
    with pytest.raises(DatalistError, match=words) as caught:
        read_diagnoses(table)
    assert str(table) in str(caught.value)


def test_the_same_line_twice_is_harmless(table: Path) -> None:
    table.write_text("image,diagnosis\na,nevus\na,nevus\n")
    assert read_diagnoses(table) == {"a": Known("nevus")}


@pytest.mark.parametrize("content", [b"image,diagnosis\na,caf\xe9\n", b"\xff\xfe\x00\x01"])
def test_other_encodings_are_refused(table: Path, content: bytes) -> None:
    table.write_bytes(content)
    with pytest.raises(UnreadableFileError, match="UTF-8"):
        read_diagnoses(table)


def test_an_absurdly_large_table_is_not_read(table: Path) -> None:
    with table.open("wb") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(UnreadableFileError, match="absurdly large"):
        read_diagnoses(table)


def test_both_kinds_of_isic_truth(table: Path) -> None:
    table.write_text("ISIC_0000000,benign\r\nISIC_0000002,malignant\r\nISIC_0000003,0.0\r\nISIC_0000004,1.0\r\n")
    assert [known.diagnosis for known in read_isic_truth(table).values()] == ["benign", "malignant"] * 2


@pytest.mark.parametrize("line", ["ISIC_1,maybe", "ISIC_1", "ISIC_1,benign,1", "ISIC_1,0.5"])
def test_other_isic_truth_is_refused(table: Path, line: str) -> None:
    table.write_text(f"ISIC_0,benign\n{line}\n")
    with pytest.raises(DatalistError, match="line 2: a name with benign"):
        read_isic_truth(table)


def test_ph2_with_single_bars_throughout(table: Path) -> None:
    table.write_text(
        "|| Name || Histological Diagnosis | Clinical Diagnosis | Asymmetry ||\n|| IMD003 ||  | 2 | 0 ||\n"
    )
    assert read_ph2_table(table) == {"imd003": Known("melanoma")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Name, Clinical Diagnosis\nIMD003, 0\n", "no columns Name and Clinical Diagnosis"),
        ("|| Name || Clinical Diagnosis ||\n|| IMD003 || 3 ||\n", "line 2: a clinical diagnosis of 0, 1 or 2"),
        ("|| Name || Clinical Diagnosis ||\n|| IMD003\n", "line 2: a clinical diagnosis of 0, 1 or 2"),
    ],
)
def test_other_ph2_tables_are_refused(table: Path, text: str, words: str) -> None:
    table.write_text(text)
    with pytest.raises(DatalistError, match=words):
        read_ph2_table(table)
