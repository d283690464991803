"""The code of a generation, kept: hosts that are started later run that, and not the disk.

The process that describes task modules records the code of all that they import. Hosts get it as a
file, and import from there. What was not imported then, such as a module that a function imports,
comes from the disk. So files that are being replaced, or are broken, change nothing before a
reload.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final, NamedTuple, cast

from afterwards.task_types.fresh_sources import comes_with_its_bytecode

VARIABLE: Final = "_TASK_CODE"
"""Names the file to a host, in its environment."""

OWN_PACKAGES: Final = frozenset({"afterwards", "afterwards_client", "afterwards_executors"})

MOST_BYTES: Final = 64 * 2**20
"""More is not kept; hosts then import everything from the disk."""

_get_code: Final = SourceFileLoader.get_code


class _Module(NamedTuple):
    path: str
    is_package: bool
    code: bytes


class Recorder:
    """Records the code of modules as they are imported in this process."""

    def __init__(self) -> None:
        self._modules: dict[str, _Module] = {}

    def begin(self) -> None:
        """Record what is imported from now on."""

        def get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
            code = _get_code(loader, name)
            if code is not None and _is_kept(name, loader.path):
                module = _Module(loader.path, loader.is_package(name), marshal.dumps(code))
                self._modules[name] = module
            return code

        SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign] # replaced on purpose, in this process

    def recorded(self) -> bytes:
        """All of it, for `use`; empty: it is too much."""
        modules = {name: tuple(module) for name, module in self._modules.items()}
        data = importlib.util.MAGIC_NUMBER + marshal.dumps(modules)
        return data if len(data) <= MOST_BYTES else b""


def use() -> None:
    """Import from the file that `VARIABLE` names, if there is one for this version of Python."""
    file = os.environ.pop(VARIABLE, None)
    if not file:
        return
    try:
        data = Path(file).read_bytes()
    except OSError:
        return  # its writer may hide what it holds: then the disk has to do
    magic = importlib.util.MAGIC_NUMBER
    if data.startswith(magic):
        modules = marshal.loads(data[len(magic) :])  # noqa: S302 - of whoever started this process
        sys.meta_path.insert(0, _Finder({name: _Module(*one) for name, one in modules.items()}))


def _is_kept(name: str, path: str) -> bool:
    return name.partition(".")[0] not in OWN_PACKAGES and not comes_with_its_bytecode(path)


class _Finder(MetaPathFinder):
    def __init__(self, modules: dict[str, _Module]) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        module = self._modules.get(fullname)
        if module is None:
            return None
        places = [str(Path(module.path).parent)] if module.is_package else None
        return importlib.util.spec_from_file_location(
            fullname,
            module.path,
            loader=_Loader(fullname, module),
            submodule_search_locations=places,
        )


class _Loader(SourceFileLoader):
    def __init__(self, name: str, module: _Module) -> None:
        super().__init__(name, module.path)
        self._code = module.code

    def get_code(self, fullname: str) -> CodeType:
        del fullname
        return cast("CodeType", marshal.loads(self._code))  # noqa: S302 - as above


class CodeFile:
    """A file that hosts find the code of a generation in, as long as this process holds it.

    Raises:
        OSError: descriptors or memory have run out.
    """

    def __init__(self, data: bytes) -> None:
        self._fd = os.memfd_create("task-code")
        with os.fdopen(os.dup(self._fd), "wb") as file:
            file.write(data)

    @property
    def environment(self) -> dict[str, Any]:
        """The environment variables that tell a host of it."""
        return {VARIABLE: f"/proc/{os.getpid()}/fd/{self._fd}"}

    def close(self) -> None:
        """Free it. Hosts that are started from now on do not find it."""
        os.close(self._fd)
