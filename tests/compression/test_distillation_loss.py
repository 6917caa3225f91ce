"""The loss of a student: its own, its teacher's, and what lies between."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pipelines.compression import DistillationLoss
from pipelines.errors import ConfigError
from pipelines.weights import save_weights


def layer(seed: int, classes: int = 3) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(1, classes, 1)


def loss(tmp_path: Path, student: nn.Module, teacher: nn.Module, **options: float) -> DistillationLoss:
    save_weights(teacher, tmp_path / "teacher.safetensors")
    other = nn.Conv2d(1, next(teacher.parameters()).shape[0], 1)  # its weights are loaded
    return DistillationLoss(nn.CrossEntropyLoss(), student, other, str(tmp_path / "teacher.safetensors"), **options)


IMAGE, LABEL = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.ones(2, 4, 4).long()


def test_between_the_label_and_the_teacher(tmp_path: Path) -> None:
    student, teacher = layer(0), layer(1)
    made = loss(tmp_path, student, teacher, weight=0.25, temperature=2.0)
    logits = student(IMAGE)
    with torch.no_grad():
        soft, own = (teacher(IMAGE) / 2).softmax(1), (logits / 2).softmax(1)
    apart = float((soft * (soft / own).log()).sum(1).mean())
    due = 0.75 * float(nn.functional.cross_entropy(logits, LABEL)) + 0.25 * 4 * apart
    assert float(made(logits, LABEL)) == pytest.approx(due, rel=1e-5)


def test_a_student_that_is_its_teacher_loses_nothing_to_it(tmp_path: Path) -> None:
    student = layer(0)
    assert float(loss(tmp_path, student, student, weight=1.0)(student(IMAGE), LABEL)) == pytest.approx(0, abs=1e-6)


def test_the_teacher_stays_and_the_student_learns(tmp_path: Path) -> None:
    student, teacher = layer(0), layer(1)
    made = loss(tmp_path, student, teacher, weight=1.0).train()
    before = {key: value.clone() for key, value in made.teacher.state_dict().items()}
    optimizer = torch.optim.SGD(student.parameters(), 1.0)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        found = made(student(IMAGE), LABEL)
        found.backward()
        optimizer.step()
        losses.append(float(found.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(value, before[key]) for key, value in made.teacher.state_dict().items())
    assert not made.teacher.training


@pytest.mark.parametrize("options", [{"weight": 1.5}, {"temperature": 0.0}])
def test_numbers_out_of_range(tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="teacher's weight"):
        loss(tmp_path, layer(0), layer(1), **options)


def test_a_teacher_of_other_classes_is_said(tmp_path: Path) -> None:
    student = layer(0)
    with pytest.raises(ConfigError, match="choose a teacher"):
        loss(tmp_path, student, layer(1, classes=2))(student(IMAGE), LABEL)
