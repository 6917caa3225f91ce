from __future__ import annotations

import os

import pytest

from pipelines.datasets.raw_case import safe_name
from pipelines.datasets.report import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("<script>a</script>", "&lt;script&gt;a&lt;/script&gt;"),
        ("a|b", r"a\|b"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        (os.fsdecode(b"caf\xe9"), r"caf\\xe9"),
        ("a\nb\u202e", r"a\\u000ab\\u202e"),
    ],
)
def test_foreign_text_is_harmless(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize("name", ["=cmd", "../../etc", "<b>", os.fsdecode(b"caf\xe9"), "a b", "", "x" * 300, ".hidden"])
def test_safe_names_are_safe_and_stay_apart(name: str) -> None:
    safe = safe_name(name)
    assert safe.isascii()
    assert 0 < len(safe) <= 100
    assert safe[0] not in ".-=+@"
    assert not set(safe) & set("/\\<>|= ")
    assert safe != safe_name(name + "?")


def test_a_harmless_name_stays() -> None:
    assert safe_name("radiopaedia_10_85902_1") == "radiopaedia_10_85902_1"
