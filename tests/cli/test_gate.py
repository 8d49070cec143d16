"""Who may call the service, and what a refusal looks like."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from stream_al.errors import ConfigurationError
from stream_al.settings import HttpSettings
from stream_al_consumers.door import Token, access_token
from stream_al_consumers.http import MAX_IN_FLIGHT, Gate, is_loopback

SECRET = "correct horse battery"


async def _fine(request: Request) -> Response:
    return PlainTextResponse("fine")


def gated(token: Token) -> Gate:
    app: ASGIApp = Starlette(routes=[Route("/status", _fine), Route("/livez", _fine)])
    return Gate(app, token.admits, token.required)


def get(gate: Gate, path: str = "/status", **headers: str) -> httpx.Response:
    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=gate)  # type: ignore[arg-type]  # an ASGI application
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8420") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(call())


def test_a_token_opens_everything_and_probes_need_none() -> None:
    gate = gated(Token(SECRET))
    assert get(gate, authorization=f"Bearer {SECRET}").text == "fine"
    assert get(gate, "/livez").text == "fine"


@pytest.mark.parametrize("header", ["", "Bearer wrong", f"Basic {SECRET}", SECRET, "Bearer"])
def test_without_the_token_nothing_opens(header: str) -> None:
    refused = get(gated(Token(SECRET)), **({"authorization": header} if header else {}))
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "unauthorized"
    assert SECRET not in refused.text
    assert refused.headers["www-authenticate"] == "Bearer"


def test_web_pages_of_other_origins_are_refused_without_a_token() -> None:
    gate = gated(Token(None))
    assert get(gate).text == "fine"
    assert get(gate, origin="http://127.0.0.1:8420").text == "fine"
    assert get(gate, origin="https://evil.example").status_code == 403
    assert get(gate, origin="null").status_code == 403
    good = {"origin": "https://dashboard.example", "authorization": f"Bearer {SECRET}"}
    assert get(gated(Token(SECRET)), **good).text == "fine"


@pytest.mark.parametrize(
    ("host", "fine"),
    [
        ("localhost:8420", True),
        ("LOCALHOST", True),
        ("127.8.9.1:1", True),
        ("[::1]:8420", True),
        ("evil.example:8420", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.1.7", False),
        ("user@evil.example", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_a_name_that_was_made_to_point_here_is_refused_without_a_token(host: str, fine: bool) -> None:
    origin = f"http://{host}"
    for headers in ({"host": host}, {"host": host, "origin": origin}):
        answer = get(gated(Token(None)), **headers)
        assert answer.status_code == (200 if fine else 403)
    assert fine or answer.json()["error"]["code"] == "foreign_host"
    assert get(gated(Token(None)), "/livez", host=host).text == "fine"
    assert get(gated(Token(SECRET)), host=host, authorization=f"Bearer {SECRET}").text == "fine"


def test_calls_in_flight_are_bounded() -> None:
    gate = gated(Token(None))
    gate._in_flight = MAX_IN_FLIGHT
    assert get(gate).status_code == 503
    assert get(gate, "/livez").text == "fine"
    gate._in_flight -= 1
    assert get(gate).text == "fine"
    assert gate._in_flight == MAX_IN_FLIGHT - 1


def test_where_the_token_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    assert access_token(HttpSettings(token_file=file)).admits(f"Bearer {SECRET}")
    assert not access_token(HttpSettings()).required
    assert access_token(HttpSettings(host="0.0.0.0", token_file=file)).required
    with pytest.raises(ConfigurationError, match="at least 16"):
        access_token(HttpSettings(token="short"))  # type: ignore[arg-type]  # pydantic makes it a secret
    with pytest.raises(ConfigurationError, match="cannot be read"):
        access_token(HttpSettings(token_file=tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match="there is no token"):
        access_token(HttpSettings(host="192.168.1.7"))


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) == local
