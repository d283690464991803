"""The dashboard: one document for all of its pages, and the files that draw them."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from afterwards import __version__
from afterwards.api.compression import VARY, fitting, takes_gzip
from afterwards.api.references import reference
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.dashboard.assets import load
from afterwards.dashboard.shell import CONTENT_SECURITY_POLICY, shell

router = new_router("Dashboard")

HOME: Final = "/dashboard/"

# A URL has its bytes for good.
_ASSET_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    **VARY,
    "X-Content-Type-Options": "nosniff",
}
_SHELL_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/dashboard/assets/{digest}/{name:path}", include_in_schema=False)
@needs(Role.PUBLIC)
async def dashboard_asset(digest: str, name: str, request: Request) -> Response:
    """A file of the dashboard. Those of another version are not here: its page has to reload."""
    assets = load()
    asset = assets.files.get(name)
    if digest != assets.digest or asset is None:
        raise HTTPException(404, "The dashboard has no such file; reload the page")
    headers = {**_ASSET_HEADERS, "ETag": asset.etag}
    content = asset.content
    if takes_gzip(request):
        content = asset.compressed
        headers["Content-Encoding"] = "gzip"
        headers["ETag"] = f'{asset.etag[:-1]}-gzip"'
    if headers["ETag"] in re.findall(r'"[^"]*"', request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=asset.media_type)


@router.get("/dashboard", include_in_schema=False)
@router.get("/dashboard/{page:path}", include_in_schema=False)
@needs(Role.PUBLIC)
async def dashboard_page(request: Request, page: str = "") -> Response:
    """A page of the dashboard; the browser finds out which one."""
    base = reference(request.scope, HOME)
    content, headers = await fitting(request, shell(base, page, load(), __version__))
    return Response(content, headers={**_SHELL_HEADERS, **headers}, media_type="text/html")
