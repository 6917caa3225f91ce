"""The pictures of cases on which networks disagree: every network's outline beside the truth, on its image."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from made_runs import Made
from numpy.typing import NDArray
from PIL import Image
from test_comparison_page import Page, made_page

from pipelines.comparison import Options, ranking
from pipelines.comparison.disagreement import Divided, divided_cases
from pipelines.comparison.outlines import CasePictures, OutlinedCase, Panel, figure_of
from pipelines.comparison.runs import Store
from pipelines.evaluation.kept_masks import MaskKeeper
from pipelines.tasks.lung_ct.phantom import make_lung_phantom


def keep(made: Made, masks: dict[str, NDArray], paths: dict[str, tuple[Path, Path]], affine: NDArray | None) -> None:
    """What an evaluation would have kept in the folder that the next run is made of."""
    keeper = MaskKeeper(made.folder / "evaluation", 9, {1: "lung", 2: "lesion"})
    entries = []
    for case, mask in masks.items():
        entry = keeper.add(case, mask, affine, None, None)
        assert entry is not None
        entry["image"], entry["label"] = map(str, paths[case])
        entries.append(entry)
    keeper.finish(entries, len(masks))


@pytest.fixture
def scans(tmp_path: Path) -> dict[str, Any]:
    """Two volumes, their labels, and what two networks make of them."""
    found: dict[str, Any] = {"paths": {}, "truth": {}, "affine": None}
    for number, case in enumerate(("a", "b")):
        phantom = make_lung_phantom(number, size=48, slices=7)
        nib.save(nib.Nifti1Image(phantom.array.astype(np.int16), phantom.affine), tmp_path / f"{case}.nii")
        nib.save(nib.Nifti1Image(phantom.label, phantom.affine), tmp_path / f"{case}_label.nii")
        found["paths"][case] = (tmp_path / f"{case}.nii", tmp_path / f"{case}_label.nii")
        found["truth"][case], found["affine"] = phantom.label, phantom.affine
    return found


def two_networks(made: Made, scans: dict[str, Any], *, kept: tuple[str, ...] = ("good", "blind")) -> None:
    """``good`` says the truth, ``blind`` sees no lesion."""
    for network, dice in (("good", [1.0, 1.0]), ("blind", [0.0, 0.1])):
        said = {case: mask if network == "good" else np.minimum(mask, 1) for case, mask in scans["truth"].items()}
        folder = made.folder / "evaluation" / "masks"
        if network in kept:
            keep(made, said, scans["paths"], scans["affine"])
        elif folder.is_dir():
            for path in folder.iterdir():
                path.unlink()
        made.segmentation(network, dice, cases=["a", "b"])


def drawn(made: Made, chosen: list[Divided]) -> tuple[list[OutlinedCase], str, CasePictures]:
    with Store(made.uri) as store:
        (found,) = ranking.rank(store, [run for run in store.runs() if ranking.tested(run)])
        pictures = CasePictures(store, {row.label: row for row in found.rows}, "lesion_dice")
        return *pictures.read(chosen), pictures


CHOSEN = [Divided("a", {"good": 1.0, "blind": 0.0})]


def test_each_network_has_its_mask_of_the_slice_that_divides_them(made: Made, scans: dict[str, Any]) -> None:
    two_networks(made, scans)
    (case,), reason, _ = drawn(made, CHOSEN)
    assert reason == ""
    most = (scans["truth"]["a"] == 2).sum(axis=(0, 1)).max()
    assert case.truth.sum() == most > 0
    good, blind = case.panels
    np.testing.assert_array_equal(good.mask, case.truth)
    assert blind.mask is not None
    assert blind.mask.sum() == 0
    assert re.fullmatch(r"slice \d of 7 from the feet", case.where)
    assert f"good: 1.000, {most} pixels, {most} of them true" in case.alt
    assert "blind: 0.000, 0 pixels, 0 of them true" in case.alt


def test_the_outline_of_a_label_stored_along_other_axes_lies_on_its_image(made: Made, scans: dict[str, Any]) -> None:
    two_networks(made, scans)
    (before,), _, _ = drawn(made, CHOSEN)
    path = scans["paths"]["a"][1]
    turned = nib.as_closest_canonical(nib.Nifti1Image(scans["truth"]["a"], scans["affine"]))
    nib.save(turned, path)
    (after,), _, _ = drawn(made, CHOSEN)
    assert before.truth.any()
    np.testing.assert_array_equal(before.truth, after.truth)
    np.testing.assert_array_equal(before.image, after.image)


def test_a_truth_without_lesion_is_not_its_lung(made: Made, scans: dict[str, Any]) -> None:
    empty = np.minimum(scans["truth"]["a"], 1)
    nib.save(nib.Nifti1Image(empty, scans["affine"]), scans["paths"]["a"][1])
    two_networks(made, scans)
    (case,), _, _ = drawn(made, CHOSEN)
    assert not case.truth.any()
    assert case.panels[0].mask is not None
    assert case.panels[0].mask.any()


def test_the_page_has_a_picture_a_case_and_the_command_that_opens_it(made: Made, scans: dict[str, Any]) -> None:
    two_networks(made, scans)
    page = made_page(made)
    assert page.text.count("Where they disagree most") == 1
    images = [each for each in page.all("img") if "Truth:" in each["alt"]]
    assert len(images) == 2
    assert [each["alt"].startswith("Where they disagree most. a, slice") for each in images] == [True, False]
    commands = re.findall(r"python -m pipelines view (\S+/evaluation) (\S+/evaluation)", page.text)
    assert len(commands) == 2
    for folder in commands[0]:
        assert len(json.loads((Path(folder) / "masks" / "cases.json").read_text())) == 2
    assert "not kept" not in page.text


def test_runs_without_masks_show_the_truth_and_say_so(made: Made, scans: dict[str, Any]) -> None:
    two_networks(made, scans, kept=("good",))
    page = made_page(made)
    assert "The masks of blind were not kept" in page.text
    assert "python -m pipelines view" in page.text
    (case, _), _, _ = drawn(made, [*CHOSEN, Divided("b", {"good": 1.0, "blind": 0.1})])
    assert [panel.mask is None for panel in case.panels] == [False, True]
    assert "blind: 0.000, mask not kept" in case.alt


def test_masks_of_no_run_leave_the_truth_of_the_trainings_data(made: Made, scans: dict[str, Any]) -> None:
    entries = [
        {"case": c, "patient": c, "image": i.name, "label": t.name} for c, (i, t) in sorted(scans["paths"].items())
    ]
    for name in ("one", "one_label", "two", "two_label"):
        (made.folder / f"{name}.nii").write_bytes(b"not read")
    others = [{"case": c, "patient": c, "image": f"{c}.nii", "label": f"{c}_label.nii"} for c in ("one", "two")]
    labels = {"0": "background", "1": "lung", "2": "lesion"}
    content = {"labels": labels, "training": others[:1], "validation": others[1:], "test": entries}
    (made.folder / "datalist.json").write_text(json.dumps(content))
    for network, dice in (("good", [1.0, 1.0]), ("blind", [0.0, 0.1])):
        made.segmentation(network, dice, cases=["a", "b"], params={"dataset_dir": str(made.folder)})
    page = made_page(made)
    assert "The masks of these networks were not kept" in page.text
    assert "python -m pipelines view" not in page.text
    assert len([each for each in page.all("img") if "Truth:" in each["alt"]]) == 2
    with Store(made.uri) as store:
        rows = {row.label: row for row in ranking.rank(store, store.runs())[0].rows}
        found = {name: CasePictures(store, rows, f"{name}_dice").read([CHOSEN[0]])[0][0] for name in ("lung", "lesion")}
    (first,) = (truth for case, truth in scans["truth"].items() if case == CHOSEN[0].case)
    for value, name in ((1, "lung"), (2, "lesion")):  # which value the metric is of the data say
        assert found[name].truth.sum() == (first == value).sum(axis=(0, 1)).max() > 0


def test_images_that_are_gone_are_said_to_be(made: Made, scans: dict[str, Any]) -> None:
    two_networks(made, scans)
    for image, _ in scans["paths"].values():
        image.unlink()
    assert "the images that were measured are not on this machine" in made_page(made).text


def test_a_mask_that_cannot_be_read_costs_its_panel_only(made: Made, scans: dict[str, Any]) -> None:
    two_networks(made, scans)
    with Store(made.uri) as store:
        paths = {run.network: store.file(run, "evaluation/masks/a.nii.gz") for run in store.runs()}
    assert paths["good"] is not None
    paths["good"].write_bytes(b"no image")
    (case,), _, _ = drawn(made, CHOSEN)
    assert [panel.mask is None for panel in case.panels] == [True, False]
    assert "The mask of good cannot be read" in case.caption


@pytest.mark.parametrize("mask", ["../../secret.png", "/etc/secret.png", "..", "a.nii", "\\\\host\\a.png", 7])
def test_a_list_of_a_store_reaches_nothing_beside_itself(made: Made, scans: dict[str, Any], mask: object) -> None:
    two_networks(made, scans)
    with Store(made.uri) as store:
        for run in store.runs():
            path = store.file(run, "evaluation/masks/cases.json")
            assert path is not None
            path.write_text(json.dumps([{**each, "mask": mask} for each in json.loads(path.read_text())]))
    _, _, pictures = drawn(made, CHOSEN)
    assert pictures.kept == {}


def test_pictures_in_colour(made: Made, tmp_path: Path) -> None:
    skin = np.full((90, 120, 3), 220, dtype=np.uint8)
    truth = np.zeros((90, 120), dtype=np.uint8)
    truth[30:50, 40:80] = 1
    skin[truth == 1] = (120, 60, 40)
    Image.fromarray(skin).save(tmp_path / "a.png")
    Image.fromarray(truth).save(tmp_path / "truth.png")
    for network, left in (("good", 40), ("late", 60)):
        said = np.zeros_like(truth)
        said[30:50, left:80] = 1
        keep(made, {"a": said.T[:, :, None]}, {"a": (tmp_path / "a.png", tmp_path / "truth.png")}, None)
        names = made.folder / "evaluation" / "masks" / "labels.json"
        names.write_text(json.dumps({"0": "background", "1": "lesion"}))
        made.segmentation(network, [1.0 if left == 40 else 0.67], cases=["a"])
    (case,), _, _ = drawn(made, [Divided("a", {"good": 1.0, "late": 0.67})])
    assert case.where == ""
    np.testing.assert_array_equal(case.truth, truth == 1)
    np.testing.assert_array_equal(case.image, skin)
    assert [int(panel.mask.sum()) for panel in case.panels if panel.mask is not None] == [800, 400]


def test_truth_and_networks_are_told_apart_without_colours() -> None:
    """Of one mask the truth is a whole line, and the network's a broken one: less of it is drawn."""
    mask = np.zeros((120, 120), dtype=bool)
    mask[30:90, 30:90] = True
    nothing = np.zeros_like(mask)

    def ink(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> int:
        image = np.zeros(mask.shape, dtype=np.uint8)
        case = OutlinedCase("a", image, truth, (Panel("network", 0.5, found),), "", "", ())
        buffer = io.BytesIO()
        figure_of(case).savefig(buffer, format="png")
        drawn = np.asarray(Image.open(buffer).convert("L")).astype(int)
        right = drawn[: drawn.shape[0] * 4 // 5, drawn.shape[1] // 2 :]
        return int(((right > 110) & (right < 240)).sum())

    frame = ink(nothing, nothing)
    assert 0 < ink(nothing, mask) - frame < 0.8 * (ink(mask, nothing) - frame)


def test_the_most_divided_cases_come_first_with_what_each_row_has() -> None:
    values = {"one": np.array([0.9, 0.5, np.nan, 0.2]), "two": np.array([0.8, 0.1, 0.4, 0.2])}
    first, second = divided_cases(values, ["a", "b", "c", "d"])
    assert (first.case, first.values, first.ends) == ("b", {"one": 0.5, "two": 0.1}, ("one", "two"))
    assert second.case == "a"


def test_no_pictures_where_none_are_asked_for(made: Made, scans: dict[str, Any]) -> None:
    two_networks(made, scans)
    page: Page = made_page(made, options=Options(timing=False, pictures=False))
    assert "Truth:" not in "".join(each["alt"] for each in page.all("img"))
    assert "pipelines view" not in page.text
