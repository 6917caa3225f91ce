"""The real pictures that a generator learns from, and what its record says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.errors import ConfigError, DatalistError
from pipelines.preparation.datalist import files, load_datalist
from pipelines.preparation.synthetic import held_out


def class_number(class_name: str, classes: Mapping[int, str]) -> int:
    """A class's number by its name.

    Raises:
        ConfigError: there is no such class.
    """
    numbers = {name: number for number, name in classes.items()}
    if class_name not in numbers:
        raise ConfigError(f"there is no class {class_name!r}", how=f"choose class_name from {', '.join(numbers)}")
    return numbers[class_name]


def pictures_of(
    dataset_dir: str, datalist: str, class_name: str, classes: Mapping[int, str], section: str = "training"
) -> list[dict[str, Any]]:
    """The real pictures of one class in one section of a prepared folder; generated ones are left out.

    Raises:
        ConfigError: there is no such class. DatalistError: see ``files``; or there are too few (training: two).
    """
    number = class_number(class_name, classes)
    found = files(dataset_dir, datalist, section, classes=classes, synthetic_share=0)
    found = [item for item in found if item["label"] == number]
    if len(found) < (2 if section == "training" else 1):
        what = f"{len(found)} pictures in {section} are {class_name}, and a generator learns from many"
        raise DatalistError(what, where=dataset_dir, how="prepare more")
    return found


def about_data(dataset_dir: str, datalist: str, class_name: str, classes: Mapping[int, str]) -> dict[str, Any]:
    """Of a generator's record: its class, and the data that it is trained on.

    Raises:
        ConfigError, DatalistError: as ``pictures_of``.
    """
    content = load_datalist(dataset_dir, datalist, classes=classes)
    held = {item["patient"] for section in ("validation", "test") for item in content[section]}
    return {
        "class": class_name,
        "data": {
            "name": content.get("name"),
            "fingerprint": content.get("fingerprint"),
            "phantom": bool(content.get("phantom")),
            "pictures": len(pictures_of(dataset_dir, datalist, class_name, classes)),
            "held_out": held_out(held),
        },
    }
