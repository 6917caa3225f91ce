"""AE titles and addresses, as they are written on the command line."""

from __future__ import annotations

import pytest

from pipelines.dicom_node.callers import Address, ae_title, is_loopback, parse_address, parse_caller
from pipelines.errors import UsageError
from pipelines.readers.identifiers import without_identifiers


def test_callers_are_titles_with_or_without_an_address() -> None:
    assert parse_caller("PACS").is_meant("PACS ", "192.0.2.1")
    assert not parse_caller("PACS").is_meant("pacs", "192.0.2.1")
    there = parse_caller("PACS@192.0.2.1")
    assert there.is_meant("PACS", "192.0.2.1")
    assert there.is_meant("PACS", "::ffff:192.0.2.1")
    assert not there.is_meant("PACS", "192.0.2.2")
    assert parse_caller("*").is_meant("ANYONE", "192.0.2.9")
    assert parse_caller("*@::1").is_meant("ANYONE", "0:0:0:0:0:0:0:1")
    assert parse_caller("A@localhost").is_meant("A", "127.0.0.1")


@pytest.mark.parametrize("text", ["", " ", "A" * 17, "A\\B", "Ä", "A@", "A@no.such.host.invalid", "A\n"])
def test_what_is_no_caller_is_refused(text) -> None:
    with pytest.raises(UsageError):
        parse_caller(text if text != "A\n" else "A\nB")


def test_destinations() -> None:
    assert parse_address("ORTHANC@127.0.0.1:4242") == Address("ORTHANC", "127.0.0.1", 4242)
    assert parse_address("A@[::1]:104") == Address("A", "::1", 104)
    assert str(parse_address("A B@pacs.local:104")) == "A B@pacs.local:104"


@pytest.mark.parametrize(
    "text", ["PACS", "PACS@host", "PACS@:104", "@host:104", "PACS@host:0", "PACS@host:99999", "A@h:1²"]
)
def test_what_is_no_destination_is_refused(text) -> None:
    with pytest.raises(UsageError):
        parse_address(text)


def test_titles_and_hosts() -> None:
    assert ae_title(" MY NODE ") == "MY NODE"
    with pytest.raises(UsageError):
        ae_title("A@B")
    assert [is_loopback(each) for each in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "pacs")] == [True] * 3 + [
        False
    ] * 3


def test_a_fault_says_no_uid_and_no_date() -> None:
    said = without_identifiers("slice 3 of 1.2.840.113619.2.55 on\n19991231 at 20240102101112.5 is 0.75 mm off, 12.5 %")
    assert said.startswith("slice 3 of uid-")
    assert said.endswith(" on [removed] at [removed] is 0.75 mm off, 12.5 %")
