"""What the demo says on the screen, with steps that do next to nothing; the demo itself is in ``test_whole``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines import demo
from pipelines.demo import Step, demo_steps, run_demo
from pipelines.errors import OutputError, UsageError

STEP = """
import pathlib, sys, time
print("INFO noise", *sys.argv[1:], flush=True)
if sys.argv[1] == "fail":
    print("\\n".join(f"line {number}" for number in range(40)))
    sys.exit(7)
if sys.argv[1] == "sleep":
    time.sleep(60)
pathlib.Path(sys.argv[2]).touch()
"""


@pytest.fixture
def steps_of(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes the demo's steps from words, each of which ``STEP`` obeys."""
    (tmp_path / "a_step.py").write_text(STEP)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(project)]))
    monkeypatch.setattr(demo, "WARM", ())

    def make(*words: str) -> None:
        steps = [
            Step(word, f"do {word}", ["a_step", word, str(tmp_path / f"{word}.png")], result=(tmp_path, f"{word}.png"))
            for word in words
        ]
        monkeypatch.setattr(demo, "demo_steps", lambda *_: steps)

    return make


def test_a_line_a_step_and_the_rest_in_logs(steps_of, project, tmp_path, capfd) -> None:
    steps_of("one", "two")
    assert run_demo(tmp_path / "demo", project / "bundles") == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[2].startswith(" 1/2 do one ")
    assert lines[2].endswith(" s")
    assert lines[3] == f"      -> {tmp_path / 'one.png'}"
    assert lines[4].startswith(" 2/2 do two ")
    assert lines[-1].strip().endswith(f"-m pipelines view {tmp_path / 'demo' / 'predictions'}"), "what comes next"
    assert "INFO" not in out + err
    assert "\r" not in out  # nothing moves where nobody looks
    log = (tmp_path / "demo" / "logs" / "02_two.log").read_text().splitlines()
    assert log == [f"$ {sys.executable} -m a_step two {tmp_path / 'two.png'}", f"INFO noise two {tmp_path / 'two.png'}"]


def test_a_step_that_fails_says_all_that_is_needed(steps_of, project, tmp_path, capfd) -> None:
    steps_of("one", "fail", "three")
    assert run_demo(tmp_path / "demo", project / "bundles") == 7
    out, err = capfd.readouterr()
    assert "3/3" not in out
    log = tmp_path / "demo" / "logs" / "02_fail.log"
    assert "the step 'do fail' ended with exit code 7" in err
    assert "  | line 39\n" in err
    assert "line 20\n" not in err
    assert f"all of it: {log}\n" in err
    assert f"by hand: {sys.executable} -m a_step fail" in err


def test_libraries_that_do_not_load_are_no_stack_trace_of_ours(steps_of, project, tmp_path, capfd, monkeypatch) -> None:
    steps_of("one")
    monkeypatch.setattr(demo, "WARM", ("no_such_module",))
    assert run_demo(tmp_path / "demo", project / "bundles") == 1
    err = capfd.readouterr().err
    assert "loading the libraries ended with exit code 1" in err
    assert "  | ModuleNotFoundError: No module named 'no_such_module'\n" in err


def test_ctrl_c_ends_the_step_and_says_so(project, tmp_path) -> None:
    (tmp_path / "a_step.py").write_text(STEP)
    # whoever runs the tests in the background has SIGINT ignored, and that is inherited
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    script += "import sys; from pathlib import Path; from pipelines import demo; demo.WARM = (); "
    script += "demo.demo_steps = lambda *_: [demo.Step('nap', 'sleep', ['a_step', 'sleep'])]; "
    script += "sys.exit(demo.run_demo(Path(sys.argv[1]), Path('bundles')))"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "demo")],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(project)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as the shell does: Ctrl-C reaches all of it
    ) as process:
        log = tmp_path / "demo" / "logs" / "01_nap.log"
        try:
            until = time.monotonic() + 60
            while not (log.exists() and "INFO noise sleep" in log.read_text()):
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert err == ""
    assert out.strip().splitlines()[-1].startswith("interrupted; ")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_training_has_epochs(project, tmp_path) -> None:
    with pytest.raises(UsageError, match="1 or more, got 0"):
        run_demo(tmp_path / "demo", project / "bundles", epochs=0)
    assert not (tmp_path / "demo").exists()


def test_the_answer_of_shipped_weights_comes_before_any_training(project, tmp_path) -> None:
    bundle = project / "bundles" / demo.BUNDLE
    steps = demo_steps(tmp_path, bundle, 1)
    assert [step.name for step in steps[:2]] == ["draw_scans", "segment"]
    assert "--checkpoint" not in steps[1].arguments
    trained = [step.name for step in steps if step.name.startswith("train_")]
    assert trained == ["train_basic_unet", "train_tiny_unet", "train_lesion_unet"]
    assert f"\"['{bundle}/configs/train.yaml','{bundle}/configs/networks/tiny_unet.yaml']\"" in steps[5].command


def test_a_file_is_no_place_for_a_demo(project, tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        run_demo(tmp_path / "file", project / "bundles")
