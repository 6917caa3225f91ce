"""The series of a study on a DICOMweb server (QIDO-RS), and which of them a bundle takes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydicom.uid import UID
from requests.exceptions import HTTPError

from pipelines.bundle import looks_at
from pipelines.dicom_writing.maker import PROJECT
from pipelines.dicomweb.connection import Server, is_uid, status_of
from pipelines.errors import SeriesError, UnreadableFileError
from pipelines.readers.dicom_picture import PHOTO_MODALITIES, XRAY_MODALITIES

_MODALITIES = {"ct": ("CT",), "x-ray": XRAY_MODALITIES, "photograph": PHOTO_MODALITIES}
_LEAST_IMAGES = 3  # of a CT series that is taken without being named: fewer are scouts and single pictures
_OWN = "RESEARCH USE ONLY"  # begins the description of each series that this project writes
_PAGE = 1000  # entries that are asked for at once
_MOST = 100_000  # entries of a list that are believed
_NO_SCAN = ("Secondary Capture", "Segmentation", "Presentation State", "Parametric Map", "Document", "Encapsulated")
_STUDY, _SERIES, _INSTANCE, _CLASS = "0020000D", "0020000E", "00080018", "00080016"
_MODALITY, _NUMBER, _DESCRIPTION, _MANUFACTURER = "00080060", "00200011", "0008103E", "00080070"
_COUNT, _FRAMES, _IMAGE_TYPE = "00201209", "00280008", "00080008"


@dataclass(frozen=True)
class Series:
    """A series as its server lists it.

    Attributes:
        study, uid: StudyInstanceUID and SeriesInstanceUID.
        number: SeriesNumber; None where there is none.
        modality: upper case, "" where it is not said.
        count: of its instances, where the server says so.
        own: it is a result of this project.
        instances: their SOPInstanceUIDs, once ``with_instances`` has asked.
        scout: they are localizers; scan: they are images of a patient; frames: how many images they hold.
    """

    study: str
    uid: str
    number: int | None = None
    modality: str = ""
    count: int | None = None
    own: bool = False
    instances: tuple[str, ...] = ()
    scout: bool = False
    scan: bool = True
    frames: int = 0

    @property
    def name(self) -> str:
        """What its case is called: of its number, and of digests of its UIDs. It is the same at each call."""
        number = "" if self.number is None else f"-{self.number}"
        return f"study-{digest(self.study)}/series{number}-{digest(self.uid)}"

    @property
    def told(self) -> str:
        """How lines call it: the number, or the UID where there is none."""
        return f"series {self.uid if self.number is None else self.number}"


def digest(uid: str, length: int = 8) -> str:
    """A name for a UID that tells nothing."""
    return hashlib.sha256(uid.encode()).hexdigest()[:length]


def modalities_of(bundle: Path) -> tuple[str, ...]:
    """The DICOM modalities that a bundle looks at (`looks_at`).

    Raises:
        ConfigError: the metadata cannot be read, or do not say it.
    """
    kinds = looks_at(bundle)
    return tuple(modality for kind, own in _MODALITIES.items() if kind in kinds for modality in own)


def series_of(server: Server, study: str) -> list[Series]:
    """The series of a study, by their number.

    Raises:
        UnreadableFileError: the server has no such study.
        ServerError: it cannot be asked.
    """

    def page(offset: int) -> list[dict[str, Any]]:
        with server.asked("listing the series of the study"):
            try:
                return server.client.search_for_series(
                    study, offset=offset, limit=_PAGE, fields=["SeriesDescription", "Manufacturer"]
                )
            except HTTPError as error:
                if status_of(error) == HTTPStatus.NOT_FOUND:
                    return []
                raise

    found = []
    for entry in _all(page, _SERIES):
        if _value(entry, _STUDY) not in (None, study):
            continue
        number, description = _whole(_value(entry, _NUMBER)), str(_value(entry, _DESCRIPTION) or "")
        own = description.startswith(_OWN) or str(_value(entry, _MANUFACTURER) or "") == PROJECT
        modality = str(_value(entry, _MODALITY) or "").strip().upper()[:16]
        count = _whole(_value(entry, _COUNT))
        found.append(Series(study, str(_value(entry, _SERIES)), number, modality, count, own))
    if not found:
        raise UnreadableFileError(
            f"there is no study {study}, or it is empty",
            where=server.url,
            how="check the StudyInstanceUID, and that studies lie below this address",
        )
    return sorted(found, key=lambda each: (each.number is None, each.number or 0, each.uid))


def with_instances(server: Server, series: Series) -> Series:
    """A series with what the server lists in it.

    Raises:
        SeriesError: it lists fewer than it counts.
        ServerError: it cannot be asked.
    """

    def page(offset: int) -> list[dict[str, Any]]:
        with server.asked(f"listing {series.told}"):
            return server.client.search_for_instances(
                series.study, series.uid, offset=offset, limit=_PAGE, fields=["ImageType", "NumberOfFrames"]
            )

    entries = list(_all(page, _INSTANCE))
    if series.count is not None and len(entries) < series.count:
        raise SeriesError(
            f"{series.told} is incomplete: the server counts {series.count} instances, and lists {len(entries)}",
            where=server.url,
            how="wait until it has arrived, and ask again",
        )
    names = [UID(str(_value(entry, _CLASS) or "")).name for entry in entries]
    types = [[str(each).upper() for each in _values(entry, _IMAGE_TYPE)] for entry in entries]
    return replace(
        series,
        instances=tuple(str(_value(entry, _INSTANCE)) for entry in entries),
        scout=bool(types) and all("LOCALIZER" in each for each in types),
        scan=any(not any(word in name for word in _NO_SCAN) for name in names),
        frames=sum(_whole(_value(entry, _FRAMES)) or 1 for entry in entries),
    )


def sort_out(
    server: Server, found: Sequence[Series], modalities: Sequence[str], named: str | None = None
) -> tuple[list[Series], list[tuple[Series, str]]]:
    """The series to take, with their instances, and what is passed over with the reason.

    Args:
        found: the series of one study.
        modalities: that the bundle looks at.
        named: a SeriesInstanceUID or SeriesNumber: only such are taken, whatever they look like.

    Raises:
        SeriesError: none is to be taken, or one is incomplete.
        ServerError: the server cannot be asked.
    """
    if named is not None:
        chosen = [each for each in found if named in (each.uid, str(each.number))]
        if not chosen:
            there = ", ".join(f"{each.number}: {each.uid} ({each.modality})" for each in found[:12])
            raise SeriesError(f"there is no series {named}", where=server.url, how=f"choose one of {there}")
        return [with_instances(server, each) for each in chosen], []
    taken, passed = [], []
    for each in found:
        if each.own:
            passed.append((each, "a result of this project"))
        elif each.modality not in modalities:
            passed.append((each, f"{each.modality or 'no modality'}, and {' or '.join(modalities)} is due"))
        else:
            series = with_instances(server, each)
            if (reason := _no_scan(series)) is None:
                taken.append(series)
            else:
                passed.append((series, reason))
    if not taken:
        others = [f"{each.told}: {reason}" for each, reason in passed if not each.own]
        raise SeriesError(
            f"the study has no series that the bundle takes ({'; '.join(others[:12]) or 'nothing but results'})",
            where=server.url,
            how="name one with --series, or give another study",
        )
    return taken, passed


def _no_scan(series: Series) -> str | None:
    if series.scout:
        return "a scout"
    if not series.scan:
        return "no images of a patient"
    if series.modality == "CT" and series.frames < _LEAST_IMAGES:
        return f"{series.frames} image{'s' if series.frames != 1 else ''}, too few for a scan"
    return None


def _all(page: Callable[[int], list[dict[str, Any]]], tag: str) -> Iterable[dict[str, Any]]:
    """The entries of all pages, each UID once; a server that knows no pages gives the same one again, and no end."""
    seen: set[str] = set()
    while len(seen) < _MOST:
        fresh = [each for each in page(len(seen)) if is_uid(_value(each, tag)) and _value(each, tag) not in seen]
        if not fresh:
            return
        for entry in fresh:
            if (uid := str(_value(entry, tag))) not in seen:
                seen.add(uid)
                yield entry


def _values(entry: Any, tag: str) -> list[Any]:
    element = entry.get(tag) if isinstance(entry, dict) else None
    found = element.get("Value") if isinstance(element, dict) else None
    return found if isinstance(found, list) else []


def _value(entry: Any, tag: str) -> Any:
    return next(iter(_values(entry, tag)), None)


def _whole(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None
