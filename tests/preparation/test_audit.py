"""`data audit`: leaks that were planted are found, what is clean is not accused, and wrong input is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipelines.__main__ import main
from pipelines.preparation.audit import audit_lists, neighbours, read_list
from pipelines.preparation.audit.labels import modified_z
from pipelines.tasks.general.pairs import prepare_pairs

Save = Callable[..., dict[str, Any]]


def texture(seed: int, side: int = 96) -> np.ndarray:
    """Structure that no other seed has, 0..1."""
    noise = np.random.default_rng(seed).normal(size=(side, side))
    smooth = gaussian_filter(noise, 2)
    return np.clip(0.5 + 0.2 * smooth / smooth.std(), 0, 1)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a picture, with a mask where a middle and radius are given, and makes its entry."""

    def entry(name: str, plane: np.ndarray, *, disc: tuple[int, int, int] | None = None, **words: Any) -> dict:
        Image.fromarray((255 * plane).astype(np.uint8)).save(tmp_path / name, quality=80)
        if disc is not None:
            rows, columns = np.mgrid[: plane.shape[0], : plane.shape[1]]
            mask = (rows - disc[0]) ** 2 + (columns - disc[1]) ** 2 < disc[2] ** 2
            words["label"] = f"mask_{Path(name).stem}.png"
            Image.fromarray(mask.astype(np.uint8)).save(tmp_path / words["label"])
        return {"image": name, "case": Path(name).stem, **words}

    return entry


def write(folder: Path, name: str = "datalist.json", **content: Any) -> Path:
    (folder / name).write_text(json.dumps({"name": "set", "validation": [], "test": [], **content}))
    return folder / name


def kinds(path: Path | Sequence[Path]) -> dict[str, int]:
    """Pairs, or findings without any, by kind."""
    paths = [path] if isinstance(path, Path) else path
    found: dict[str, int] = {}
    for finding in audit_lists([read_list(each, k) for k, each in enumerate(paths)]).findings:
        if finding.kind != "split":
            found[finding.kind] = found.get(finding.kind, 0) + max(len(finding.pairs), len(finding.items), 1)
    return found


def test_planted_leaks_are_found_and_named(tmp_path: Path, save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    training = [save(f"t{k}.png", texture(k), patient=f"P{k}") for k in range(6)]
    copy = save("copy.jpg", np.rot90(texture(0))[:, ::-1], patient="Q0")  # turned, mirrored, as JPEG
    next_slice = save("next.png", np.clip(texture(1) + 0.5 * (texture(50) - 0.5), 0, 1), patient="Q1")
    equal = save("equal.png", texture(2), patient="Q2")
    again = save("again.png", texture(60), patient="p3 ")  # P3, spelt otherwise
    clean = [save(f"v{k}.png", texture(100 + k), patient=f"V{k}") for k in range(3)]
    path = write(tmp_path, training=training, validation=clean, test=[copy, next_slice, equal, again])
    assert main(["data", "audit", str(path), "--out", str(tmp_path / "audit")]) == 16
    captured = capsys.readouterr()
    assert "3 leaks were found" in captured.err
    assert "1 patient is in training and in test" in captured.out
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())
    pairs = {
        (pair["first"]["case"], pair["second"]["case"])
        for finding in found["findings"]
        if finding["leak"]
        for pair in finding["pairs"]
    }
    assert pairs == {("t0", "copy"), ("t1", "next"), ("t2", "equal"), ("t3", "again")}
    page = (tmp_path / "audit" / "audit.md").read_text()
    assert "**3 leaks.**" in page
    assert "t0 (training) and copy (test)" in page
    with Image.open(tmp_path / "audit" / "audit.png") as sheet:  # the second is turned as the first
        tiles = np.asarray(sheet.convert("L"), float)
        equal_tiles = [np.abs(tiles[:96, x : x + 96] - tiles[:96, x + 96 : x + 192]).mean() for x in (0, 204, 408)]
    assert min(equal_tiles) < 3
    assert sum(each < 12 for each in equal_tiles) >= 2


def test_what_is_clean_passes(tmp_path: Path, save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    items = [save(f"{k}.png", texture(k), patient=f"P{k}") for k in range(60)]
    path = write(tmp_path, training=items[:30], validation=items[30:50], test=items[50:])
    assert main(["data", "audit", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{path}: 30 training, 20 validation, 10 test\nnothing found\n"


def test_a_slice_in_another_crop_is_found_by_its_mask(tmp_path: Path, save: Save) -> None:
    """Two exports of one slice, of which one has a wide margin, in another contrast."""
    plane = texture(0, 96)
    wide = np.full((160, 150), 0.1)
    wide[40:136, 20:116] = plane**2
    one = save("one.png", plane, disc=(48, 48, 30))
    other = save("other.png", wide, disc=(88, 68, 30))
    others = [save(f"t{k}.png", texture(9 + k), disc=(40, 50, 30)) for k in range(4)]
    assert kinds(write(tmp_path, training=[one, *others], test=[other])) == {"alike": 1}


def test_vignettes_alone_are_not_likeness(tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dark corners of one device are alike; half of all parts have to be."""
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j]
    corners = np.where(rows**2 + columns**2 < 1.1, 1.0, 0.05)
    items = [save(f"{k}.png", corners * (0.7 + 0.1 * (texture(k) - 0.5))) for k in range(30)]
    path = write(tmp_path, training=items[:15], validation=items[15:22], test=items[22:])
    monkeypatch.setattr(neighbours, "_HIGHEST", 0.58)
    assert "alike" not in kinds(path)
    monkeypatch.setattr(neighbours, "_PARTS_ALIKE", 0.0)
    monkeypatch.setattr(neighbours, "_PARTS_OF_FEW", 0.0)
    assert "alike" in kinds(path)


def test_lists_of_several_sets_are_held_against_each_other(tmp_path: Path, save: Save) -> None:
    mine = [save(f"{k}.png", texture(k), patient=f"P{k}") for k in range(4)]
    first = write(tmp_path, training=mine[:3], test=mine[3:])
    other = tmp_path / "other"
    other.mkdir()
    for item in mine[1:3]:
        Image.open(tmp_path / item["image"]).resize((80, 80)).save(other / item["image"])
    theirs = [{**item, "patient": f"Q{k}"} for k, item in enumerate(mine[1:3])]
    theirs[0]["patient"] = "P0"  # a name that both sets have
    second = write(other, name="datalist.json", training=theirs[:1], test=theirs[1:])
    assert kinds([first, second]) == {"shared": 1, "alike": 1, "patient": 1}
    folds = [write(tmp_path, f"datalist_fold{k}.json", training=mine[k:], test=mine[:k]) for k in (1, 2)]
    assert kinds(folds) == {}  # other splits of the same images


def test_volumes_by_their_slices(tmp_path: Path) -> None:
    def volume(name: str, seed: int, first: int) -> dict[str, str]:
        planes = [texture(seed + (first + k) // 3, 48) for k in range(12)]
        nib.save(nib.Nifti1Image((1000 * np.stack(planes, axis=2)).astype(np.int16), np.eye(4)), tmp_path / name)
        return {"image": name, "case": name}

    volumes = [
        volume("a.nii.gz", 0, 0),
        volume("b.nii.gz", 1000, 0),
        volume("c.nii.gz", 0, 6),
    ]  # c goes on where a ends
    assert kinds(write(tmp_path, training=volumes[:2], test=volumes[2:])) == {"alike": 1}


def test_labels_that_contradict_copies_or_stand_out(tmp_path: Path, save: Save) -> None:
    items = [save(f"{k}.png", texture(k), disc=(40 + k % 9, 50, 14 + k % 5)) for k in range(24)]
    copy = save("copy.jpg", texture(0), disc=(75, 20, 14))
    huge = save("huge.png", texture(30), disc=(48, 48, 90))
    empty = save("empty.png", texture(31), disc=(48, 48, 0))
    path = write(tmp_path, training=[*items, copy, huge, empty])
    audit = audit_lists([read_list(path, 0)])
    found = {finding.kind: finding for finding in audit.findings}
    assert {(pair.first.case, pair.second.case) for pair in found["label"].pairs} == {("0", "copy")}
    assert {item.case for item in found["mask"].items} == {"huge", "empty"}
    assert "its mask is empty" in found["mask"].text
    assert audit.leaks == []


def test_classes_that_neighbours_deny(tmp_path: Path, save: Save) -> None:
    """Two classes that the greys tell: one bright above, one below."""
    ramp = np.linspace(0, 1, 96)[:, None]
    items = []
    for k in range(60):
        shade = ramp if k % 2 else 1 - ramp
        items.append(save(f"{k}.png", 0.7 * shade + 0.3 * texture(k), label=k % 2))
    items[7]["label"] = 0  # wrong
    copy = save("copy.png", 0.7 * (1 - ramp) + 0.3 * texture(2), label=1)  # of an image of class 0
    path = write(tmp_path, classes={"0": "a", "1": "b"}, training=[*items, copy])
    found = {f.kind: f for f in audit_lists([read_list(path, 0)]).findings}
    assert {item.case for item in found["class"].items} == {"7", "copy"}
    assert [(pair.first.case, pair.second.case) for pair in found["label"].pairs] == [("2", "copy")]
    for k, item in enumerate(items):
        item["label"] = k // 2 % 2  # nothing to do with the greys
    path = write(tmp_path, classes={"0": "a", "1": "b"}, training=items)
    found = {f.kind: f for f in audit_lists([read_list(path, 0)]).findings}
    assert "too low to suspect anybody's class" in found["class"].text


def test_splits_of_another_kind(tmp_path: Path, save: Save) -> None:
    items = [save(f"{k}.png", texture(k), label=int(k < 20), patient=f"P{k}") for k in range(60)]
    path = write(tmp_path, classes={"0": "a", "1": "b"}, training=items[20:], test=items[:20])
    assert kinds(path)["shift"] == 1
    masks = [save(f"m{k}.png", texture(k), disc=(48, 48, 8 if k < 30 else 30)) for k in range(60)]
    assert kinds(write(tmp_path, training=masks[:30], test=masks[30:]))["shift"] == 1
    assert "shift" not in kinds(write(tmp_path, training=masks[::2], test=masks[1::2]))


def test_modified_z_where_most_are_equal() -> None:
    assert modified_z(np.zeros(9)).tolist() == [0.0] * 9
    assert modified_z(np.array([0.0] * 20 + [9.0]))[-1] > 3.5


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        ("{", 16, "cannot be read"),
        ("[]", 16, "no JSON object"),
        ('{"training": []}', 16, "no entries"),
        ('{"training": [{"label": 1}]}', 16, "has no image"),
        ('{"training": [{"image": "away.png"}]}', 16, "'away.png' is missing"),
        ('{"training": [{"image": "a\\u0000b.png"}]}', 16, "is missing"),
        ('{"training": ["bad.png"]}', 10, "bad.png"),
        ('{"training": [{"image": "good.png", "label": "small.png"}]}', 12, "small.png"),
    ],
)
def test_wrong_input_is_refused(
    content: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    Image.fromarray(np.eye(20, dtype=np.uint8)).save(tmp_path / "good.png")
    Image.fromarray(np.eye(10, dtype=np.uint8)).save(tmp_path / "small.png")
    (tmp_path / "datalist.json").write_text(content)
    assert main(["data", "audit", str(tmp_path), "--out", str(tmp_path / "audit")]) == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "audit").exists()


def test_a_list_that_is_not_there_or_given_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "audit", str(tmp_path / "none")]) == 16
    assert "there is no such datalist" in capsys.readouterr().err
    assert main(["data", "audit", str(tmp_path), str(tmp_path / ".")]) == 2


def test_preparing_reports_neighbours(tmp_path: Path) -> None:
    """Next slices, whose perceptual hashes differ, on both sides of a split."""
    raw = tmp_path / "raw"
    for name in ("images", "masks"):
        (raw / name).mkdir(parents=True)
    rows, columns = np.mgrid[:96, :96]
    for k in range(12):  # six scans of two slices each
        plane = np.clip(texture(k // 2) + 0.7 * (texture(90 + k) - 0.5), 0, 1)
        Image.fromarray((255 * plane).astype(np.uint8)).save(raw / "images" / f"{k:02d}.png")
        mask = ((rows - 40) ** 2 + (columns - 50) ** 2 < (10 + k) ** 2).astype(np.uint8)
        Image.fromarray(mask).save(raw / "masks" / f"{k:02d}.png")
    shared: dict[str, Any] = {"seed": 0, "validation": 0.2, "test": 0.2, "folds": 0, "force": False, "skip_bad": False}
    prepare_pairs(raw, tmp_path / "out", **shared)
    report = (tmp_path / "out" / "report.md").read_text()
    torn = audit_lists([read_list(tmp_path / "out", 0)]).leaks
    assert torn
    both = [pair for finding in torn for pair in finding.pairs]
    assert all(int(pair.first.case) // 2 == int(pair.second.case) // 2 for pair in both)
    section = report.split("## Audit\n")[1].split("\n## ")[0]
    near = report.split("## Near-duplicates")[1].split("\n## ")[0] if "## Near-duplicates" in report else ""
    for pair in both:  # each is named once
        first, second = f"{pair.first.case} (", f"{pair.second.case} ("
        assert (first in section and second in section) != (pair.first.case in near and pair.second.case in near)
    assert "**Leak.**" in section


def test_neighbouring_slices_of_unknown_patients(shared_data: Path, tmp_path: Path) -> None:
    """COVID-SemiSeg's training part: three pairs of neighbours, and no others."""
    images = sorted((shared_data / "lung_ct_lesions" / "images").iterdir())
    held = {"43", "5", "4"}
    items = {path.stem: {"image": str(path)} for path in images}
    path = write(
        tmp_path,
        training=[item for name, item in items.items() if name not in held],
        test=[items[name] for name in sorted(held)],
    )
    audit = audit_lists([read_list(path, 0)])
    found = {(pair.first.case, pair.second.case) for finding in audit.leaks for pair in finding.pairs}
    assert found == {("10", "43"), ("46", "5"), ("17", "4")}
