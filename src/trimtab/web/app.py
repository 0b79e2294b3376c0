"""The application: each row of `routes.py` as an endpoint, behind the guard. `app.state.closing` ends what would go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route as StarletteRoute

from trimtab.core.model.errors import TransientError, TrimtabError, UserError

from . import answers
from .guard import BODY_BYTES_MAX, Guard
from .lines import begin, cancel, gone
from .parameters import read
from .routes import ROUTES, Engine, Route
from .seams import Commands, Queries

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(queries: Queries, commands: Commands, *, token: str, ready: Callable[[], bool]) -> Starlette:
    """``token`` is asked of every request but /healthz and /readyz; ``ready`` tells whether the engine has begun its work."""
    engine = Engine(queries, commands)
    closing = asyncio.Event()

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        return PlainTextResponse("ok\n") if ready() else PlainTextResponse("not ready\n", 503)

    app = Starlette(
        routes=[
            StarletteRoute("/healthz", healthz),
            StarletteRoute("/readyz", readyz),
            *(StarletteRoute(route.path, _endpoint(route, engine, closing), methods=[route.method]) for route in ROUTES),
        ],
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={HTTPException: answers.not_routed, TrimtabError: answers.failed},
    )
    app.router.redirect_slashes = False  # There is one address for each thing.
    app.state.closing = closing
    return app


def _endpoint(route: Route, engine: Engine, closing: asyncio.Event) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            given = read(route.parameters, await _values(request))
            follow = getattr(given, "follow", False)
            if route.lines is not None and (follow or route.ask is None):
                lines = begin(route.lines(engine, given), closing, endless=follow)
                return await _until_the_end(lines, closing, request)
            assert route.ask is not None
            answer = await _until_the_end(route.ask(engine, given), closing, request)
        except HTTPException as error:
            return answers.not_routed(request, error)
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody is there to read it.
        except Exception as error:
            return answers.failure(error)
        return answers.json(answer, 202 if route.method == "POST" else 200)

    return endpoint


async def _values(request: Request) -> dict[str, Any]:
    """The parameters by name; the path outdoes the body, the body the query."""
    body = await _body(request)
    try:
        given = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
    except msgspec.DecodeError as error:
        raise UserError(f"the body is no JSON object: {error}", remedy="Send a JSON object, or nothing") from error
    return {**request.query_params, **given, **request.path_params}


async def _body(request: Request) -> bytes:
    """Counted as it comes, as a body without a stated length may be of any."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
    return body


async def _until_the_end(work: Awaitable[T], closing: asyncio.Event, request: Request) -> T:
    """The result of ``work``, unless the server ends or the client goes before it is done."""
    doing = asyncio.ensure_future(work)
    ends = {asyncio.ensure_future(closing.wait()), asyncio.ensure_future(gone(request.receive))}
    try:
        await asyncio.wait({doing, *ends}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        if closing.is_set():
            raise TransientError("the server is ending", remedy="Ask again when it has started")
        raise ClientDisconnect
    finally:
        await cancel({doing, *ends})
