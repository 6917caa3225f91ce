"""Every error that a user can meet: what is wrong, where, and how to mend it, each kind with its exit code.

Raise these for faults in what a user gave (files, labels, lists, weights, configs); other errors stay Python's own.
The command line prints ``str(error)`` on one line, without a stack trace, and exits with ``error.exit_code``.
"""

from __future__ import annotations

import os

_LONGEST = 800  # letters of a fault: what a damaged file states may be a whole header


class PipelinesError(Exception):
    """A fault in what the user gave.

    Args:
        what: the fault, as a clause without a full stop ("the file is empty").
        where: the file, folder, case or key it was found in; None if it has no place.
        how: the way out, as an imperative clause ("export the series again").

    What they quote of a file is harmless to a terminal and a log: one line, without control characters, and cut where
    it is long.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | os.PathLike[str] | None = None, how: str = "") -> None:
        self.what = _as_line(what)
        self.where = None if where is None else os.fspath(where)
        self.how = _as_line(how)
        super().__init__(self.what, self.where, self.how)

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{_printable(self.where)}: {self.what}"
        return f"{text}; {self.how}" if self.how else text

    def __reduce__(self):  # keyword arguments survive the trip between DataLoader processes
        return _rebuild, (type(self), self.what, self.where, self.how)


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in text)


def _as_line(what: str) -> str:
    line = _printable(" ".join(what.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"


def _rebuild(kind: type[PipelinesError], what: str, where: str | None, how: str) -> PipelinesError:
    return kind(what, where=where, how=how)


class UsageError(PipelinesError):
    """The command was called in a way that cannot work (unknown bundle, network or dataset)."""

    exit_code = 2


class UnreadableFileError(PipelinesError):
    """A file is missing, empty, truncated, corrupt, not of the kind its name says, or absurdly large."""

    exit_code = 10


class UnsupportedImageError(PipelinesError):
    """A file reads well but is not an image this project can use (4D, animated, 1x1, colour where grey is due)."""

    exit_code = 11


class GeometryError(PipelinesError):
    """Spacing, orientation or shape is wrong, or two files that belong together do not share a grid."""

    exit_code = 12


class SeriesError(PipelinesError):
    """A DICOM series has missing, duplicate or mixed slices, or lacks what its geometry needs."""

    exit_code = 13


class IntensityError(PipelinesError):
    """Voxel values are not what the modality means: NaN, infinite, constant, or neither HU nor 8-bit grey."""

    exit_code = 14


class LabelError(PipelinesError):
    """A label holds values that its dataset does not define, or contradicts its image."""

    exit_code = 15


class DatalistError(PipelinesError):
    """A dataset's list is unusable: a patient in two splits, a file twice, an empty split, a missing file."""

    exit_code = 16


class WeightsError(PipelinesError):
    """Weights cannot be trusted or do not fit the network (pickle, other architecture, missing keys, NaN)."""

    exit_code = 17


class ConfigError(PipelinesError):
    """A bundle's configuration is missing, contradictory or names something that does not exist."""

    exit_code = 18


class OutputError(PipelinesError):
    """Results cannot be written: the target exists, is read-only, or the disk is full."""

    exit_code = 19


class TrackingError(PipelinesError):
    """The tracking store cannot be used as asked."""

    exit_code = 20


class ServerError(PipelinesError):
    """A DICOM server or a Ray cluster cannot be reached, refuses, or does not do all that it is asked for."""

    exit_code = 21


class StaleCacheError(PipelinesError):
    """What was computed before and kept is of other data, preprocessing or weights than are asked for now."""

    exit_code = 22


class DisagreementError(PipelinesError):
    """A network that was exported, or is run by another runtime, does not answer as it does in PyTorch."""

    exit_code = 23


class UntrustedBundleError(PipelinesError):
    """A bundle is not what ``PIPELINES_REQUIRE`` demands before it is run: audited without a fault, or signed."""

    exit_code = 24
