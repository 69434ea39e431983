"""The web application: routes to the dialects and to the server's own endpoints."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pilot.server import admin
from pilot.server.identity import ANYBODY
from pilot.server.jobserver import JobServer
from pilot.server.v1 import door as v1

_VERBS = ["GET", "POST", "PUT"]


async def _v1(request: Request) -> Response:
    server: JobServer = request.app.state.server
    path = request.path_params
    if path["version"] not in ("v1", "latest") or request.app.state.dialect == "classic":
        return PlainTextResponse("ERROR : there is no such API here", status_code=404)
    return await v1.answer(server, ANYBODY, f"{path['module']}/{path['method']}", request)


async def _classic(request: Request) -> Response:
    return PlainTextResponse(f"ERROR : method {request.path_params['method']} is forbidden", status_code=403)


async def _failed(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"ERROR : {error}", status_code=500)


def build(server: JobServer, dialect: str) -> Starlette:
    """The ASGI application over an open database; `dialect` is classic, v1 or both."""
    routes = [
        Route("/api/{version}/{module}/{method}", _v1, methods=_VERBS),
        Route("/server/panda/{method}", _classic, methods=_VERBS),
        *admin.ROUTES,
    ]
    app = Starlette(routes=routes, exception_handlers={Exception: _failed})
    app.state.server = server
    app.state.dialect = dialect
    return app
