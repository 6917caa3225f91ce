"""Reads a merged config without running it: its items, references, expressions and components."""

from __future__ import annotations

import ast
import builtins
import inspect
import pydoc
import re
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import monai
import numpy as np
import torch
from monai.bundle import ComponentLocator, ConfigComponent, ConfigExpression, ConfigParser, ReferenceResolver

from pipelines.auditing.contents import at, has

MACRO_OF_A_FILE = re.compile(r"%.*\.(json|ya?ml)\b")
# the hooks of MONAI's instantiation, which are no arguments of the component
_HOOKS = {"_target_", "_disabled_", "_requires_", "_desc_", "_mode_"}


def items(config: Any, id: str = "") -> Iterator[tuple[str, Any]]:
    """(id, value) of every item, nested ones too, with ids as MONAI writes them (``train#handlers#0``)."""
    yield id, config
    pairs = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in pairs:
        yield from items(value, f"{id}#{key}" if id else str(key))


def references(value: Any) -> set[str]:
    """The ids that a value refers to by ``@``, wherever in it."""
    texts = [each for _, each in items(value) if isinstance(each, str)]
    return {id.replace("::", "#") for text in texts for id in ReferenceResolver.match_refs_pattern(text)}


def reach(config: dict[str, Any], *ids: str) -> set[str]:
    """The top-level ids that these ids depend on, directly or not; themselves too."""
    found: set[str] = set()
    waiting = [id.split("#")[0] if id not in config else id for id in ids]
    waiting += [each for id in ids for each in references(at(config, id))]
    while waiting:
        id = waiting.pop()
        if id in found:
            continue
        found.add(id)
        if id.split("#")[0] in config:
            waiting += references(at(config, id))
    return {id for id in found if "#" not in id}


def broken_references(config: dict[str, Any]) -> list[str]:
    """References to what does not exist, and macros (``%``) that cannot be resolved."""
    parser = ConfigParser(config)
    try:
        parser.resolve_macro_and_relative_ids()
    except (KeyError, ValueError, FileNotFoundError) as error:
        return [f"macro: {error}"]
    whole = parser.get()
    return [
        f"{id} refers to @{reference}"
        for id, value in items(whole)
        if isinstance(value, str)
        for reference in sorted(references(value))
        if not has(whole, reference)
    ]


def components(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(id, config) of every ``_target_``."""
    return ((id, value) for id, value in items(config) if ConfigComponent.is_instantiable(value))


@cache
def _locator() -> ComponentLocator:
    return ComponentLocator()


def target(component: dict[str, Any]) -> Any:
    """The class or function a component names; ImportError if there is none, ValueError if there are two."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="there are more than 1 component")
        try:
            path = ConfigComponent(component, locator=_locator()).resolve_module_name()
        except UserWarning as warning:
            raise ValueError(str(warning)) from warning
    found = pydoc.locate(path)
    if found is None:
        raise ImportError(f"there is no {path}")
    return found


def broken_components(config: dict[str, Any]) -> list[str]:
    """Components that cannot be imported, or that do not take the arguments they are given."""
    problems = []
    for id, component in components(config):
        try:
            found = target(component)
            arguments = {key: value for key, value in component.items() if key not in _HOOKS}
            signature = inspect.signature(found)
            later = component.get("_mode_") == "callable"  # whoever calls it gives the rest
            (signature.bind_partial if later else signature.bind)(**arguments)
        except (ImportError, ValueError, TypeError, pydoc.ErrorDuringImport) as error:
            problems.append(f"{id} ({component['_target_']}): {error}")
    return problems


def broken_expressions(config: dict[str, Any]) -> list[str]:
    """``$`` expressions that are no Python, use a name that nothing imports, or an attribute that is not there."""
    names: dict[str, Any] = {**vars(builtins), "monai": monai, "torch": torch, "np": np, "numpy": np}
    problems = []
    for line in config.get("imports", []):
        exec(line.removeprefix("$"), names)  # our own configs
    for id, value in items(config):
        if not ConfigExpression.is_expression(value) or ConfigExpression.is_import_statement(value):
            continue
        try:
            tree = ast.parse(re.sub(r"@[\w#:]+", "_reference", value.removeprefix("$")).strip(), mode="eval")
        except SyntaxError as error:
            problems.append(f"{id}: {value} is no expression ({error.msg})")
            continue
        problems += [f"{id}: {problem} in {value}" for problem in _unknown(tree, names)]
    return problems


def _unknown(tree: ast.AST, names: dict[str, Any]) -> list[str]:
    nodes = list(ast.walk(tree))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)} | {"_reference"}
    problems = [
        f"{node.id} is not imported"
        for node in nodes
        if isinstance(node, ast.Name) and node.id not in bound and node.id not in names
    ]
    for node in nodes:
        chain, root = [], node
        while isinstance(root, ast.Attribute):
            chain.insert(0, root.attr)
            root = root.value
        if chain and isinstance(root, ast.Name) and root.id in names and root.id not in bound:
            found = names[root.id]
            for attribute in chain:
                if not inspect.ismodule(found):
                    break
                if not hasattr(found, attribute):
                    problems.append(f"{root.id}.{'.'.join(chain)} does not exist")
                    break
                found = getattr(found, attribute)
    return problems
