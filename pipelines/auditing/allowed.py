"""What configs may name: the modules whose classes and functions build and run a network, and what of them is left out.

An allow-list: what is not in it is found, however harmless it is. Left out within it is whatever starts a program, runs
text as code, unpickles, fetches and runs, or hands out Python's own modules.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

MODULES = frozenset({
    "collections", "copy", "cucim", "datetime", "decimal", "einops", "fractions", "functools", "generative", "glob",
    "ignite", "itertools", "json", "logging", "math", "monai", "nibabel", "np", "numpy", "operator", "os", "pandas",
    "pathlib", "PIL", "pipelines", "pydicom", "random", "re", "scipy", "SimpleITK", "skimage", "sklearn", "statistics",
    "string", "sys", "tempfile", "time", "torch", "torchmetrics", "torchvision", "typing", "uuid", "warnings",
})  # fmt: skip
# of these nothing but what is named here
ONLY: dict[str, frozenset[str]] = {
    "os": frozenset({
        "path", "environ", "getenv", "sep", "linesep", "pathsep", "name", "curdir", "listdir", "scandir", "walk",
        "cpu_count", "getcwd", "getpid", "fspath", "makedirs",
    }),
    "sys": frozenset({
        "argv", "byteorder", "float_info", "maxsize", "platform", "stderr", "stdout", "version", "version_info",
    }),
    "tempfile": frozenset({"gettempdir", "mkdtemp", "TemporaryDirectory"}),
    "pipelines": frozenset({
        "bundle", "compression", "datasets", "dicom_writing", "evaluation", "exporting", "generation", "handlers",
        "inferers", "networks", "runtimes", "tasks", "tracking", "transforms", "weights",
    }),
}  # fmt: skip
# dotted names that are left out, and all below them
DENIED = frozenset({
    "functools.singledispatch", "glob.os", "logging.config", "logging.handlers", "monai.apps.auto3dseg",
    "monai.apps.nnunet", "monai.apps.utils", "monai.auto3dseg", "monai.bundle", "monai.config", "monai.fl",
    "monai.utils.misc.run_cmd", "monai.utils.module", "monai.utils.state_cacher", "numpy.ctypeslib", "numpy.distutils",
    "numpy.f2py", "numpy.testing", "operator.attrgetter", "operator.methodcaller", "pandas.eval", "pandas.read_pickle",
    "pipelines.bundle.copy_bundle", "pydicom.config", "scipy.weave", "torch.classes", "torch.distributed.elastic",
    "torch.distributed.launch", "torch.distributed.rpc", "torch.distributed.run", "torch.hub", "torch.load",
    "torch.multiprocessing", "torch.ops", "torch.package", "torch.serialization", "torch.utils.cpp_extension",
    "torch.utils.model_zoo", "torch.utils.bottleneck", "torch.testing", "uuid.os",
})  # fmt: skip
# names that are left out wherever they stand: in MONAI a `_target_` needs no module
NAMES = frozenset({
    "AutoRunner", "BundleAlgo", "BundleGen", "ConfigParser", "ConfigWorkflow", "MonaiAlgo", "PythonicWorkflow",
    "algo_from_json", "algo_from_pickle", "ckpt_export", "compile", "create_workflow", "download_and_extract",
    "download_mmar", "download_url", "eval", "exec", "execfile", "extractall", "import_module", "init_bundle",
    "instantiate", "load_from_mmar", "load_library", "load_module", "load_submodules", "nnUNetV2Runner",
    "optional_import", "run_cmd", "run_workflow", "system",
})  # fmt: skip
# Python's own modules, which others hand out: `torch.os.system`
HANDED_OUT = frozenset({
    "asyncio", "builtins", "code", "codecs", "commands", "ctypes", "dill", "cloudpickle", "distutils", "ftplib", "gc",
    "http", "importlib", "inspect", "joblib", "marshal", "mmap", "multiprocessing", "nt", "os", "pickle", "pkgutil",
    "platform", "posix", "pty", "pydoc", "requests", "runpy", "shelve", "shutil", "site", "socket", "subprocess", "sys",
    "sysconfig", "threading", "traceback", "types", "urllib", "webbrowser", "zipimport",
})  # fmt: skip
# methods of things whose kind is known only at run time
METHODS = frozenset({
    "chmod", "exec_module", "execl", "execv", "execve", "extractall", "fork", "hardlink_to", "import_module",
    "load_module", "open", "popen", "putenv", "read_pickle", "rmdir", "rmtree", "run_cmd", "spawnl", "spawnv",
    "symlink_to", "system", "to_pickle", "unlink", "write_bytes", "write_text",
})  # fmt: skip
BUILTINS = frozenset({
    "False", "None", "True", "abs", "all", "any", "bin", "bool", "bytes", "callable", "chr", "complex", "dict",
    "divmod", "enumerate", "filter", "float", "format", "frozenset", "hasattr", "hash", "hex", "id", "int",
    "isinstance", "issubclass", "iter", "len", "list", "map", "max", "min", "next", "object", "oct", "ord", "pow",
    "print", "range", "repr", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "type", "zip",
    "Exception", "IndexError", "KeyError", "RuntimeError", "TypeError", "ValueError",
})  # fmt: skip
_MUTATING = frozenset({"clear", "pop", "popitem", "setdefault", "update"})


@dataclass(frozen=True)
class Allowed:
    """The allow-list, with what one user and one bundle add to it.

    Attributes:
        more: dotted names that the user allows, with all below them.
        own: the names of modules and packages that lie in the bundle itself, which are read too.
    """

    more: frozenset[str] = frozenset()
    own: frozenset[str] = field(default_factory=frozenset)

    def fault(self, parts: Sequence[str]) -> str | None:
        """Why a dotted name may not be used; None if it may.

        Args:
            parts: of the name, as ("torch", "optim", "Adam"); one part is a name of MONAI's.
        """
        name = ".".join(parts)
        if self._given(parts, self.more):
            return None
        if any(part.startswith("_") for part in parts):
            return f"{name} is private"
        if parts[-1] in NAMES and not (parts[-1] == "compile" and parts[0] in ("re", "torch")):
            return f"{name} runs, fetches or imports what is given to it"
        if len(parts) == 1 and parts[0] not in MODULES:
            return None
        if parts[0] not in MODULES and parts[0] not in self.own:
            return f"{name} is outside the allow-list"
        if parts[0] in ONLY and (len(parts) < 2 or parts[1] not in ONLY[parts[0]]):
            return (
                f"{name} is outside the allow-list" if len(parts) > 1 else f"the module {name} is handed on as a whole"
            )
        if parts[:2] == ["os", "environ"] and len(parts) > 2 and parts[2] in _MUTATING:
            return f"{name} changes the environment of other programs"
        handed = next((part for part in parts[1:] if part in HANDED_OUT), None)
        if handed is not None:
            return f"{name} is Python's module {handed} by a detour"
        if self._given(["numpy" if parts[0] == "np" else parts[0], *parts[1:]], DENIED):
            return f"{name} can run code or change the process"
        return None

    def import_fault(self, module: str) -> str | None:
        """Why a module may not be imported; None if it may. Of ``os`` and ``sys`` only what is used counts."""
        if module in ONLY:
            return None
        root = module.split(".")[0]
        known = root in MODULES or root in self.own or self._given(module.split("."), self.more)
        return self.fault(module.split(".")) if known else f"{module} is outside the allow-list"

    @staticmethod
    def _given(parts: Sequence[str], names: frozenset[str]) -> bool:
        return any(".".join(parts[:count]) in names for count in range(1, len(parts) + 1))


def is_known(module: str) -> bool:
    """Whether a module of that name is one of Python's or of the allow-list: a bundle's own may not be called so."""
    return module in MODULES or module in sys.stdlib_module_names
