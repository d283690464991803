"""The document that every page of the dashboard begins with.

It is the same for all of them but for its base, so that a browser loads the files and the API
under whatever prefix a proxy has given it.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from afterwards.dashboard.assets import Assets

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)

START: Final = "app.js"
PAGES: Final = {
    "": "overview",
    "tasks": "tasks",
    "tasks/": "task",
    "errors": "errors",
    "types": "types",
    "types/": "type",
    "schedules": "schedules",
    "webhooks": "webhooks",
    "workers": "workers",
    "activity": "activity",
}
"""The module of each page, by its path; one with a slash at its end is followed by a name."""
_STYLES: Final = ("base.css", "parts.css", "pages.css", "places.css")

_DOCUMENT: Final = """\
<!doctype html>
<html lang="en" data-version="{version}">
<head>
<meta charset="utf-8">
<base href="{base}">
<title>Afterwards</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<script src="{assets}/theme.js"></script>
{styles}
{modules}
<link rel="icon" href="{assets}/icon.svg" type="image/svg+xml">
<script type="module" src="{assets}/app.js"></script>
</head>
<body>
<div id="app"></div>
<noscript>The dashboard needs JavaScript. The same is at hand in the
<a href="../docs">HTTP API</a> and with the command <code>afterwards</code>.</noscript>
</body>
</html>
"""


def shell(base: str, path: str, assets: Assets, version: str) -> bytes:
    """The document, which asks for all modules of its page at once.

    Args:
        base: leads from the URL of the request to `/dashboard/`, as a relative reference.
        path: of the page, below `/dashboard/`.
    """
    place = f"assets/{assets.digest}"
    return _DOCUMENT.format(
        base=escape(base),
        version=escape(version),
        assets=place,
        styles="\n".join(
            f'<link rel="stylesheet" href="{place}/styles/{name}">' for name in _STYLES
        ),
        modules="\n".join(
            f'<link rel="modulepreload" href="{place}/{name}">'
            for name in assets.needed_by(*_modules(path))
        ),
    ).encode()


def _modules(path: str) -> Iterator[str]:
    yield START
    page, slash, name = path.rstrip("/").partition("/")
    module = PAGES.get(page + slash if name else page)
    if module is not None:
        yield f"pages/{module}.js"
