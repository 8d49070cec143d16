"""The door: a socket, a web server in a thread of its own, and one worker that holds a log handle.

The socket is bound before anything else, so that a port in use is one clear message. The server never
touches the log on its event loop: everything that reads or writes goes through the worker, one call at a
time, so that a slow disk delays answers and not health.
"""

from __future__ import annotations

import hmac
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import uvicorn

from stream_al.errors import ConfigurationError
from stream_al.log.protocol import Log
from stream_al.settings import HttpSettings, Settings
from stream_al_consumers.board import Board
from stream_al_consumers.http import is_loopback, make_app

STOP_SECONDS = 3.0
BACKLOG = 128


class Token:
    """The secret that callers show; without one everybody on this machine may call."""

    def __init__(self, secret: str | None) -> None:
        self._secret = secret

    @property
    def required(self) -> bool:
        """Whether callers need it."""
        return self._secret is not None

    def admits(self, authorization: str) -> bool:
        """Return whether an ``Authorization`` header is good, in time that tells nothing of the secret."""
        if self._secret is None:
            return True
        scheme, _, shown = authorization.partition(" ")
        same = hmac.compare_digest(shown.strip().encode(), self._secret.encode())
        return same and scheme.lower() == "bearer"


def access_token(http: HttpSettings) -> Token:
    """Return the configured token.

    Raises
    ------
    ConfigurationError
        The service would be reachable from other machines without one, or its file cannot be read.
    """
    secret = http.token.get_secret_value() if http.token is not None else None
    if secret is None and http.token_file is not None:
        try:
            secret = http.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"http.token_file {http.token_file} cannot be read: {error}") from error
    if secret is not None and len(secret) < 16:
        raise ConfigurationError(
            f"the HTTP token has {len(secret)} characters; expected at least 16; "
            "make one with `openssl rand -hex 32`"
        )
    if secret is None and not is_loopback(http.host):
        raise ConfigurationError(
            f"http.host is {http.host!r}, which other machines can reach, and there is no token; set "
            'http.token_file (or STREAM_AL__HTTP__TOKEN), or keep http.host = "127.0.0.1"'
        )
    return Token(secret)


def bind(http: HttpSettings) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    ConfigurationError
        The address is in use, or is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named: else answers wait 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # restart at once after a stop
        listener.bind((http.host, http.port))
        listener.listen(BACKLOG)  # until it listens, a second service could bind the port as well
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {http.host} port {http.port} ({error.strerror or error}); perhaps another "
            "stream-al serves there: stop it, or choose another http.port (0 takes a free one)"
        ) from error
    return listener


class Door:
    """The HTTP side of a service.

    Parameters
    ----------
    settings : Settings
    token : Token
    log : Log
        A handle of its own; closed with the door.
    board : Board
    listener : socket
    """

    def __init__(
        self, settings: Settings, token: Token, log: Log, board: Board, listener: socket.socket
    ) -> None:
        self._log = log
        self._listener = listener
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stream-al-log")
        app = make_app(settings, token.admits, token.required, log, board, self._worker)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=5,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="stream-al-http", daemon=True
        )

    @property
    def url(self) -> str:
        """Where the service answers."""
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def open(self) -> None:
        """Begin to answer; return once the server does.

        Raises
        ------
        ConfigurationError
            It could not start.
        """
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.005)
            if not self._thread.is_alive():
                raise ConfigurationError(f"the HTTP server at {self.url} did not start; its output says why")

    def close(self) -> None:
        """Finish what is being answered, for a second or two, and give up the log handle."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._log.close()
