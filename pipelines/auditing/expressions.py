"""What an expression of a config would do, read by ``ast`` and never evaluated."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pipelines.auditing.allowed import BUILTINS, METHODS, Allowed
from pipelines.auditing.references import REFERENCE

GIVEN: dict[str, str] = {"monai": "monai", "torch": "torch", "np": "numpy", "numpy": "numpy"}  # MONAI's own
_LONGEST = 20_000
_DUNDERS = {"__version__", "__name__", "__len__"}
_FRAMES = {"ag_frame", "cr_frame", "f_back", "f_builtins", "f_globals", "f_locals", "gi_frame", "tb_frame", "tb_next"}
_BY_NAME = {"getattr", "setattr", "delattr", "hasattr"}
_REACHING = {"__import__", "breakpoint", "compile", "eval", "exec", "globals", "input", "locals", "open", "vars", "dir"}


@dataclass(frozen=True)
class Scope:
    """What names and references in an expression stand for.

    Attributes:
        names: what configs import: name -> dotted names, several where configs differ.
        meant: of an id that an import statement is the value of, the dotted name; else None.
    """

    names: Mapping[str, frozenset[str]]
    meant: Callable[[str], str | None]


def imported(text: str) -> dict[str, str] | None:
    """Name -> dotted name of an import statement (``$import os``); None for what is none."""
    try:
        tree = ast.parse(text.removeprefix("$").strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not tree.body or not isinstance(tree.body[0], (ast.Import, ast.ImportFrom)):
        return None
    found: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            # MONAI binds `import a.b` to the name "a.b", which no expression can say
            found |= {each.asname or each.name: each.name for each in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            module = "." * statement.level + (statement.module or "")
            found |= {each.asname or each.name: f"{module}.{each.name}" for each in statement.names}
    return found


def faults_of(text: str, scope: Scope, allowed: Allowed) -> Iterator[tuple[str, str]]:
    """(rule, what is wrong) of an expression with its ``$``, or of an import statement."""
    bound = imported(text)
    if bound is not None:
        if len(ast.parse(text.removeprefix("$").strip()).body) > 1:
            yield "expression-syntax", "more than one statement"
        for path in bound.values():
            fault = allowed.import_fault(path)
            if fault is not None:
                yield "import-outside", fault
        return
    ids: list[str] = []

    def replace(match: object) -> str:
        ids.append(match[0][1:].replace("::", "#"))  # type: ignore[index]
        return f"_id_{len(ids) - 1}_"

    body = REFERENCE.sub(replace, text.removeprefix("$")).strip()
    if len(body) > _LONGEST:
        yield "expression-syntax", f"longer than {_LONGEST:,} letters"
        return
    try:
        tree = ast.parse(body, mode="eval")
        visitor = _Visitor(scope, allowed, ids)
        visitor.visit(tree)
    except SyntaxError as error:
        yield "expression-syntax", f"no Python expression ({error.msg})"
    except (ValueError, RecursionError, MemoryError):
        yield "expression-syntax", "no expression that can be read"
    else:
        yield from dict.fromkeys(visitor.faults)


class _Visitor(ast.NodeVisitor):
    def __init__(self, scope: Scope, allowed: Allowed, ids: list[str]) -> None:
        self.faults: list[tuple[str, str]] = []
        self._scope, self._allowed, self._ids = scope, allowed, ids
        self._bound: list[set[str]] = [set()]

    def visit_Lambda(self, node: ast.Lambda) -> None:
        given = node.args
        for default in [*given.defaults, *filter(None, given.kw_defaults)]:
            self.visit(default)
        extra = [each for each in (given.vararg, given.kwarg) if each is not None]
        self._within({each.arg for each in [*given.posonlyargs, *given.args, *given.kwonlyargs, *extra]}, [node.body])

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        targets = [name for each in node.generators for name in ast.walk(each.target) if isinstance(name, ast.Name)]
        parts: list[ast.AST] = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for each in node.generators:
            parts += [each.iter, *each.ifs]
        self._within({name.id for name in targets}, parts)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._bound[-1].add(node.target.id)

    def visit_Name(self, node: ast.Name) -> None:
        self._chain(node, [])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        root: ast.expr = node
        names: list[str] = []
        while isinstance(root, ast.Attribute):
            names.insert(0, root.attr)
            root = root.value
        self._inside(names)
        if isinstance(root, ast.Name):
            self._chain(root, names)
        else:
            self._methods(names)
            self.visit(root)

    def visit_Call(self, node: ast.Call) -> None:
        arguments: list[ast.AST] = [*node.args, *(each.value for each in node.keywords)]
        by_name = node.func.id if isinstance(node.func, ast.Name) and node.func.id in _BY_NAME else None
        if by_name is not None:
            self._attribute_by_name(by_name, node)
        elif isinstance(node.func, ast.Attribute) and self._safe_load(node):
            pass
        else:
            self.visit(node.func)
        if isinstance(node.func, ast.Attribute):
            if node.func.attr == "eval" and arguments:
                self._found("expression-danger", "eval of a text runs it")
            written = node.func.value.value if isinstance(node.func.value, ast.Constant) else ""
            if node.func.attr in ("format", "format_map") and "__" in str(written):
                self._found("dunder-access", f"{written!r} reaches into an object")
        for each in arguments:
            self.visit(each)

    def _attribute_by_name(self, how: str, node: ast.Call) -> None:
        name = node.args[1] if len(node.args) > 1 else None
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            self._found("expression-danger", f"{how} of a name that is known only when it runs")
            return
        whole = ast.Attribute(value=node.args[0], attr=name.value, ctx=ast.Load())
        if how in ("setattr", "delattr") and not ast.unparse(node.args[0]).startswith(("torch.backends.", "_id_")):
            self._found("expression-danger", f"{how} changes {ast.unparse(node.args[0])}")
        self.visit(whole)

    def _safe_load(self, node: ast.Call) -> bool:
        """Whether it is ``torch.load`` of tensors alone, or ``numpy.load`` without pickles; then nothing is found."""
        said = {each.arg: each.value for each in node.keywords}
        called = ast.unparse(node.func)
        if called == "torch.load":
            only = said.get("weights_only")
            return isinstance(only, ast.Constant) and only.value is True
        if called in ("np.load", "numpy.load") and "allow_pickle" in said:
            given = said["allow_pickle"]
            if not (isinstance(given, ast.Constant) and given.value is False):
                self._found("expression-danger", f"{called} unpickles what is in the file")
        return False

    def _chain(self, root: ast.Name, names: list[str]) -> None:
        if any(root.id in each for each in self._bound):
            self._methods(names)
            return
        if root.id.startswith("_id_"):
            meant = self._scope.meant(self._ids[int(root.id[4:-1])])
            if meant is None:
                self._methods(names)
            else:
                self._path([*meant.split("."), *names])
            return
        paths = set(self._scope.names.get(root.id, ())) or ({GIVEN[root.id]} if root.id in GIVEN else set())
        for path in paths:
            self._path([*path.split("."), *names])
        if paths:
            return
        if root.id.startswith("__"):
            self._found("dunder-access", f"{root.id} is Python's inside")
        elif root.id in _REACHING or root.id in _BY_NAME:
            self._found("expression-danger", f"{root.id} runs text, opens files or reaches any name")
        elif root.id not in BUILTINS:
            self._found("expression-name", f"{root.id} is imported nowhere")
        else:
            self._methods(names)

    def _path(self, parts: list[str]) -> None:
        fault = self._allowed.fault(parts)
        if fault is not None:
            self._found("expression-danger", fault)

    def _inside(self, names: list[str]) -> None:
        for name in names:
            if (name.startswith("__") and name not in _DUNDERS) or name in _FRAMES:
                self._found("dunder-access", f"{name} is Python's inside")

    def _methods(self, names: list[str]) -> None:
        for name in names:
            if name in METHODS:
                self._found("expression-danger", f"{name}() changes files or starts programs")

    def _within(self, names: set[str], parts: list[ast.AST]) -> None:
        self._bound.append(names)
        for each in parts:
            self.visit(each)
        self._bound.pop()

    def _found(self, rule: str, what: str) -> None:
        self.faults.append((rule, what))
