"""Pictures from a generator's weights: which, how they are marked, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.errors import ConfigError, OutputError, UnreadableFileError, WeightsError
from pipelines.generation import (
    generate,
    generate_classes,
    load_generator,
    picture_seeds,
    record_path,
    seeded_latents,
    write_samples,
)
from pipelines.generation.grids import grey_pictures, grid
from pipelines.generation.record import write_record
from pipelines.networks import ChestCNN, DCGANGenerator
from pipelines.weights import save_weights, weights_digest

Write = Callable[..., Path]


@pytest.fixture
def generator(tmp_path: Path) -> Callable[..., Path]:
    """Writes random weights of a generator of a class, with the record that a training would leave beside them."""

    def write(class_name: str = "normal", seed: int = 0, collapsed: bool = False) -> Path:
        torch.manual_seed(seed)
        network = DCGANGenerator(in_channels=10, features=4)
        for layer in network.layers:
            if isinstance(layer, torch.nn.ConvTranspose2d):
                layer.weight.data.mul_(12)  # pictures of contrast
        path = tmp_path / f"{class_name}_{seed}.safetensors"
        save_weights(network, path)
        data = {"name": "drawn", "fingerprint": "sha256:0", "held_out": "sha256:1"}
        write_record(path, {"class": class_name, "data": data, "epochs": 1, "diversity": {}, "collapsed": collapsed})
        return path

    return write


def test_a_seed_gives_the_same_pictures_and_more_begin_with_fewer(generator: Write) -> None:
    weights = generator()
    few, many, other = generate(weights, 3, 7), generate(weights, 70, 7), generate(weights, 3, 8)
    assert few.pictures.shape == (3, 64, 64)
    assert few.pictures.dtype == np.uint8
    assert few.class_name == "normal"
    assert np.array_equal(few.pictures, many.pictures[:3])
    assert list(few.seeds) == list(many.seeds[:3])
    assert len(set(many.seeds)) == 70
    assert not set(few.seeds) & set(other.seeds)
    assert not np.array_equal(few.pictures, other.pictures)


def test_a_pictures_seed_alone_gives_it_again(generator: Write) -> None:
    weights = generator()
    drawn = generate(weights, 5)
    again = grey_pictures(load_generator(weights)(seeded_latents([drawn.seeds[4]], 10)))[0]
    assert np.abs(again.astype(int) - drawn.pictures[4]).max() <= 1


def test_files_are_marked_and_listed(generator: Write, tmp_path: Path) -> None:
    weights = {"normal": generator(), "ill": generator("ill", 1, collapsed=True)}
    manifest = generate_classes({name: str(path) for name, path in weights.items()}, 2, str(tmp_path / "out"), seed=3)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line["file"] for line in lines] == [
        "normal/normal_00001.png", "normal/normal_00002.png", "ill/ill_00001.png", "ill/ill_00002.png",
    ]  # fmt: skip
    assert [line["collapsed"] for line in lines] == [False, False, True, True]
    for line in lines:
        assert line["synthetic"] is True
        assert line["generator"] == weights_digest(weights[line["class"]])
        assert line["held_out"] == "sha256:1"
        with Image.open(tmp_path / "out" / line["file"]) as picture:
            assert picture.mode == "L"
            said = picture.text
        assert said["Synthetic"] == "true"
        assert said["Software"].startswith("imaging-bundles")
        assert (said["Generator"], said["Class"], said["Seed"]) == (line["generator"], line["class"], str(line["seed"]))
        assert "no patient" in said["Use"]


def test_a_folder_that_is_there_is_kept_unless_it_is_to_be_replaced(generator: Write, tmp_path: Path) -> None:
    drawn = generate(generator(), 2)
    write_samples(tmp_path / "out", [drawn])
    with pytest.raises(OutputError, match="exists"):
        write_samples(tmp_path / "out", [drawn])
    write_samples(tmp_path / "out", [drawn], overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="was not written by this command"):
        write_samples(tmp_path / "mine", [drawn], overwrite=True)


def test_what_cannot_be_generated(generator: Write, tmp_path: Path) -> None:
    weights = generator()
    for number, seed in ((0, 0), (1, -1), (10**6, 0)):
        with pytest.raises(ConfigError, match=f"{number} pictures"):
            generate(weights, number, seed)
    with pytest.raises(WeightsError, match="draws normal, and ill is wanted"):
        generate_classes({"ill": str(weights)}, 1, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UnreadableFileError, match="no weights here"):
        generate(tmp_path / "none.pt", 1)
    save_weights(ChestCNN(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not those of a DCGAN generator"):
        load_generator(tmp_path / "other.safetensors")


def test_a_record_belongs_to_its_weights(generator: Write) -> None:
    one, other = generator(), generator("normal", 5)
    record_path(one).write_bytes(record_path(other).read_bytes())
    with pytest.raises(WeightsError, match="belongs to other weights"):
        generate(one, 1)
    record_path(one).write_text("{}")
    with pytest.raises(UnreadableFileError, match="none of a generator"):
        generate(one, 1)
    record_path(one).unlink()
    with pytest.raises(UnreadableFileError, match="no record beside them"):
        generate(one, 1)


def test_seeds_fit_everywhere() -> None:
    assert all(0 <= seed < 2**63 for seed in picture_seeds(0, 200))


def test_a_grid_is_row_by_row_and_upright() -> None:
    pictures = np.stack([np.full((4, 6), value, np.uint8) for value in (10, 20, 30)])
    drawn = grid(pictures, 2)
    assert drawn.shape == (2 * 6 - 2, 2 * 8 - 2)
    assert [drawn[0, 0], drawn[0, 8], drawn[6, 0], drawn[6, 8]] == [10, 20, 30, 64]
