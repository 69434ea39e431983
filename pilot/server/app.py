"""The web application: routes to the dialects and to the server's own endpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from pilot.server import admin, identity
from pilot.server.classic import door as classic
from pilot.server.faults import Faults
from pilot.server.jobserver import JobServer
from pilot.server.refusal import Forbidden
from pilot.server.v1 import door as v1

_VERBS = ["GET", "POST", "PUT"]


class Doors:
    """The two dialects behind one check of who calls and one set of fault knobs."""

    def __init__(self, server: JobServer, faults: Faults, dialect: str, client_ca: bool) -> None:
        self._server = server
        self._faults = faults
        self._dialect = dialect
        self._client_ca = client_ca

    async def v1(self, request: Request) -> Response:
        """`/api/v1/<module>/<method>`, and the same under `latest`."""
        path = request.path_params
        if path["version"] not in ("v1", "latest") or self._dialect == "classic":
            return PlainTextResponse("ERROR : there is no such API here", status_code=404)
        name = f"{path['module']}/{path['method']}"
        return await self._let_in(
            request,
            name,
            lambda caller: v1.answer(self._server, caller, name, request),
            lambda code: v1.bare(request, code),
        )

    async def classic(self, request: Request) -> Response:
        """`/server/panda/<method>`; without this dialect every method is forbidden."""
        name = request.path_params["method"]
        if self._dialect == "v1":
            return classic.forbidden(name)
        return await self._let_in(
            request,
            name,
            lambda caller: classic.answer(self._server, caller, name, request),
            lambda code: classic.bare(request, code),
        )

    def owned(self, route: Route) -> Route:
        """One of the server's own endpoints, open to the production role alone if callers have to show who they are."""

        async def guarded(request: Request) -> Response:
            try:
                production = self._caller(request).is_production
            except Forbidden as error:
                return admin.error(str(error), 403)
            return await route.endpoint(request) if production else admin.error("needs the production role", 403)

        return Route(route.path, guarded, methods=sorted(route.methods or ()))

    def _caller(self, request: Request) -> identity.Caller:
        subject = request.scope["state"].get("subject")
        return identity.caller(self._server.credentials, subject, request.headers.get, self._client_ca)

    async def _let_in(
        self,
        request: Request,
        name: str,
        answer: Callable[[identity.Caller], Awaitable[Response]],
        coded: Callable[[int], Response],
    ) -> Response:
        try:
            caller = self._caller(request)
        except Forbidden as error:
            return PlainTextResponse(f"ERROR : {error}", status_code=403)
        return await self._faults.around(name, request, lambda: answer(caller), coded)


async def _failed(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"ERROR : {error}", status_code=500)


def build(server: JobServer, faults: Faults, *, dialect: str, client_ca: bool, cache: Path | None) -> Starlette:
    """The ASGI application over an open database; `dialect` is classic, v1 or both, `cache` a folder of downloads."""
    doors = Doors(server, faults, dialect, client_ca)
    routes: list[BaseRoute] = [
        Route("/api/{version}/{module}/{method}", doors.v1, methods=_VERBS),
        Route("/server/panda/{method}", doors.classic, methods=_VERBS),
        *map(doors.owned, admin.ROUTES),
    ]
    if cache is not None:
        from starlette.staticfiles import StaticFiles

        routes.append(Mount("/cache", StaticFiles(directory=cache)))
    app = Starlette(routes=routes, exception_handlers={Exception: _failed})
    app.state.server = server
    app.state.faults = faults
    return app
