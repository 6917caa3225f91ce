"""The house stands: imports run one way, modules stay small, and none is named after nothing."""

from __future__ import annotations

import ast
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from pipelines.tasks.registry import DATASETS

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "pipelines"
MODULES = sorted(PACKAGE.rglob("*.py"))
# From the ground up. A room may import what lies below it, and nothing of its own floor but itself.
FLOORS = [
    {"errors"},
    {"card_sections", "files"},
    {"fetched"},
    {"listed_hashes", "said_last", "weights"},
    {"auditing"},
    {"browser", "bundle", "key_figures", "lean", "networks", "predicted", "readers", "sigterm", "warm"},
    {"model_pt", "preparation"},
    {"transforms", "inferers", "runtimes"},
    {"datasets", "evaluation"},
    {"handlers", "tracking"},
    {"dicom_writing", "generation", "tasks"},
    {"comparison", "viewer"},
    {"catalogue", "demo", "prediction", "registered"},
    {"cross_validation", "dicom_node", "dicomweb", "distributed", "promotion", "starting", "tuning"},
    {"loading"},
    {"exporting", "labelling", "model_card", "packaging", "synthetic_audit"},
    {"compression"},
    {"commands"},
    {"__main__"},
]
LONGEST = 400
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "base", "core", "tools"}


def dotted(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def imports(path: Path) -> set[str]:
    """The package's modules that a module imports, at its top or within a function."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    if path == PACKAGE / "__init__.py":  # what only a type checker reads there is not imported
        tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE" in ast.unparse(node.test))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the whole name, not a relative import"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in NAMES else str(node.module) for name in whole}
    return {name for name in found if name in NAMES}


def room(module: str) -> str:
    """``pipelines.readers.nifti`` is in ``readers``; the package itself in no room."""
    return module.split(".")[1] if "." in module else ""


def floor(name: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


def test_every_room_has_its_floor() -> None:
    rooms = {room(name) for name in NAMES} - {""}
    assert rooms == set().union(*FLOORS), "give a new room its floor in FLOORS, and take away what is gone"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_run_one_way(path: Path) -> None:
    here = room(dotted(path))
    if not here:
        assert imports(path) == set(), "whoever imports one room would import them all"
        return
    for module in imports(path):
        there = room(module)
        assert there == here or floor(there) < floor(here), f"{here} imports {module}"


def test_no_module_imports_itself_through_others() -> None:
    graph = {dotted(path): imports(path) - {dotted(path)} for path in MODULES}
    for name, needed in graph.items():  # importing a module runs its packages' __init__ first, and those import it
        graph[name] = {each for each in needed if not name.startswith(f"{each}.") and not each.startswith(f"{name}.")}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_package_does_not_know_the_tests_or_the_benchmarks() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"tests", "benchmarks", "bundles", "pytest"}, path


@pytest.mark.parametrize("folder", ["pipelines", "tests", "benchmarks", "bundles"])
def test_modules_are_small_and_named_after_what_they_hold(folder: str) -> None:
    for path in (PROJECT / folder).rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= LONGEST, f"{path} has {lines} lines"
    named = {path.stem.lower() for path in (PROJECT / folder).rglob("*") if path.suffix == ".py" or path.is_dir()}
    assert named & EMPTY_NAMES == set()


def test_tests_mirror_the_package() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {name for name in rooms if not list((PROJECT / "tests" / name).glob("test_*.py"))} == set()


def test_no_task_knows_another() -> None:
    for path in (PACKAGE / "tasks").rglob("*.py"):
        own = dotted(path).split(".")[2:3]
        foreign = {
            each for each in imports(path) if each.startswith("pipelines.tasks.") and each.split(".")[2:3] != own
        }
        assert foreign == set(), path


# All but these know no organ, no disease and no dataset: neither by an identifier nor in a text, docstrings apart.
# `networks` are called after what they were drawn for, `readers` know the kinds of images, the demo shows one task.
SPECIAL = ("demo", "networks", "readers", "tasks")
OF_TASKS = re.compile(
    r"lung|lesion|pneumon|covid|chest|(?<![a-z])skin|naev|melanom|dermosc|isic|kermany|mosmed|thorax|thorac|infect",
    re.IGNORECASE,
)


def words(path: Path) -> set[str]:
    """Identifiers and texts of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = set()
    found = {path.stem}
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            docstrings.add(id(body[0].value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found.add(node.value)
        named = (getattr(node, key, None) for key in ("id", "attr", "arg", "name", "module", "asname"))
        found |= {each for each in named if isinstance(each, str)}
    return found


@pytest.mark.parametrize("path", [each for each in MODULES if room(dotted(each)) not in SPECIAL], ids=dotted)
def test_general_rooms_know_no_organ(path: Path) -> None:
    assert {word for word in words(path) if OF_TASKS.search(word)} == set()


def reached(modules: set[str]) -> set[str]:
    """Modules, all that they import, and the packages that these lie in."""
    found: set[str] = set()
    waiting = set(modules)
    while waiting:
        name = waiting.pop()
        found.add(name)
        path = PACKAGE.parent.joinpath(*name.split("."))
        parents = {".".join(name.split(".")[:k]) for k in range(1, name.count(".") + 1)}
        needed = imports(path / "__init__.py" if path.is_dir() else path.with_suffix(".py")) | parents
        waiting |= needed - found
    return found


# What prepares data and draws phantoms starts at once: these, and whatever they import.
LIGHT = {name for name in NAMES if room(name) in ("preparation", "readers")} | {
    f"pipelines.tasks.{dataset.task}.{function.split(':')[0]}"
    for dataset in DATASETS.values()
    for function in (dataset.prepare, dataset.phantom)
    if function is not None
}


@pytest.mark.parametrize("name", sorted(reached(LIGHT | {"pipelines.tasks.registry"})))
def test_reading_and_preparing_import_no_torch(name: str) -> None:
    heavy = {"torch", "monai", "ignite", "mlflow", "torchvision"}
    path = PACKAGE.parent.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.split(".")[0] for name in names} & heavy


def rooms_table() -> str:
    """The rooms from the top to the ground, with the first line of what each says of itself: each may import what
    stands in a row below its own."""
    lines = ["| room | what it is |", "|---|---|"]
    for rooms in reversed(FLOORS):
        for number, name in enumerate(sorted(rooms)):
            path = PACKAGE / name / "__init__.py" if (PACKAGE / name).is_dir() else PACKAGE / f"{name}.py"
            said = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
            first = " ".join(said.split()).split(". ")[0].rstrip(".").replace("|", "\\|")
            shown = f"`{name}/`" if (PACKAGE / name).is_dir() else f"`{name}`"
            lines.append(f"| {'' if number else '**'}{shown}{'' if number else '**'} | {first} |")
    return "\n".join(lines)


def test_the_picture_of_the_rooms_is_true() -> None:
    text = (PROJECT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    shown = text.split("<!-- rooms -->\n")[1].split("\n<!-- end of rooms -->")[0]
    assert shown == rooms_table(), "put there what `python tests/test_layers.py` prints"


if __name__ == "__main__":
    sys.stdout.write(f"{rooms_table()}\n")
