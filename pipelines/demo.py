"""The first minutes: a scan is segmented; then networks are trained, measured and compared. Each step is a command."""

from __future__ import annotations

import logging
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipelines.bundle import run_environment
from pipelines.errors import OutputError, UsageError
from pipelines.files import held_beside
from pipelines.sigterm import SigtermUnwinds
from pipelines.warm import WarmPython

logger = logging.getLogger(__name__)

BUNDLE = "covid_ct_lesion_segmentation"
NETWORKS = ("basic_unet", "tiny_unet", "lesion_unet")
# Threads that spin while they wait take the processor from those who work: twice the time on a busy machine.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
# what the steps import, once for all of them
WARM: tuple[str, ...] = ("monai.bundle", "mlflow.store.tracking.sqlalchemy_store", "matplotlib.pyplot")
WARM += ("pipelines.prediction", "pipelines.networks", "pipelines.comparison")

# two scans as large as the shipped weights know them
SCANS = ["--raw", "--cases", "2", "--slices", "12", "--size", "256"]
# of fewer than seven test cases with lesions no paired test of three networks can say anything: ten, two without
CASES = ["--cases", "20", "--slices", "8", "--size", "128", "--validation", "0.1", "--test", "0.5"]
KNOBS = ["--slice_size", "[96,96]", "--batch_size", "1", "--slices_per_case", "4", "--val_interval", "4"]
KNOBS += ["--learning_rate", "0.001", "--flips", "False", "--scales", "[1.0]"]  # one look at each slice

_WIDTH = 54
_EPOCH = re.compile(rb"Trainer: Epoch\[\d+\] Complete\.")
_CASE = re.compile(rb"^(?:done|refused|failed):", re.MULTILINE)
_TAIL = 12  # lines of a failed step's log that are shown
_UNTOLD, _GRACE = 3.0, 30.0  # seconds that a step has to end itself: untold, and once it was told to


@dataclass(frozen=True)
class Step:
    """A command of the demo.

    Args:
        name: names the log.
        what: the line on the screen.
        arguments: what stands behind ``python -m``.
        count, total: what the log shows of each part that is done, and how many parts there are; None if unknown.
        result: what to open when it is done: a folder and a pattern.
    """

    name: str
    what: str
    arguments: list[str]
    count: re.Pattern[bytes] | None = None
    total: int | None = None
    result: tuple[Path, str] | None = None

    @property
    def command(self) -> str:
        """The step as it is run by hand."""
        return " ".join(_quoted(word) for word in (sys.executable, "-m", *self.arguments))


def run_demo(out: Path, bundles: Path, epochs: int = 8) -> int:
    """Segments phantoms with the shipped weights; trains three networks, evaluates and compares them, into ``out``.

    Training starts from a network's shipped weights, as with one's own scans, and from random ones where a bundle has
    none.

    Args:
        out: replaced if an earlier demo made it.
        bundles: the folder of bundles.
        epochs: of each training.

    Returns:
        The exit code of the first step that fails, or 0.

    Raises:
        UsageError: the bundle is not there, or there are no epochs.
        OutputError: ``out`` exists and no demo made it, cannot be written, or another demo is writing it.
    """
    bundle = bundles / BUNDLE
    if not bundle.is_dir():
        raise UsageError("the demo needs the project's bundles", where=bundle, how="name them with --bundles")
    if epochs < 1:
        raise UsageError(f"--epochs must be 1 or more, got {epochs}")
    with held_beside(out):
        return _demo(out.absolute(), bundle, epochs)


def _demo(out: Path, bundle: Path, epochs: int) -> int:
    mark = out / ".demo"
    logs = out / "logs"
    try:
        if out.exists() and any(out.iterdir()) and not mark.exists():
            raise OutputError("the folder holds something else", where=out, how="choose another --out")
        shutil.rmtree(out, ignore_errors=True)
        logs.mkdir(parents=True)
        mark.touch()
    except OSError as error:
        raise OutputError(
            f"the folder cannot be written ({error.strerror})", where=out, how="choose another --out"
        ) from error

    steps = demo_steps(out, bundle, epochs)
    started = time.monotonic()
    _say(f"{len(steps)} steps; each is a command, which the head of its log shows: {_near(logs)}")
    environment = run_environment(**WAITING)
    step, log = None, logs / "00_start.log"
    with SigtermUnwinds(), log.open("wb") as errors, WarmPython(WARM, environment, errors) as warm:
        try:
            with _Line("load PyTorch, MONAI and MLflow, once for all steps") as line:
                while not warm.ready(0.2):
                    line.show(0)
            for number, step in enumerate(steps, start=1):
                log = logs / f"{number:02d}_{step.name}.log"
                code = _run(warm.python, step, log, f"{number:2d}/{len(steps)} {step.what}")
                if code:
                    return _failed(step, log, code)
        except ChildProcessError as error:
            return _failed(step, log, _as_a_shell_has_it(error.args[0]) or 1)
        except KeyboardInterrupt:
            _say(f"interrupted; what was made until now is in {_near(out)}, and another call begins anew")
            return 130
    python = _near(Path(sys.executable))
    _say(
        f"Done in {time.monotonic() - started:.0f} s. On phantoms, figures show that it works, not how well. Open:\n"
        f"  {_near(_first(out / 'predictions', '*_overlay.png'))}  (lung blue, lesion orange)\n"
        f"  {_near(out / 'comparison' / 'comparison.html')}  (which network is best, and how sure that is)\n"
        f"  {_near(out / NETWORKS[0] / 'evaluation' / 'summary.md')}  (every metric with its interval)\n"
        f"Your own scan: {python} -m pipelines predict bundles/{BUNDLE} SCAN --out DIR; the tracked runs: make ui\n"
        "Scroll through the scans, look at what was found, correct it:\n"
        f"  {python} -m pipelines view {_near(out / 'predictions')}"
    )
    return 0


def demo_steps(out: Path, bundle: Path, epochs: int) -> list[Step]:
    """The demo's commands: an answer of the shipped weights first, then what takes longer.

    Args:
        out: where all goes; absolute.
        bundle: the bundle's folder.
        epochs: of each training.
    """
    configs, data, scans = bundle / "configs", str(out / "phantoms"), str(out / "scans")
    images = str(out / "scans" / "ct_scans")
    phantom = ["pipelines", "data", "phantom", "covid_ct", "--out"]
    predictions = out / "predictions"
    predict = ["pipelines", "predict", str(bundle), images, "--out", str(predictions), "--fast"]
    steps = [
        Step("draw_scans", "draw two CT scans: phantoms", [*phantom, scans, *SCANS]),
        Step(
            "segment", "segment them with the shipped weights", predict, _CASE, 2, result=(predictions, "*_overlay.png")
        ),
        Step("draw_phantoms", "draw 20 more, to train and to measure on", [*phantom, data, *CASES]),
    ]
    monai = ["monai.bundle", "run", "--config_file"]
    train, evaluate = str(configs / "train.yaml"), str(configs / "evaluate.yaml")
    knobs = [*KNOBS, "--dataset_dir", data, "--bundle_root", str(bundle)]
    for name in NETWORKS:
        network, own = str(configs / "networks" / f"{name}.yaml"), [*knobs, "--ckpt_dir", str(out / name)]
        weights = start(bundle, name)
        origin = "its shipped" if weights else "random"
        training = [*monai, f"['{train}','{network}']", *own, "--epochs", str(epochs), *weights]
        steps += [
            Step(f"train_{name}", f"train {name} from {origin} weights", training, _EPOCH, epochs),
            Step(
                f"evaluate_{name}",
                f"evaluate {name} on 10 phantoms kept aside",
                [*monai, f"['{train}','{network}','{evaluate}']", *own],
            ),
        ]
    comparison = out / "comparison"
    compare = ["pipelines", "compare", "--experiment", BUNDLE, "--out", str(comparison)]
    compare += ["--bundles", str(bundle.parent)]
    return [*steps, Step("compare", "compare the three networks", compare, result=(comparison, "comparison.html"))]


def start(bundle: Path, network: str) -> list[str]:
    """The flag that makes a training begin with a network's shipped weights, if there are any."""
    weights = bundle / "models" / f"{network}.safetensors"
    return ["--pretrained", str(weights)] if weights.is_file() else []


def _run(python: str, step: Step, log: Path, line: str) -> int:
    """The step's exit code, as a shell has it."""
    log.write_text(f"$ {step.command}\n", encoding="utf-8")
    command, environment = [python, "-m", *step.arguments], run_environment(**WAITING)
    with _Line(line, step.total) as shown, log.open("ab") as end:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=end, stderr=end, env=environment)
        try:
            while (code := child.poll()) is None:
                shown.show(len(step.count.findall(log.read_bytes())) if step.count else 0)
                time.sleep(0.1)
        finally:
            _end(child)
        shown.succeeded = code == 0
    if code == 0 and step.result:
        _say(f"      -> {_near(_first(*step.result))}")
    return _as_a_shell_has_it(code)


def _as_a_shell_has_it(code: int) -> int:
    """An exit code: 128 and the number of the signal, where one ended the process."""
    return code if code >= 0 else 128 - code


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends what still runs: after the terminal's Ctrl-C by itself, else by SIGTERM, which closes a training's run."""
    for seconds, then in ((_UNTOLD, child.terminate), (_GRACE, child.kill)):
        try:
            child.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            then()
    child.wait()


class _Line:
    """A step on the screen: on a terminal with a bar while it runs; at its end the seconds that it took.

    Args:
        text: what is done.
        total: parts; None if unknown.
    """

    def __init__(self, text: str, total: int | None = None) -> None:
        self.text = text
        self.succeeded = True
        self._total = total
        self._started = time.monotonic()
        self._bar: tqdm | None = None

    def __enter__(self) -> _Line:
        if sys.stdout.isatty():
            form = "{desc} |{bar:12}| {elapsed}" if self._total else "{desc} {elapsed}"
            text = f"{self.text:<{_WIDTH}}"
            self._bar = tqdm(total=self._total, desc=text, file=sys.stdout, leave=False, bar_format=form)
        else:
            sys.stdout.write(f"{self.text:<{_WIDTH}}")
            sys.stdout.flush()
        return self

    def show(self, done: int) -> None:
        if self._bar is not None:
            self._bar.n = done
            self._bar.refresh()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
            sys.stdout.write(f"{self.text:<{_WIDTH}}")
        failed = kind is not None or not self.succeeded
        _say("" if failed else f" {time.monotonic() - self._started:4.0f} s")


def _failed(step: Step | None, log: Path, code: int) -> int:
    """Says on stderr what is needed to find out why, and gives the code back."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    head = 0 if step is None else 1  # the command, which is said below
    last = "\n".join(f"  | {line}" for line in lines[head:][-_TAIL:])
    what = "loading the libraries" if step is None else f"the step '{step.what}'"
    again = "" if step is None else f"by hand: {step.command}\n"
    sys.stderr.write(
        f"error: {what} ended with exit code {code}; the end of its log:\n{last}\nall of it: {log}\n{again}"
    )
    return code


def _quoted(word: str) -> str:
    """As ``shlex.quote``; a list of configs stays legible."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`!\\') else shlex.quote(word)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _near(path: Path) -> str:
    """A path as short as it can be given from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _first(folder: Path, pattern: str) -> Path:
    return next(iter(sorted(folder.rglob(pattern))), folder)
