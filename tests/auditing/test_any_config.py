"""Whatever a bundle's configs hold, they are read or refused by name, and audited without an end (hypothesis)."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.auditing.audit import audit
from pipelines.bundle import bundle_kind, read_configs
from pipelines.errors import PipelinesError

some = settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
words = st.text(max_size=8) | st.sampled_from(
    ["$", "$@a", "@", "@a#b", "@a::0", "%", "%x.yaml#a", "_target_", "_disabled_", "$import os", "$(lambda: @a)()", "#",
     "::", "+a", "~a", "$open('/x')", "/etc/passwd", "torch.nn.Linear", "a#0#b", "\ud800"]
)  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words
jsons = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4))
KEYS = ["imports", "network_def", "checkpoint", "run", "initialize", "handlers", "dataset#data", "fast", "a"]
configs = st.dictionaries(st.sampled_from(KEYS) | words, jsons, max_size=5)


@pytest.fixture(scope="module")
def bundle(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The texts of a bundle, without its weights."""
    target = tmp_path_factory.mktemp("any") / "bundle"
    source = project / "bundles" / "skin_lesion_segmentation"
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns("models", "*.pt", "eval")))


@pytest.mark.slow
@some
@given(content=configs | jsons, name=st.sampled_from(["inference.yaml", "train.yaml", "metadata.json"]))
def test_any_config_is_audited(bundle: Path, content: Any, name: str) -> None:
    path = bundle / "configs" / name
    before = path.read_bytes()
    try:
        path.write_text(json.dumps(content))  # which is YAML, too
        found = audit(bundle)
    finally:
        path.write_bytes(before)
    assert found.files > 3


@some
@given(content=configs | jsons, more=configs)
def test_any_configs_are_laid_over_one_another(tmp_path: Path, content: Any, more: Any) -> None:
    (tmp_path / "a.yaml").write_text(json.dumps(content))
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(more))
    with suppress(PipelinesError):
        assert isinstance(read_configs([tmp_path / "a.yaml", tmp_path / "b.yaml"]), dict)


@some
@given(content=st.binary(max_size=80) | jsons.map(lambda each: json.dumps(each).encode()))
def test_any_metadata_has_a_kind_or_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "configs").mkdir(exist_ok=True)
    (tmp_path / "configs" / "metadata.json").write_bytes(content)
    assert isinstance(bundle_kind(tmp_path), str)
