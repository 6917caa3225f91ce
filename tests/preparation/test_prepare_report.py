from __future__ import annotations

import os

import pytest

from pipelines.preparation.report import plain


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
