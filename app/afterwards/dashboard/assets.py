"""The files that a browser loads, read once and compressed once.

They are served under a digest of all of them. So whatever a URL names never changes, and a page
never mixes files of two versions.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).parent / "static"

_MEDIA_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""The endings of what is served; manifests and licences stay on the disk."""

_PAGES: Final = "pages/"
_LATER: Final = "ui/later.js"
"""The module whose own later imports no page begins with."""
_IMPORT: Final = re.compile(
    rb"""^(?:import|export)\s[^;]*?from\s+"(\.[^"]+)"|\bimport\("(\.[^"]+)"\)""", re.MULTILINE
)

_COMMENT: Final = re.compile(
    rb"^[ \t]*(?:/\*(?:(?!\*/).)*\*/[ \t]*|//[^\n]*)\n", re.MULTILINE | re.DOTALL
)
"""Comments that have lines of their own: a fifth of what a browser would load, compressed."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is sent."""

    content: bytes
    compressed: bytes
    """The same with gzip."""
    media_type: str
    etag: str
    """A strong one, for the plain bytes (RFC 9110, 8.8.3)."""
    imports: tuple[str, ...]
    """The files that a module imports, at once or later."""


@dataclass(frozen=True, slots=True)
class Assets:
    """All files of one version."""

    digest: str
    files: Mapping[str, Asset]
    """By their path below `static/`."""

    def needed_by(self, *modules: str) -> tuple[str, ...]:
        """Modules, and whatever they import; of pages only those that are named."""
        found: dict[str, None] = {}
        ahead = list(reversed(modules))
        while ahead:
            name = ahead.pop()
            if name not in found:
                found[name] = None
                ahead += (one for one in self.files[name].imports if not one.startswith(_PAGES))
        return tuple(found)


@cache
def load() -> Assets:
    """Read the files. Every application of a process shares them.

    Raises:
        OSError: the installation is damaged.
    """
    found = {
        path.relative_to(STATIC).as_posix(): path
        for path in sorted(STATIC.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }
    contents = {name: _as_served(name, path.read_bytes()) for name, path in found.items()}
    everything = hashlib.sha256()
    for name, content in contents.items():
        everything.update(b"%b\0%d\0%b" % (name.encode(), len(content), content))
    files = {name: _asset(name, content) for name, content in contents.items()}
    return Assets(everything.hexdigest()[:16], files)


def _as_served(name: str, source: bytes) -> bytes:
    # What is bundled has hardly any, and licences ask for those.
    is_ours = name.endswith(".js") and not name.startswith("vendor/")
    return _COMMENT.sub(b"", source) if is_ours else source


def _asset(name: str, content: bytes) -> Asset:
    return Asset(
        content,
        # Without a time, so that all workers send the same bytes.
        gzip.compress(content, mtime=0),
        _MEDIA_TYPES[Path(name).suffix],
        f'"{hashlib.sha256(content).hexdigest()[:24]}"',
        _imports(name, content) if name.endswith(".js") else (),
    )


def _imports(name: str, source: bytes) -> tuple[str, ...]:
    # What is bundled imports nothing, and would take long to look through.
    if name.startswith("vendor/"):
        return ()
    folder = posixpath.dirname(name)
    found = (
        at_once or later for at_once, later in _IMPORT.findall(source) if at_once or name != _LATER
    )
    return tuple(posixpath.normpath(posixpath.join(folder, one.decode())) for one in found)
