"""The document that every page of the dashboard begins with.

It is the same for all of them but for its base, so that a browser loads the files and the API
under whatever prefix a proxy has given it.
"""

from __future__ import annotations

from html import escape
from typing import Final

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)

_EARLY_MODULES: Final = (
    "vendor/preact.js",
    "core/api.js",
    "core/format.js",
    "core/keys.js",
    "core/live.js",
    "core/resource.js",
    "core/router.js",
    "core/store.js",
    "ui/basics.js",
    "ui/frame.js",
)
"""What every page needs: asked for at once, where imports would be found file by file."""
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


def shell(base: str, digest: str, version: str) -> bytes:
    """The document.

    Args:
        base: leads from the URL of the request to `/dashboard/`, as a relative reference.
        digest: of the assets.
    """
    assets = f"assets/{digest}"
    return _DOCUMENT.format(
        base=escape(base),
        version=escape(version),
        assets=assets,
        styles="\n".join(
            f'<link rel="stylesheet" href="{assets}/styles/{name}">' for name in _STYLES
        ),
        modules="\n".join(
            f'<link rel="modulepreload" href="{assets}/{name}">' for name in _EARLY_MODULES
        ),
    ).encode()
