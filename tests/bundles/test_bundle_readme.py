"""The commands in a bundle's docs/README.md, and then those of its page docs/reference/bundles/NAME.md in the project
if it has one, work: each ```bash block is run, in order, in the bundle's folder.

A block is left out if the line before its fence is ``<!-- not run: REASON -->``. The blocks find in the environment

- ``DATASET_DIR``: a prepared folder (phantoms), ``CKPT_DIR`` and ``OUTPUT_DIR``: folders to write to,
- ``python`` and ``torchrun`` that make each ``monai.bundle run`` small (two epochs, 64 pixels) and change nothing else.

One bundle's start cold, each a process of its own as for a user; the others' through ``pipelines.warm``. They run in
a copy of the project, so that what they write there is not left in the checkout.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from bundle_under_test import BUNDLES, PROJECT, Bundle, listing
from kinds import has_trait

_BLOCK = re.compile(
    r"(?:^<!--(?P<comment>(?:(?!-->).)*)-->\s*\n)?^```(?:bash|sh)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
_NOT_RUN = re.compile(r"\s*not run:\s*(?P<reason>\S.*?)\s*")


@dataclass(frozen=True)
class Block:
    """A block of commands, and why it is not run (None: it is)."""

    code: str
    reason: str | None


def blocks(text: str) -> list[Block]:
    """The bash blocks of a page."""
    found = []
    for match in _BLOCK.finditer(text):
        reason = _NOT_RUN.fullmatch(match["comment"] or "")
        found.append(Block(match["code"], reason["reason"] if reason else None))
    return found


def readme(bundle: Bundle) -> str:
    return (bundle.root / "docs" / "README.md").read_text(encoding="utf-8")


def detail(bundle: Bundle) -> Path:
    """The page with what a README has no room for; a bundle of another folder need not have one."""
    return bundle.root.parents[1] / "docs" / "reference" / "bundles" / f"{bundle.name}.md"


def page(bundle: Bundle) -> str:
    """All that is written of a bundle's commands, in the order in which they are run."""
    more = detail(bundle)
    return readme(bundle) + ("\n" + more.read_text(encoding="utf-8") if more.is_file() else "")


def small_commands(bundle: Bundle, folder: Path, interpreter: str) -> Path:
    """A folder for PATH with a ``python`` and a ``torchrun`` that add the small knobs to ``monai.bundle run``."""
    names = ["train"] if has_trait(bundle, "supervised") else bundle.whole
    small = {key: value for name in names for key, value in bundle.small(name).items()}
    knobs = shlex.join(word for key, value in small.items() for word in (f"--{key}", str(value)))
    folder.mkdir()
    for name, words in {"python": [], "torchrun": ["-m", "torch.distributed.run"]}.items():
        start = shlex.join([interpreter, *words])
        lines = ["#!/bin/sh", 'case "$*" in', f'*"monai.bundle run"*) exec {start} "$@" {knobs} ;;', "esac"]
        (folder / name).write_text("\n".join([*lines, f'exec {start} "$@"', ""]))
        (folder / name).chmod(0o755)
    return folder


def test_blocks_are_found() -> None:
    text = (
        "<!-- a note -->\n\n```bash\none\ntwo\n```\n\n<!-- another -->\n\ntext\n\n"
        "<!-- not run: long -->\n```bash\nthree\n```\n\n<!-- note -->\n```sh\nfour\n```\n```python\nno\n```\n"
    )
    assert blocks(text) == [Block("one\ntwo\n", None), Block("three\n", "long"), Block("four\n", None)]


def test_each_bundle_of_the_project_has_its_page() -> None:
    """And each page its bundle; ``PIPELINES_BUNDLES`` changes nothing about it."""
    pages = {path.stem for path in (PROJECT / "docs" / "reference" / "bundles").glob("*.md")}
    assert pages == {path.parents[1].name for path in PROJECT.glob("bundles/*/configs/metadata.json")}


def test_readme_fits_two_screens_and_begins_with_what_a_reader_needs(bundle: Bundle) -> None:
    """What it does, a command, a picture and a table, before the first section; the picture where there is a page."""
    text = readme(bundle)
    assert text.count("\n") <= 90, f"move what is more to {detail(bundle)}"
    if detail(bundle).is_file():
        top = text.split("\n## ")[0]
        found = [top.find(mark) for mark in ("```bash\n", "<img ", "\n|---")]
        assert -1 not in found
        assert found == sorted(found), "command, picture, table, in this order"
        assert f"reference/bundles/{bundle.name}.md" in text


@pytest.mark.contract("supervised")
def test_training_evaluating_and_inferring_are_among_the_commands(bundle: Bundle) -> None:
    run = "".join(block.code for block in blocks(readme(bundle)) if block.reason is None)
    for name in ("train", "evaluate", "inference", "multi_gpu_train"):
        assert f"configs/{name}.yaml" in run, f"docs/README.md runs no {name}.yaml"


def test_whole_configs_are_among_the_commands(bundle: Bundle) -> None:
    shown = "".join(block.code for block in blocks(page(bundle)))
    assert [name for name in bundle.whole if f"configs/{name}.yaml" not in shown] == []


def test_named_configs_and_ids_exist(bundle: Bundle) -> None:
    """In the blocks that are not run too."""
    known = {key for path in bundle.configs.glob("*.yaml") for key in bundle.written(path.stem)}
    for block in blocks(page(bundle)):
        for name in re.findall(r"configs/([\w/]+\.yaml)", block.code):
            assert (bundle.configs / name).is_file(), name
        for line in block.code.replace("\\\n", " ").splitlines():
            if "monai.bundle run" in line:
                flags = set(re.findall(r"\s--([a-z_]+)", line.split("monai.bundle run")[1])) - {"config_file"}
                assert flags <= known, f"{sorted(flags - known)} in: {line}"


@pytest.mark.slow
def test_commands_run(bundle: Bundle, env: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    root = tmp_path / "project" / "bundles" / bundle.name
    shutil.copytree(bundle.root, root, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "project" / "pipelines").symlink_to(PROJECT / "pipelines")
    data = tmp_path / "project" / "data" / bundle.dataset
    if bundle.dataset:
        shutil.copytree(request.getfixturevalue("phantoms"), data)
    if bundle.root == BUNDLES[0]:
        env = {key: value for key, value in env.items() if key != "PYTHON_EXEC"}
    commands = small_commands(bundle, tmp_path / "bin", env.get("PYTHON_EXEC", sys.executable))
    path = f"{commands}{os.pathsep}{env['PATH']}"
    places = {"DATASET_DIR": str(data), "CKPT_DIR": str(tmp_path / "ckpt"), "OUTPUT_DIR": str(tmp_path / "out")}
    ran = 0
    for block in blocks(page(bundle)):
        if block.reason is None:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.code],
                cwd=root, env={**env, **places, "PATH": path, "CUDA_VISIBLE_DEVICES": ""},
                capture_output=True, text=True, timeout=900, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{block.code}\n{(done.stdout + done.stderr)[-5000:]}"
            ran += 1
    assert ran > 0
    if not has_trait(bundle, "supervised"):
        return
    assert any(tmp_path.glob("ckpt/**/model.pt"))
    cases = json.loads((data / "datalist.json").read_text())["test"]
    assert (tmp_path / "ckpt" / "evaluation" / "cases.csv").read_text().count("\n") == 1 + len(cases)
    assert listing(tmp_path / "out")
