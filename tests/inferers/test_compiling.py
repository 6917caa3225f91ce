"""Compiling is asked for, and what it lacks is said in a sentence."""

from __future__ import annotations

import pytest
from torch._inductor import config

from pipelines.errors import ConfigError
from pipelines.inferers import can_compile


def test_a_missing_compiler_is_said_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    assert not can_compile(False, "cpu")
    with pytest.raises(ConfigError, match=r"a C\+\+ compiler, and there is none"):
        can_compile(True, "cpu")
