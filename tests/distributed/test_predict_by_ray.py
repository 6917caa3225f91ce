"""``predict`` by workers of Ray: the ordinary folder, each case done once, also where a worker is killed."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from lung_pictures import draw

import pipelines.distributed.cluster
from pipelines.__main__ import main
from pipelines.commands.predict import EXIT_SOME_NOT_DONE
from pipelines.distributed import RayJob
from pipelines.distributed.cluster import Resources
from pipelines.distributed.worker import TRIES, Foreman, Plan, Worker
from pipelines.errors import ConfigError, ServerError
from pipelines.networks import TinyUNet
from pipelines.prediction import Asked, Outcome, predict, read_outcomes
from pipelines.weights import save_weights

PROJECT = Path(__file__).resolve().parents[2]
BUNDLE = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
DIES_ONCE = """
- _target_: Lambdad
  keys: image
  func: "$lambda image: __import__('os').path.basename(image.meta['filename_or_obj']) == 'p005.png'
    and not __import__('os').path.exists('{mark}') and (open('{mark}', 'w').close(),
    __import__('os').kill(__import__('os').getpid(), 9)) or image"
- _target_: Orientationd
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(TinyUNet(), path)
    return path


def words(source: list[str], out: Path, weights: Path, *more: str, bundle: Path = BUNDLE) -> list[str]:
    fixed = ["--network", "tiny_unet", "--fast", "--checkpoint", str(weights)]
    return ["predict", str(bundle), *source, "--out", str(out), *fixed, *more]


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra `ray` is not installed")
def test_two_workers_one_killed_in_the_middle_of_a_case(tmp_path, weights, monkeypatch, capsys) -> None:
    """Of the Ray job every line, mask and report is that of an ordinary call; the two go on where the other ended."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    draw(tmp_path / "in", 12)
    (tmp_path / "in" / "p007.png").write_bytes(b"no picture")
    (tmp_path / "list.txt").write_text("".join(f"in/p{number:03d}.png\n" for number in range(12)))
    bundle = tmp_path / "bundles" / BUNDLE.name
    shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("models"))
    config = bundle / "configs" / "inference.yaml"
    mark = tmp_path / "killed"
    dies = DIES_ONCE.strip().format(mark=mark)
    config.write_text(config.read_text().replace("- _target_: Orientationd", dies, 1))
    listed = ["--datalist", str(tmp_path / "list.txt")]
    out = tmp_path / "ray"
    listed += ["--overlay", "severity"]  # which has a table of all cases
    assert main(words(listed, out, weights, "--ray", "--workers", "2", bundle=bundle)) == EXIT_SOME_NOT_DONE
    assert mark.exists(), "no worker was killed"
    said = capsys.readouterr()
    assert "2 workers of Ray" in said.out
    assert said.out.count("\ndone: ") == 11
    assert "11 of 12 cases done (11 done, 1 refused)" in said.out
    assert "raylet" not in said.out + said.err
    assert sorted(Path(line["input"]).name for line in lines(out)) == [f"p{number:03d}.png" for number in range(12)]
    assert not list(out.glob(".writing-*")), "what the killed one was writing is gone"

    plain = tmp_path / "plain"
    assert main(words(listed, plain, weights, bundle=bundle)) == EXIT_SOME_NOT_DONE
    here = [json.dumps(line).replace(str(plain), str(out)) for line in lines(plain)]
    assert sorted(here) == sorted(json.dumps(line) for line in lines(out))
    files = [path.relative_to(plain) for path in sorted(plain.rglob("*")) if path.is_file()]
    assert files == [path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file()]
    assert len(list(plain.glob("*/*_mask.png"))) == 11
    assert Path("severity.csv") in files
    for file in files:
        if file.name not in ("manifest.jsonl", "index.html"):
            assert (plain / file).read_bytes() == (out / file).read_bytes(), file
    (out / "in" / "p003_mask.png").unlink()
    capsys.readouterr()
    assert main(words(listed, out, weights, "--resume", bundle=bundle)) == EXIT_SOME_NOT_DONE
    assert "12 cases, 10 of them done by an earlier call" in capsys.readouterr().out


@pytest.fixture
def stand_in(monkeypatch) -> None:
    """``ray`` of this process alone: what is called remotely is called, and nobody is asked."""
    context = SimpleNamespace(get_actor_id=lambda: "actor")
    ray = SimpleNamespace(get=lambda value: value, get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)


class Near:
    """A foreman in this process, as a worker sees it."""

    def __init__(self) -> None:
        self.foreman = Foreman(Plan(b"", "", 1), 1, 1, 0)

    def __getattr__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(remote=getattr(self.foreman, name))


def plan(out: Path, weights: Path, change: Callable[[str], str] = str) -> Plan:
    asked = Asked(BUNDLE, out, "tiny_unet", (), {"checkpoint": str(weights), "flips": False, "scales": [1.0]})
    return Plan(pickle.dumps(asked), change(asked.recipe(asked.open())), 1)


def told(worker: Worker, item: dict, due: Outcome, number: int = 0):
    return pickle.loads(worker({"due": pickle.dumps((number, item, due))})["told"])


def test_a_case_that_ends_its_workers_again_and_again_has_failed(tmp_path, weights, stand_in) -> None:
    draw(tmp_path / "in", 1)
    near = Near()
    worker = Worker(plan(tmp_path / "out", weights), near)
    image = str(tmp_path / "in" / "p000.png")
    item, due = {"image": image, "case": "p000"}, Outcome(image, "interrupted", case="p000")
    for _ in range(TRIES - 1):
        assert near.foreman.begin(0)  # and never ends
    outcome, code = told(worker, item, due).answer
    assert (outcome.status, code, (tmp_path / "out" / "p000_mask.png").is_file()) == ("done", 0, True)
    for _ in range(TRIES):
        assert near.foreman.begin(0)
    outcome, code = told(worker, item, due).answer
    assert (outcome.status, code) == ("failed", 1)
    assert image in outcome.error
    assert "fewer --workers" in outcome.error
    news = near.foreman.more(0)
    assert (news.started, news.over, news.again) == (True, False, [0] * (2 * TRIES - 2))


def test_a_worker_with_another_bundle_or_none_stops_the_job(tmp_path, weights, stand_in) -> None:
    due = Outcome("x.png", "interrupted", case="x")
    other = Worker(plan(tmp_path, weights, lambda recipe: f"{recipe}0"), Near())
    fault = told(other, {"image": "x.png", "case": "x"}, due).fault
    assert isinstance(fault, ConfigError)
    assert "other configs, weights or another version" in str(fault)
    near = Near()
    for _ in range(TRIES):
        near.foreman.begin("actor")
    fault = told(Worker(plan(tmp_path, weights), near), {"image": "x.png", "case": "x"}, due).fault
    assert "before it had its model" in str(fault)


def test_a_job_that_breaks_off_says_what_is_not_done_and_goes_on_here(tmp_path, weights) -> None:
    draw(tmp_path / "in", 4)
    out = tmp_path / "out"
    options = {"network": "tiny_unet", "checkpoint": str(weights), "flips": False, "scales": [1.0]}

    def breaks_off(asked: Asked, due):
        item, line = due[2]
        path = out / f"{item['case']}_report.json"
        path.write_text("{}")
        (out / ".writing-killed").mkdir()
        yield replace(line, status="done", report=str(path)), 0
        raise ServerError("the Ray job broke off")

    with pytest.raises(ServerError):
        predict(BUNDLE, tmp_path / "in", out, elsewhere=breaks_off, **options)
    assert {name: each.status for name, each in read_outcomes(out).items()} == {
        str(tmp_path / "in" / f"p{number:03d}.png"): "done" if number == 2 else "interrupted" for number in range(4)
    }
    assert not (out / ".writing-killed").exists()
    left: list[str] = []

    def notes(asked: Asked, due):
        left.extend(item["case"] for item, _ in due)
        yield from ()

    predict(BUNDLE, tmp_path / "in", out, elsewhere=notes, resume=True, **options)
    assert left == ["p000", "p001", "p003"]


@pytest.mark.parametrize(
    ("job", "there", "cases", "shares"),
    [
        (RayJob(), Resources(8, 0, True), 100, (8, 1, 0)),
        (RayJob(workers=2), Resources(8, 0, True), 100, (2, 4, 0)),
        (RayJob(), Resources(8, 0, True), 3, (3, 2, 0)),
        (RayJob("auto", 20), Resources(8, 0, True), 100, (20, 1, 0)),
        (RayJob("auto"), Resources(64, 4, True), 100, (4, 1, 1)),
        (RayJob("auto", 6), Resources(64, 4, True), 100, (6, 1, 1 / 2)),
        (RayJob("auto", device="cpu"), Resources(64, 4, True), 100, (64, 1, 0)),
        (RayJob("auto"), Resources(0, 0, True), 100, (1, 1, 0)),
    ],
)
def test_what_each_worker_holds(job, there, cases, shares) -> None:
    assert job._shares(there, cases) == shares


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["IN", "--ray", "nowhere"], 2, "no address of a Ray cluster"),
        (["--ray", "IN"], 2, "give INPUT before --ray"),
        (["IN", "--ray", "127.0.0.1:1"], 21, "nothing answers there"),
        (["IN", "--ray", "ray://127.0.0.1:1"], 21, "nothing answers there"),
        (["IN", "--ray", "--workers", "0"], 2, "give 1 or more"),
        (["IN", "--workers", "2"], 2, "--workers is for --ray alone"),
        (["IN", "--ray", "--device", "cuda:1"], 2, "give cpu, or leave it out"),
        (["--dicomweb", "http://127.0.0.1:1", "--study", "1.2", "--ray"], 2, "does not go with --dicomweb"),
        (["IN", "--split", "all"], 2, "--split is for --datalist alone"),
        (["IN", "--datalist", "IN"], 2, "one of them"),
        ([], 2, "--datalist FILE"),
        (["--datalist", "IN/gone.txt"], 10, "there is no such list"),
    ],
)
def test_what_cannot_be(tmp_path, weights, capsys, monkeypatch, more, code, said) -> None:
    monkeypatch.setattr(pipelines.distributed.cluster, "find_spec", lambda name: True)
    (tmp_path / "in").mkdir()
    given = [word.replace("IN", str(tmp_path / "in")) for word in more]
    assert main(words(given, tmp_path / "out", weights)) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last


def test_without_ray_it_says_what_to_install(tmp_path, weights, capsys, monkeypatch) -> None:
    monkeypatch.setattr(pipelines.distributed.cluster, "find_spec", lambda name: None)
    assert main(words([str(tmp_path)], tmp_path / "out", weights, "--ray")) == 2
    assert 'pip install "imaging-bundles[ray]"' in capsys.readouterr().err


def test_a_datalist_is_predicted_here_as_a_folder_is(tmp_path, weights, capsys) -> None:
    draw(tmp_path / "in", 3)
    items = [{"image": f"in/p00{number}.png", "case": f"case-{number}"} for number in range(3)]
    gone = {"image": "in/gone.png", "case": "gone"}
    content = {"training": items[:1], "validation": items[1:2], "test": [items[2], gone]}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    source = ["--datalist", str(tmp_path / "datalist.json")]
    assert main(words(source, tmp_path / "out", weights)) == EXIT_SOME_NOT_DONE
    found = {line["input"]: (line["status"], line["case"]) for line in lines(tmp_path / "out")}
    assert found == {
        str(tmp_path / "in" / "p002.png"): ("done", "case-2"),
        str(tmp_path / "in" / "gone.png"): ("refused", None),
    }
    assert (tmp_path / "out" / "case-2_mask.png").is_file()
    capsys.readouterr()
    assert main(words(source, tmp_path / "out", weights, "--split", "all", "--resume")) == EXIT_SOME_NOT_DONE
    assert "4 cases, 1 of them done by an earlier call" in capsys.readouterr().out
