"""The source files of task modules, looked at now and then: `afterwards serve --reload`."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from afterwards.logs import get_logger

log = get_logger(__name__)

MOST_FILES: Final = 10_000
"""More are not looked at: it would take a processor."""

_NOT_OURS: Final = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})


class Sources:
    """The Python files beside and below those that task modules are imported from.

    Args:
        modules: their names. None is imported.
        also: other files that count.
    """

    def __init__(self, modules: Sequence[str], also: Sequence[Path] = ()) -> None:
        self._directories = sorted({place for name in modules for place in _places(name)})
        self._also = also
        self._has_warned = False
        self._seen = self._look()

    def have_changed(self) -> bool:
        """True if any file is another one than at the last call."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> Mapping[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for path in self._files():
            if len(found) == MOST_FILES:
                if not self._has_warned:
                    self._has_warned = True
                    log.warning("too many source files to look at; some are not", most=MOST_FILES)
                break
            try:
                status = os.stat(path)  # noqa: PTH116 - ten thousand a second
            except OSError:
                continue  # it has just gone
            found[path] = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        return found

    def _files(self) -> Iterator[str]:
        yield from map(str, self._also)
        for directory in self._directories:
            for at, directories, names in os.walk(directory):
                directories[:] = [name for name in directories if _is_ours(at, name)]
                yield from (f"{at}{os.sep}{name}" for name in names if name.endswith(".py"))


def _is_ours(at: str, name: str) -> bool:
    if name.startswith(".") or name in _NOT_OURS:
        return False
    return not Path(at, name, "pyvenv.cfg").exists()


def _places(module: str) -> Iterator[Path]:
    """The directories that the module's top level package, or the module, is in."""
    top = module.partition(".")[0]
    # As hosts look for it: here after everywhere else.
    spec = importlib.machinery.PathFinder.find_spec(top, [*sys.path, str(Path.cwd())])
    if spec is None:
        return
    # Of a package its directories; of a module its file.
    places = spec.submodule_search_locations or [spec.origin or ""]
    yield from (Path(place).absolute().parent for place in places)
