"""Two commands do not write to one place at once: the second says so, and changes nothing. (Of ``predict``,
``compress``, trainings, corrections, ``listen`` and others: beside their other tests.)"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Engine

from pipelines.demo import run_demo
from pipelines.errors import OutputError
from pipelines.files import held, held_beside
from pipelines.packaging.package import package_bundle
from pipelines.preparation.audit.page import write_audit
from pipelines.tasks.general.phantoms import phantom_pairs
from pipelines.tracking import EvaluationTracker
from pipelines.tuning import Study, tune

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"
BUNDLE = BUNDLES / "covid_ct_lesion_segmentation"
AUDIT: Any = None  # it is not looked at


def evaluated(out: Path) -> None:
    engine = Engine(lambda *_: pytest.fail("it is run beside another"))
    EvaluationTracker("model.pt", output_dir=out).attach(engine)
    engine.run([1])


CALLS: dict[str, tuple[Callable[[Path], object], str | None]] = {  # the lock in the folder, or None: beside it
    "demo": (lambda out: run_demo(out, BUNDLES), None),
    "package": (lambda out: package_bundle(BUNDLE, out), None),
    "data phantom": (lambda out: phantom_pairs(out), None),
    "data audit": (lambda out: write_audit(AUDIT, out), ".auditing.lock"),
    "tune": (lambda out: tune(Study(BUNDLE, None, {}, [], out, "sqlite:///none.db"), 1), ".tuning.lock"),
    "evaluation": (evaluated, ".evaluation.lock"),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_second_is_refused(name: str, tmp_path: Path) -> None:
    call, lock = CALLS[name]
    out = tmp_path / "out"
    with held_beside(out) if lock is None else held(out, lock):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(OutputError, match="another call is writing here; wait for it") as error:
            call(out)
        assert error.value.where == str(out)
        assert sorted(tmp_path.rglob("*")) == before
