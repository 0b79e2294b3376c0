"""The application: each row of `routes.py` as an endpoint, behind the guard. `app.state.closing` ends what would go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

from trimtab.core.model.errors import Refused, TransientError, TrimtabError, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.rights import OPERATOR, Principal
from trimtab.core.model.views import ErrorView

from . import answers
from .guard import BODY_BYTES_MAX, PRINCIPAL, Guard, Names
from .lines import begin, cancel, gone
from .needs import sees_event, shown
from .parameters import read
from .routes import ROUTES
from .seams import Access, Commands, Queries
from .table import Engine, Route

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    queries: Queries,
    commands: Commands,
    *,
    access: Access,
    ready: Callable[[], bool],
    names: Names | None = None,
    git: ASGIApp | None = None,
) -> Starlette:
    """``access`` is asked of every request but /healthz and /readyz; ``ready`` tells whether the engine has begun its work; ``names``
    are the host names that it answers to, beside those of this machine; ``git`` is the Git server, which stands beside all this.
    """
    engine = Engine(queries, commands, access)
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
        middleware=[Middleware(Guard, access=access, names=names or Names(), git=git)],
        exception_handlers={HTTPException: answers.not_routed, TrimtabError: answers.failed},
    )
    app.router.redirect_slashes = False  # There is one address for each thing.
    app.state.closing = closing
    return app


def _endpoint(route: Route, engine: Engine, closing: asyncio.Event) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        principal: Principal = request.scope[PRINCIPAL]
        try:
            given = _acting(read(route.parameters, await _values(request)), principal)
            if denied := route.needs.denied(engine.access, principal, given):
                return answers.json(ErrorView(denied.reason, denied.remedy), 403)
            if route.method == "POST":
                await engine.access.acted(principal, f"{getattr(given, 'who', '') or principal.user}: POST {request.url.path}")
            return await _answer(route, engine, given, principal, closing, request)
        except HTTPException as error:
            return answers.not_routed(request, error)
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody is there to read it.
        except Exception as error:
            return answers.failure(error)

    return endpoint


async def _answer(
    route: Route, engine: Engine, given: Any, principal: Principal, closing: asyncio.Event, request: Request
) -> Response:
    follow = getattr(given, "follow", False)
    if route.lines is not None and (follow or route.ask is None):
        lines = _while_allowed(route, engine, given, principal)
        return await _until_the_end(begin(lines, closing, endless=follow), closing, request)
    if route.as_principal is not None:
        asked = route.as_principal(engine, given, principal)
    else:
        assert route.ask is not None
        asked = route.ask(engine, given)
    answer = shown(engine.access, principal, await _until_the_end(asked, closing, request))
    return answers.json(answer, 202 if route.method == "POST" else 200)


def _acting(given: Any, principal: Principal) -> Any:
    """Who acts is who asks. The operator may say for whom: it is the command line on this machine that sends the name of its user."""
    if not hasattr(given, "who"):
        return given
    return msgspec.structs.replace(given, who=(given.who or OPERATOR) if principal.operator else principal.user)


async def _while_allowed(route: Route, engine: Engine, given: Any, principal: Principal) -> AsyncIterator[Any]:
    """What goes on is asked for again with each value: it ends when the token is revoked or the right is gone."""
    assert route.lines is not None
    source: Any = route.lines(engine, given)
    async with aclosing(source):
        async for value in source:
            if ended := engine.access.ended(principal):
                raise Refused(ended, remedy="Ask for a new token")
            if denied := route.needs.denied(engine.access, principal, given):
                raise Refused(denied.reason, remedy=denied.remedy)
            if not isinstance(value, Event) or sees_event(engine.access, principal, value):
                yield value


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
