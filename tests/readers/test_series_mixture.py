"""Two acquisitions that take turns along a stack, with little in their headers to tell them apart; and one scan."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import SeriesError
from pipelines.readers.series_mixture import check_one_scan
from pipelines.readers.slice_header import SliceHeader


def stack(n: int = 24, *, numbers: object = None, **marks: object) -> list[SliceHeader]:
    """Slices along a stack; `numbers` and `marks` are functions of a slice's place."""

    def slice_(k: int) -> SliceHeader:
        stated = {name: str(of(k)) for name, of in marks.items()}  # type: ignore[operator]
        number = numbers(k) if callable(numbers) else None
        return SliceHeader(
            Path(f"{k}.dcm"), "p", "s", "1.2", f"1.2.{k}", "1.3", 8, 8, (0.0, 0.0, float(k)), (1, 0, 0, 0, 1, 0),
            (1.0, 1.0), None, 1.0, 0.0, number=number, marks=stated,
        )  # fmt: skip

    return [slice_(k) for k in range(n)]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (stack(numbers=lambda k: k // 2 + 1), "2 runs of InstanceNumber take turns"),
        (stack(numbers=lambda k: 12 - k // 2), "2 runs of InstanceNumber take turns"),
        (stack(numbers=lambda k: k // 2 + 1 + 12 * (k % 2)), "2 runs of InstanceNumber take turns"),
        (stack(ConvolutionKernel=lambda k: "B70f" if k % 2 else ""), "state their kernels"),
        (stack(ContrastBolusAgent=lambda k: "iodine" if k % 2 else ""), "state their states of contrast medium"),
        (stack(AcquisitionTime=lambda k: (130000 if k % 2 else 120000) + k / 2), "to and fro between 2 ranges"),
        (stack(AcquisitionDateTime=lambda k: 20260101120000 + 3000 * (k % 3) + k), "to and fro between 3 ranges"),
    ],
)
def test_acquisitions_that_take_turns(headers: list[SliceHeader], words: str) -> None:
    with pytest.raises(SeriesError, match=words):
        check_one_scan(headers, Path("folder"))
    check_one_scan(headers[::6], Path("folder"))  # of one of them alone


@pytest.mark.parametrize(
    "headers",
    [
        stack(numbers=lambda k: k + 1),
        stack(numbers=lambda k: 1),
        stack(numbers=lambda k: k % 12 + 1),  # two stacks, one above the other
        stack(SeriesDescription=lambda k: "" if k == 9 else "CHEST"),
        stack(ConvolutionKernel=lambda k: "B70f" if k < 12 else ""),
        stack(AcquisitionTime=lambda k: 120000 + k // 4),
        stack(AcquisitionTime=lambda k: 120500 - k),
        stack(AcquisitionTime=lambda k: 120000 + k + (k % 2) * 0.7),
        stack(AcquisitionTime=lambda k: ""),
    ],
)
def test_one_scan_is_one(headers: list[SliceHeader]) -> None:
    check_one_scan(headers, Path("folder"))
