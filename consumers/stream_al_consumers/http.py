"""The web application: who may come in, and what an error looks like.

Every error is ``{"error": {"code", "message", "where"}}``; no traceback and no secret ever leaves. With
a token every path but the two probes needs it. Without one the service is on loopback, and what comes
from a web page of another origin is refused: a browser must not answer questions on somebody's behalf. Nor
is a call answered that names another host: a page whose name was made to point here would pass for ours.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stream_al.errors import InvalidMessage, LogError
from stream_al.log.protocol import Log
from stream_al.settings import Settings
from stream_al_consumers.api import Api
from stream_al_consumers.board import Board, Busy
from stream_al_consumers.json_response import json_response

MAX_IN_FLIGHT = 128
OPEN_PATHS = frozenset({"/livez", "/readyz"})


def problem(status: int, code: str, message: str, where: str = "") -> Response:
    """Return an error as a client sees it."""
    return json_response({"error": {"code": code, "message": message, "where": where}}, status)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host name or address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_this_machine(host: str) -> bool:
    """Return whether a ``Host`` header, with or without a port, names this machine alone.

    >>> names_this_machine("[::1]:8420"), names_this_machine("evil.example:8420")
    (True, False)
    """
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:  # half of an address
        return False


class Gate:
    """Lets in who may, and no more than can be served.

    Parameters
    ----------
    app : ASGI application
    admits : callable
        Tells a good ``Authorization`` header.
    token_required : bool
    """

    def __init__(self, app: ASGIApp, admits: Callable[[str], bool], token_required: bool) -> None:
        self._app = app
        self._admits = admits
        self._token_required = token_required
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the call, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1

    def _refusal(self, headers: Headers) -> Response | None:
        if not self._admits(headers.get("authorization", "")):
            response = problem(401, "unauthorized", "expected the header `Authorization: Bearer TOKEN`")
            response.headers["www-authenticate"] = "Bearer"
            return response
        origin, host = headers.get("origin"), headers.get("host", "")
        if not self._token_required and not names_this_machine(host):
            return problem(403, "foreign_host", "calls under another name than localhost need a token")
        if not self._token_required and origin and origin.partition("://")[2] != host:
            return problem(403, "cross_origin", "calls from web pages of another origin need a token")
        if self._in_flight >= MAX_IN_FLIGHT:
            return problem(503, "busy", f"{MAX_IN_FLIGHT} calls are being answered; try again in a second")
        return None


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {
        404: ("not_found", f"there is nothing at {request.url.path}"),
        405: ("method_not_allowed", f"{request.method} is not possible at {request.url.path}"),
    }
    code, message = words.get(status, ("invalid", str(getattr(error, "detail", "the call failed"))))
    return problem(status, code, message)


async def _on_invalid(request: Request, error: Exception) -> Response:
    code, where = (error.code, error.where) if isinstance(error, InvalidMessage) else ("invalid", "")
    return problem(413 if code == "body_too_large" else 422, code, str(error), where)


async def _on_log_error(request: Request, error: Exception) -> Response:
    return problem(503, "log", str(error))


async def _on_busy(request: Request, error: Exception) -> Response:
    return problem(503, "busy", "the engine is busy; try again in a second")


async def _on_bug(request: Request, error: Exception) -> Response:
    return problem(500, "internal", "the service failed on this call; its own output says why")


def make_app(
    settings: Settings,
    admits: Callable[[str], bool],
    token_required: bool,
    log: Log,
    board: Board,
    worker: Executor,
) -> Starlette:
    """Return the application; ``log`` is used on ``worker`` only, which must have one thread."""
    api = Api(settings, log, board, worker)
    handlers: dict[Any, Any] = {
        HTTPException: _on_http_error,
        InvalidMessage: _on_invalid,
        LogError: _on_log_error,
        Busy: _on_busy,
        Exception: _on_bug,
    }
    return Starlette(
        routes=api.routes(),
        middleware=[Middleware(Gate, admits=admits, token_required=token_required)],
        exception_handlers=handlers,
        lifespan=api.lifespan,
    )
