"""CSV tables that come with a dataset: their lines, and what is said of a bad one."""

from __future__ import annotations

import csv
from pathlib import Path

from pipelines.errors import DatalistError, UnreadableFileError

MAX_BYTES = 2**24  # a table of 900 pictures has 20 kB
NOT_KNOWN = ("", "unknown", "n/a", "na", "none", "null", "nan", "-", "?")


def csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The lines of a CSV file in UTF-8 that are not empty, each with its number.

    Raises:
        UnreadableFileError: no text, or above 16 MiB. DatalistError: no CSV.
    """
    reader = csv.reader(table_text(path).splitlines())
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise bad_line(path, reader.line_num, str(error)) from None


def table_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableFileError("the table is absurdly large", where=path, how="give the dataset's own file")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFileError("the table is no UTF-8 text", where=path, how="save it as CSV in UTF-8") from None


def bad_line(path: Path, line: int, what: str) -> DatalistError:
    """The error for a line of a table."""
    return DatalistError(f"line {line}: {what}", where=path, how="correct the table")
