"""docs/reference/command-line.md says of each command the options that it has, and their defaults."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.__main__ import _parser

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "command-line.md"
SHARED = {"--help", "--bundles"}  # said once on the page, of all commands


def commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield " ".join(words), parser
    for action in below:
        for name, each in action.choices.items():
            yield from commands(each, (*words, name))


COMMANDS = dict(commands(_parser()))


def sections() -> dict[str, str]:
    parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    found = {}
    for part in parts:
        title = part.splitlines()[0]
        name = max((name for name in COMMANDS if f"{title} ".startswith(f"{name} ")), key=len, default="")
        if name:
            found[name] = part
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_is_on_the_page_and_no_other(name: str) -> None:
    text = sections()[name]
    has = {option for action in COMMANDS[name]._actions for option in action.option_strings if option[:2] == "--"}
    elsewhere = sections()["data prepare"] if name == "data phantom" else ""  # "as above"
    assert {
        option for option in has - SHARED if f"`{option}" not in text + elsewhere and f"{option} " not in text
    } == set()
    rows = [line for line in text.splitlines() if line.startswith("| `--")]
    said = {option for line in rows for option in re.findall(r"`(--[\w-]+)", line.split("|")[1])}
    assert said <= has, "the page has what the command has not"


@pytest.mark.parametrize("name", COMMANDS)
def test_numbers_that_are_said_to_be_defaults_are(name: str) -> None:
    known = {option: action for action in COMMANDS[name]._actions for option in action.option_strings}
    for line in sections()[name].splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        options = re.findall(r"`(--[\w-]+)", cells[1]) if line.startswith("| `--") else []
        defaults = [each.strip() for each in cells[2].split(",")] if options else []
        if len(defaults) != len(options):
            continue
        for option, said in zip(options, defaults, strict=True):
            default = known[option].default
            if said == "off":
                assert not default, option
            elif re.fullmatch(r"[\d.]+", said) and default is not None:
                assert float(said) == default, option
