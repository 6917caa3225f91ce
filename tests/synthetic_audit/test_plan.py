"""An audit's arms have as many steps, and what cannot be audited is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from made_audits import BUNDLE, made_audit

from pipelines.errors import UsageError
from pipelines.synthetic_audit import Arm
from pipelines.synthetic_audit.plan import digest, steps_an_epoch, with_share

REAL = {0: 100, 1: 300}
SHARES = (0.25, 0.5, 1.0)


def by_arm(trainings: list) -> Mapping[str, object]:
    return {each.arm.name: each for each in trainings if each.seed == 0}


def test_arms_are_named_after_what_training_sees(tmp_path: Path) -> None:
    audit = made_audit(tmp_path, tmp_path, shares=(1.0, 0.25), both=True)
    names = ["none", "classical", "generated 25 %", "generated 100 %", "classical + generated 100 %"]
    assert [arm.name for arm in audit.arms] == names


def test_all_arms_have_as_many_steps(tmp_path: Path) -> None:
    audit = made_audit(tmp_path, tmp_path, shares=SHARES, epochs=12)
    found = by_arm(audit.trainings(REAL, (64, 64)))
    assert {name: each.epochs for name, each in found.items()} == {
        "none": 12, "classical": 12, "generated 25 %": 10, "generated 50 %": 8, "generated 100 %": 6,
    }  # fmt: skip
    assert {name: each.pictures for name, each in found.items()}["generated 25 %"] == 500
    steps = [each.steps for each in found.values()]
    assert found["none"].steps == 12 * 50
    assert max(steps) <= 1.05 * min(steps)


def test_with_equal_epochs_classical_augmentation_sees_as_many_pictures(tmp_path: Path) -> None:
    audit = made_audit(tmp_path, tmp_path, shares=SHARES, epochs=12, equal="epochs", both=True)
    found = by_arm(audit.trainings(REAL, (64, 64)))
    assert found["classical"].epochs == 24
    assert {each.epochs for name, each in found.items() if name != "classical"} == {12}
    assert found["classical"].steps == found["generated 100 %"].steps == 2 * found["none"].steps


def test_steps_and_pictures_by_hand() -> None:
    assert with_share({0: 3, 1: 10}, 0.25) == 3 + 1 + 10 + 2
    assert [steps_an_epoch(number, 8) for number in (1, 8, 9, 10, 17)] == [1, 1, 1, 2, 2]  # a batch of one is left out


def test_the_arm_is_in_the_command_of_the_training(tmp_path: Path) -> None:
    audit = made_audit(tmp_path, tmp_path, encoders={"chest_cnn": "False"})
    found = by_arm(audit.trainings(REAL, (64, 48)))

    def knob(name: str, of: str) -> str | None:
        words = found[of].plan.training(tmp_path, tmp_path, "run")
        return words[words.index(f"--{name}") + 1] if f"--{name}" in words else None

    assert knob("train#random_transforms", "none") == "[]"
    assert knob("train#random_transforms", "generated 100 %") == "[]"
    assert knob("train#random_transforms", "classical") is None
    assert [knob("synthetic_share", name) for name in found] == ["0.0", "0.0", "1.0"]
    assert knob("image_size", "none") == "[48,64]"  # columns, rows
    assert knob("encoder_weights", "none") == "False"
    assert knob("val_interval", "none") == "2", "nothing is chosen on the way"
    own = made_audit(tmp_path, tmp_path, knobs=["--batch_size", "8", "--image_size", "[96,96]"])
    plan = own.trainings(REAL, (64, 48))[0].plan
    assert plan.value("image_size") == "[96,96]"


def test_another_arm_seed_or_knob_is_another_training(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text("{}")
    marks = []
    for more in ({}, {"knobs": ["--batch_size", "4"]}, {"encoders": {"chest_cnn": "False"}}):
        audit = made_audit(tmp_path, tmp_path, **more)
        marks += [digest(audit.settings(each, tmp_path)) for each in audit.trainings(REAL, (64, 64))]
    assert len(set(marks)) == len(marks) == 3 * 6
    (tmp_path / "datalist.json").write_text("[]")
    again = [digest(audit.settings(each, tmp_path)) for each in audit.trainings(REAL, (64, 64))]
    assert not set(again) & set(marks), "other data, other trainings"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"seeds": (0,)}, "the seeds are 0; give two or more"),
        ({"seeds": (1, 1)}, "the seeds are 1 1"),
        ({"shares": (0.0,)}, "give parts above 0"),
        ({"equal": "luck"}, "choose from steps, epochs"),
        ({"networks": ["chest_cnn", "chest_cnn"]}, "named twice"),
        ({"networks": ["lenet"]}, "there is no network 'lenet'"),
        ({"encoders": {"vgg19": "False"}}, "encoder weights are given for vgg19"),
        ({"knobs": ["--seed", "4"]}, "--seed is set for each training"),
        ({"knobs": ["--synthetic_share", "1"]}, "--synthetic_share is set for each training"),
        ({"knobs": ["--epoch", "4"]}, "'epoch' is no knob"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, more: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        made_audit(tmp_path, tmp_path, **more).check()
    made_audit(tmp_path, tmp_path).check()


def test_a_bundle_that_takes_no_generated_pictures_is_refused(tmp_path: Path) -> None:
    audit = made_audit(tmp_path, tmp_path, networks=["tiny_unet"])
    object.__setattr__(audit, "bundle", BUNDLE.parent / "covid_ct_lesion_segmentation")
    with pytest.raises(UsageError, match="no knob synthetic_share"):
        audit.check()
    assert Arm(0.5, True).name == "classical + generated 50 %"
