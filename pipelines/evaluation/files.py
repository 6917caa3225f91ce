"""Files of an evaluation, written whole or not at all, with text from outside made harmless."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from pipelines.errors import OutputError

CASES = "cases.csv"  # of every evaluation: a row a case, and its column `case`
ITEMS = ("pictures.csv", "slices.csv")  # of a classification: a row a picture, or a slice
# A spreadsheet runs a cell that starts with one of these (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def make_folder(path: Path) -> None:
    """Make a folder if it is not there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder cannot be made ({error.strerror})", where=path) from error


def write_file(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Fill a file beside the target and put it there in one step, so that nobody sees half of it.

    Raises:
        OutputError: it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            fill(file)
        unfinished.replace(path)
    except OSError as error:
        raise OutputError(f"the file cannot be written ({error.strerror})", where=path) from error
    finally:
        unfinished.unlink(missing_ok=True)


def text(content: str) -> Callable[[IO[bytes]], object]:
    """What fills a file with text; file names that are not UTF-8 arrive as surrogates, which no encoding takes."""
    return lambda file: file.write(content.encode("utf-8", errors="backslashreplace"))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV table: names that a spreadsheet would take for a formula start with an apostrophe; NaN and None are empty
    cells."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_cell(each) for each in head])
    writer.writerows([_cell(each) for each in row] for row in rows)
    return buffer.getvalue()


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.lstrip(" ").startswith(_FORMULA_STARTS) else value
    return repr(float(value)) if isinstance(value, float) else str(value)


def cases_digest(path: Path) -> str:
    """A mark of the cases of a ``cases.csv``, whatever their order: 12 hexadecimal digits; empty if it names none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            names = [row["case"] for row in csv.DictReader(file) if row.get("case")]
    except (OSError, UnicodeDecodeError, csv.Error):
        return ""
    return names_digest(names)


def names_digest(names: Iterable[str]) -> str:
    """A mark of names, whatever their order: 12 hexadecimal digits; empty for none."""
    ordered = sorted(names)
    return hashlib.sha256("\n".join(ordered).encode()).hexdigest()[:12] if ordered else ""


def truth_digest(paths: Iterable[Path]) -> str:
    """A mark of the truth that cases were measured against, by an evaluation's tables, whatever their order: 12
    hexadecimal digits; empty if no table has one. It is the class of each slice or picture (``label``), and of each
    mask the extent of its lesions."""
    found = set()
    for path in paths:
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    truth = [f"{name}={row[name]}" for name in ("label", "lesion_extent_label") if row.get(name)]
                    if truth:
                        found.add("\t".join([row.get("case") or "", row.get("slice") or "", *truth]))
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:12] if found else ""


def markdown_cell(content: str) -> str:
    """A name from outside as text and nothing else: no markup, link or table cell of its own."""
    plain = html.escape("".join(letter if letter.isprintable() else "\ufffd" for letter in content), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_[]|!#" else letter for letter in plain)


def shown(value: float) -> str:
    """A number to read, a dash where there is none."""
    return f"{value:.4f}" if math.isfinite(value) else "–"


def finite(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return value if math.isfinite(value) else None
