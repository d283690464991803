"""The API's documentation: its OpenAPI, a page to try it out that needs no network, and `/`."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from fastapi import Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from afterwards.api.description import SCHEME
from afterwards.api.references import base_path, reference
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router

router = new_router("Documentation")

# The page's code comes with a package: a service without a network has its documentation too.
_ASSETS: Final = StaticFiles(packages=[("fastapi_swagger", "resources")])


@router.get("/", include_in_schema=False)
@needs(Role.PUBLIC)
async def root(request: Request) -> Response:
    """A browser is led to the dashboard, anything else gets the links."""
    vary = {"Vary": "Accept"}
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(reference(request.scope, "/dashboard/"), 303, headers=vary)
    app, base = request.app, base_path(request)
    links = {
        "name": app.title,
        "version": app.version,
        "dashboard": f"{base}/dashboard/",
        "docs": f"{base}/docs",
        "openapi": f"{base}/openapi.json",
        "metrics": f"{base}/metrics",
    }
    return JSONResponse(links, headers=vary)


@router.get("/openapi.json", include_in_schema=False)
@needs(Role.VIEWER)
async def openapi(request: Request) -> Response:
    """The description of the API, whether it asks for keys, and the prefix it is served under."""
    app, base = request.app, base_path(request)
    security: list[dict[str, list[str]]] = [{SCHEME: []}]
    if not app.state.gate.asks_for_keys:
        security.append({})
    servers = {"servers": [{"url": base}]} if base else {}
    text = await app.state.description.text(security=security, **servers)
    return Response(text, media_type="application/json")


@router.get("/docs", include_in_schema=False)
@needs(Role.VIEWER)
async def docs(request: Request) -> Response:
    """Swagger UI, from this host alone."""
    scope = request.scope
    page = get_swagger_ui_html(
        openapi_url=reference(scope, "/openapi.json"),
        title=request.app.title,
        swagger_js_url=reference(scope, "/docs/assets/swagger-ui-bundle.js"),
        swagger_css_url=reference(scope, "/docs/assets/swagger-ui.css"),
        swagger_favicon_url=reference(scope, "/docs/assets/favicon-32x32.png"),
    )
    page.headers["Content-Security-Policy"] = _content_security_policy(bytes(page.body))
    return page


@router.get("/docs/assets/{name}", include_in_schema=False)
@needs(Role.VIEWER)
async def docs_asset(name: str, request: Request) -> Response:
    """A file of Swagger UI."""
    return await _ASSETS.get_response(name, request.scope)


def _content_security_policy(page: bytes) -> str:
    """The page may load from this host only, and run its one inline script."""
    inline = re.search(rb"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(inline[1] if inline else b"").digest()).decode()
    return (
        f"default-src 'self'; script-src 'self' 'sha256-{digest}'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
    )
