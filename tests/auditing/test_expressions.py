"""Expressions: ways round the allow-list are found, and what configs really say is not."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigParser

from pipelines.auditing.allowed import Allowed
from pipelines.auditing.documents import items
from pipelines.auditing.expressions import Scope, faults_of
from pipelines.auditing.references import references

NAMES = {
    "os": "os", "glob": "glob", "json": "json", "dist": "torch.distributed", "Path": "pathlib.Path", "sys": "sys",
    "scripts": "scripts", "functools": "functools", "operator": "operator", "Image": "PIL.Image",
    "bundle": "pipelines.bundle", "files": "pipelines.files",
}  # fmt: skip
SCOPE = Scope({name: frozenset([path]) for name, path in NAMES.items()}, {"held": "os", "imports#0": "sys"}.get)
ALLOWED = Allowed(own=frozenset(["scripts"]))


def rules(text: str) -> set[str]:
    return {rule for rule, _ in faults_of(text, SCOPE, ALLOWED)}


@pytest.mark.parametrize(
    "text",
    [
        "$os.system('id')",
        "$os.path.os.system('id')",
        "$@held.execv('/bin/sh', [])",
        "$@imports#0.modules['os'].popen('id')",
        "$os",
        "$[os][0].popen('id')",
        "$(lambda m: m.system('id'))(glob)",
        "$getattr(os, 'sys' + 'tem')('id')",
        "$getattr(os, 'system')('id')",
        "$setattr(os, 'sep', 'x')",
        "$open('/etc/passwd').read()",
        "$Path('a').write_text('x')",
        "$Path('a').open('w')",
        "$torch.load(@held)",
        "$torch.load('a.pt', weights_only=False)",
        "$torch.hub.load('a/b', 'c')",
        "$torch.utils.cpp_extension.load('a', 'b')",
        "$torch.serialization.pickle.loads(b'')",
        "$np.load('a.npy', allow_pickle=True)",
        "$numpy.ctypeslib.load_library('a', 'b')",
        "$monai.utils.misc.run_cmd(['id'])",
        "$monai.bundle.run(config_file='other.json')",
        "$monai.utils.optional_import('os')",
        "$functools.partial(eval, '1')()",
        "$operator.methodcaller('system', 'id')",
        "$list(map(exec, ['1']))",
        "$[f for f in [compile]]",
        "$scripts.os.popen('id')",
        "$os.environ.update(LD_PRELOAD='a.so')",
        "$files.write_file('a', 'b')",
        "$bundle.copy_bundle('a', 'b')",
        "$bundle.shutil.rmtree('a')",
        "$@held.frame.eval('1')",
        "$(globals())",
    ],
)
def test_what_is_outside_the_allow_list_is_found(text: str) -> None:
    assert "expression-danger" in rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "$().__class__",
        "$(1).__class__.__mro__[1].__subclasses__()",
        "$'{0.__class__}'.format(1)",
        "$getattr(1, '__class__')",
        "$__import__('os')",
        "$__builtins__['eval']",
        "$(x for x in [1]).gi_frame.f_globals",
        "$[x := (1).__class__, x]",
    ],
)
def test_pythons_inside_is_found(text: str) -> None:
    assert "dunder-access" in rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "$from os import system",
        "$import subprocess as glob",
        "$import importlib",
        "$from pipelines.commands import package",
        "$from monai.bundle import run",
        "$from . import other",
    ],
)
def test_imports_outside_are_found(text: str) -> None:
    assert rules(text) == {"import-outside"}


@pytest.mark.parametrize(
    "text", ["$", "$1 +", "$x = 1", "$import os; os.system('id')", "$" + "(" * 300, "$" + "1+" * 9999 + "1"]
)
def test_what_is_no_expression_is_found(text: str) -> None:
    assert "expression-syntax" in rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "$[{'image': i, 'label': l} for i, l in zip(@images[:-9], @labels[:-9])]",
        "$sorted(glob.glob(os.path.join(@dir, '*.nii.gz')))",
        "$lambda engine: engine.state.metrics['val_mean_dice']",
        "$int(os.environ['LOCAL_RANK'])",
        "$not @main_process or not sys.stderr.isatty()",
        "$dist.is_initialized() or dist.init_process_group(backend='nccl')",
        "$setattr(torch.backends.cudnn, 'benchmark', True)",
        "$torch.load(@path, weights_only=True)",
        "$@network.load_state_dict(@state)",
        "$@network.eval()",
        "$np.load(@path)",
        "$Image.open(@path)",
        "$scripts.network.Net(@channels)",
        "$[x for y in @list for x in y if x]",
        "$f'cuda:{dist.get_rank()}'",
        "$@train#handlers[: -2 if dist.get_rank() > 0 else None]",
        "$monai.handlers.from_engine(['pred', 'label'])",
        "$(lambda x, *more, y=1, **rest: [x, more, y, rest])(1)",
        "$import torch.distributed as dist",
        "$from scripts import network",
    ],
)
def test_what_configs_say_is_not(text: str) -> None:
    assert rules(text) == set()


def test_a_module_that_is_allowed_is_not() -> None:
    text = "$timm.create_model('a')"
    scope = Scope({"timm": frozenset(["timm"])}, lambda _: None)
    assert {rule for rule, _ in faults_of(text, scope, Allowed())} == {"expression-danger"}
    assert list(faults_of(text, scope, Allowed(more=frozenset(["timm"])))) == []


def test_references_are_monais() -> None:
    """Relative ones too, and only in expressions and alone."""
    config = {"a": {"b": ["@##c", "$@#0 + @d", "text with @a", "@a#b#1", "$'@d' if @a::b else 0"], "c": 1}, "d": 2}
    parser = ConfigParser(config)
    parser.resolve_macro_and_relative_ids()
    resolved = dict(items(parser.get()))
    for id, value in items(config):
        if isinstance(value, str):
            told = parser.ref_resolver.match_refs_pattern(resolved[id])
            assert set(references(value, id)) == {each.replace("::", "#") for each in told}, id
