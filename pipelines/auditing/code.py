"""Whatever in a bundle is code: expressions, ``_target_``, logging configs, and modules of its own."""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterator

from pipelines.auditing.allowed import Allowed, is_known
from pipelines.auditing.contents import Contents, at, has, text_of
from pipelines.auditing.documents import Document, items
from pipelines.auditing.expressions import Scope, faults_of, imported
from pipelines.auditing.findings import Finding
from pipelines.auditing.references import macro, references

_COMPILED = (".so", ".pyd", ".dll", ".dylib", ".exe", ".pyc", ".pyo", ".jar", ".whl", ".egg")
# of a bundle's own modules: what starts programs, runs text, unpickles or fetches
_DANGERS = frozenset({
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__", "cloudpickle.load",
    "cloudpickle.loads", "code.interact", "ctypes", "dill.load", "dill.loads", "ftplib", "http.client",
    "importlib.import_module", "joblib.load", "marshal.load", "marshal.loads", "os.execl", "os.execle", "os.execlp",
    "os.execv", "os.execve", "os.execvp", "os.fork", "os.popen", "os.posix_spawn", "os.spawnl", "os.spawnv",
    "os.startfile", "os.system", "pickle.load", "pickle.loads", "pickle.Unpickler", "pty.spawn", "requests",
    "runpy", "shelve.open", "socket", "subprocess", "torch.hub.load", "torch.load", "torch.utils.cpp_extension",
    "urllib.request", "yaml.load", "yaml.unsafe_load",
})  # fmt: skip
_BUILTIN = {"eval", "exec", "compile", "__import__"}
_LOGGING = {
    "FileHandler", "Formatter", "NullHandler", "StreamHandler", "handlers.RotatingFileHandler",
    "handlers.TimedRotatingFileHandler", "logging.FileHandler", "logging.Formatter", "logging.NullHandler",
    "logging.StreamHandler", "logging.handlers.RotatingFileHandler", "logging.handlers.TimedRotatingFileHandler",
}  # fmt: skip


def allowed_in(contents: Contents, more: frozenset[str] = frozenset()) -> Allowed:
    """The allow-list for a bundle: its own modules are read, and so they may be named."""
    own = {name.split("/")[0].removesuffix(".py") for name in contents.files if name.endswith(".py")}
    return Allowed(more, frozenset(each for each in own if not is_known(each)))


def check_code(contents: Contents, allowed: Allowed) -> Iterator[Finding]:
    """All of these."""
    scope = _scope(contents)
    for document in [*contents.documents.values(), contents.metadata]:
        yield from _check_document(document, contents, scope, allowed)
    for name, path in contents.files.items():
        lower = name.lower()
        if lower.endswith(_COMPILED) or ".so." in lower:
            yield Finding("binary-code", name, 0, "compiled code, which nobody can read")
        elif lower.endswith((".conf", ".ini")) and name.startswith("configs/"):
            yield from _check_logging(name, text_of(path))
        elif lower.endswith(".py"):
            yield from _check_module(name, text_of(path))


def _scope(contents: Contents) -> Scope:
    names: dict[str, set[str]] = {}
    by_id: dict[str, str] = {}
    for document in contents.documents.values():
        for id, value in items(document.data):
            if isinstance(value, str) and value.startswith("$"):
                bound = imported(value) or {}
                for name, path in bound.items():
                    names.setdefault(name, set()).add(path)
                    by_id[id] = path
    return Scope({name: frozenset(paths) for name, paths in names.items()}, by_id.get)


def _check_document(document: Document, contents: Contents, scope: Scope, allowed: Allowed) -> Iterator[Finding]:
    for id, value in items(document.data):
        line = document.line(id)
        if isinstance(value, str) and value.startswith("$"):
            for rule, what in faults_of(value, scope, allowed):
                yield Finding(rule, document.file, line, f"{id}: {what}")
        if id.rpartition("#")[2] == "_target_":
            for rule, what in _target(value, contents, allowed):
                yield Finding(rule, document.file, line, f"{id}: {what}")


def _target(value: object, contents: Contents, allowed: Allowed, depth: int = 0) -> Iterator[tuple[str, str]]:
    if not isinstance(value, str):
        yield "target-computed", f"{value!r} is no name"
        return
    named = macro(value) or (references(value)[0] if value.startswith("@") and references(value) else None)
    if named is not None and depth < 10:
        there = [doc.data for doc in contents.documents.values() if has(doc.data, named)]
        if not there:
            yield "target-computed", f"{value} stands for nothing that is written"
        for data in there:
            yield from _target(at(data, named), contents, allowed, depth + 1)
    elif value[:1] in "$@%" or not all(part.isidentifier() for part in value.split(".")):
        yield "target-computed", f"{value} is no name"
    else:
        fault = allowed.fault(value.split("."))
        if fault is not None:
            yield "target-outside", fault


def _check_logging(file: str, text: str) -> Iterator[Finding]:
    """``logging.config.fileConfig`` evaluates ``class``, ``args`` and ``kwargs``."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        yield Finding("logging-config", file, 0, f"it cannot be read ({str(error).splitlines()[0]})")
        return
    lines = text.splitlines()
    for section in parser.sections():
        for key, value in parser.items(section):
            fault = ""
            if key == "class" and value.strip() not in _LOGGING:
                fault = f"the class {value} is none of logging's plain ones"
            elif key in ("args", "kwargs") and not _literal(value):
                fault = f"{key} = {value} is no literal"
            if fault:
                said = [number for number, each in enumerate(lines, 1) if each.replace(" ", "").startswith(f"{key}=")]
                at_line = next((number for number in said if value.strip() in lines[number - 1]), 0)
                yield Finding("logging-config", file, at_line, f"[{section}] {fault}")


def _literal(value: str) -> bool:
    try:
        tree = ast.parse(value.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    plain = (ast.Expression, ast.Tuple, ast.List, ast.Dict, ast.Constant, ast.Load, ast.UnaryOp, ast.USub)
    streams = {"sys.stdout", "sys.stderr"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in streams:
            continue
        if isinstance(node, ast.Name) and node.id == "sys":
            continue
        if not isinstance(node, plain):
            return False
    return True


def _check_module(file: str, text: str) -> Iterator[Finding]:
    yield Finding("own-code", file, 0, "code of the bundle's own, which runs when the bundle is opened")
    top = file.split("/")[0].removesuffix(".py")
    if is_known(top):
        yield Finding("own-code-danger", file, 0, f"it takes the place of the module {top}")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield Finding("own-code-danger", file, 0, "it is no Python that can be read")
        return
    names = {name: f"builtins.{name}" for name in _BUILTIN}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                each.asname or each.name.split(".")[0]: each.name if each.asname else each.name.split(".")[0]
                for each in node.names
            }
            reached = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
            reached = [f"{node.module}.{each.name}" for each in node.names]
        else:
            continue
        yield from (_own(file, node.lineno, path) for path in reached if _dangerous(path))
    safe = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and _tensors_alone(node)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and id(node) not in safe:
            root, *rest = ast.unparse(node).split(".")
            path = ".".join([names.get(root, ""), *rest])
            imports_said = isinstance(node, ast.Name) and not path.startswith("builtins.")
            if not imports_said and _dangerous(path) and isinstance(node.ctx, ast.Load):
                yield _own(file, node.lineno, path)


def _dangerous(path: str) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:count]) in _DANGERS for count in range(1, len(parts) + 1))


def _tensors_alone(call: ast.Call) -> bool:
    said = {each.arg: each.value for each in call.keywords}
    only = said.get("weights_only")
    return isinstance(only, ast.Constant) and only.value is True


def _own(file: str, line: int, path: str) -> Finding:
    return Finding("own-code-danger", file, line, f"it uses {path.removeprefix('builtins.')}")
