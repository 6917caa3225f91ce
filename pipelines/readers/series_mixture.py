"""Two acquisitions or reconstructions under one SeriesInstanceUID: evenly spaced when mixed, and still no one scan."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from pipelines.errors import SeriesError
from pipelines.readers.slice_header import SliceHeader

_NAMES = {
    "SeriesNumber": "series numbers",
    "SeriesDescription": "series descriptions",
    "AcquisitionNumber": "acquisitions",
    "AcquisitionUID": "acquisitions",
    "ConvolutionKernel": "kernels",
    "FilterType": "filters",
    "KVP": "tube voltages",
    "SliceThickness": "slice thicknesses",
    "ContrastBolusAgent": "states of contrast medium",
    "TemporalPositionIdentifier": "time points",
    "TemporalPositionIndex": "time points",
    "NominalPercentageOfCardiacPhase": "cardiac phases",
    "AcquisitionTime": "acquisition times",
    "AcquisitionDateTime": "acquisition times",
    "ImageType": "kinds of image (ImageType)",
}
_WORDS = ("SeriesDescription", "ContrastBolusAgent")  # free text, which may name a patient
_NOTED = ("SeriesNumber", "AcquisitionNumber", "ConvolutionKernel")
# A spiral scan may have a time for each slice; two scans have two.
_FEW = 4
_TIMES = ("AcquisitionTime", "AcquisitionDateTime")
# Slices that a run of InstanceNumber must have before two of them count as interleaved and not as shuffled.
_SHORTEST_RUN = 4


def check_one_scan(headers: Sequence[SliceHeader], where: Path) -> tuple[str, ...]:
    """Refuse slices of two acquisitions or reconstructions that alternate or overlap along the stack.

    Args:
        headers: in order along the stack.

    Returns:
        A note for each thing that changes once and for all on the way up, as in a scan of two breath-holds.

    Raises:
        SeriesError: with what alternates.
    """
    notes = []
    for keyword, name in _NAMES.items():
        values = [header.marks[keyword] for header in headers if header.marks.get(keyword)]
        distinct = list(dict.fromkeys(values))
        if len(distinct) < 2 or (keyword in _TIMES and len(distinct) > _FEW):
            continue
        if 1 + sum(a != b for a, b in pairwise(values)) > len(distinct):
            shown = "" if keyword in _WORDS else ", ".join(value.replace("\\", "/")[:24] for value in distinct[:3])
            raise _mixed(
                f"slices of {len(distinct)} {name} are mixed under one series and alternate or overlap"
                + (f" ({shown})" if shown else ""),
                where,
            )
        if keyword in _NOTED and len(distinct) <= _FEW:
            notes.append(f"the stack is made of {len(distinct)} {name}, one above the other")
    for keyword, name in _NAMES.items():
        _check_absence([bool(header.marks.get(keyword)) for header in headers], name, where)
    _check_numbers(headers, where)
    for keyword in _TIMES:
        _check_times([header.marks.get(keyword, "") for header in headers], where)
    return tuple(notes)


def _check_absence(stated: Sequence[bool], name: str, where: Path) -> None:
    """What one of two acquisitions states and the other leaves out tells them apart too, where they take turns."""
    fewer = min(sum(stated), len(stated) - sum(stated))
    if fewer >= _SHORTEST_RUN and sum(a != b for a, b in pairwise(stated)) >= fewer:
        raise _mixed(
            f"slices that state their {name} and slices that do not alternate under one series, as where two "
            "acquisitions are mixed",
            where,
        )


def _check_times(texts: Sequence[str], where: Path) -> None:
    """Times that go to and fro along the stack, between ranges that do not meet, are of several acquisitions."""
    try:
        times = [float(text) for text in texts]
    except ValueError:  # absent, or no time
        return
    for parts in range(2, 4):
        if len(times) < parts * _SHORTEST_RUN:
            return
        chosen = sorted((times[first::parts] for first in range(parts)), key=min)
        if all(max(low) < min(high) for low, high in pairwise(chosen)):
            raise _mixed(
                f"the acquisition times of neighbours go to and fro between {parts} ranges, as where {parts} "
                "acquisitions are mixed",
                where,
            )


def _check_numbers(headers: Sequence[SliceHeader], where: Path) -> None:
    """Two runs of InstanceNumber that take turns along the stack are two series, whatever else the headers hide: each
    may count from 1, or one may go on where the other ended."""
    numbers = [header.number for header in headers if header.number is not None]
    if len(numbers) != len(headers) or _runs(numbers):
        return
    for parts in range(2, 5):
        chosen = [numbers[first::parts] for first in range(parts)]
        if min(map(len, chosen)) >= _SHORTEST_RUN and all(_runs(part) for part in chosen):
            raise _mixed(
                f"{parts} runs of InstanceNumber take turns along the stack, as where {parts} acquisitions are mixed",
                where,
            )


def _runs(numbers: Sequence[int]) -> bool:
    steps = {b - a for a, b in pairwise(numbers)}
    return steps in ({1}, {-1})


def _mixed(what: str, where: Path) -> SeriesError:
    return SeriesError(what, where=where, how="give each acquisition and each reconstruction a folder of its own")
