"""The routes: health and status for machines, events, predictions, requests and replies for programs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stream_al.errors import InvalidMessage, LogError
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, PREDICTIONS, Log, Position, Record
from stream_al.metrics import make_registry
from stream_al.settings import Settings
from stream_al.snapshot import Snapshot
from stream_al.ticket import TicketOffice
from stream_al_consumers.board import Board, Busy
from stream_al_consumers.bodies import (
    MAX_BODY_BYTES,
    asking_control,
    each,
    event_key,
    event_to_score,
    messages,
    reply_check,
)
from stream_al_consumers.json_response import json_response
from stream_al_consumers.open_requests import OpenRequests
from stream_al_consumers.predictions import Finder, read_after
from stream_al_consumers.scoring import Scoring
from stream_al_consumers.status import alive, problems, status

ERRAND_SECONDS = 2.0
MAX_WAIT_SECONDS = 30.0
MAX_SCORED = 500
REFRESH_SECONDS = {"sqlite": 2.0, "kafka": 10.0}
"""How often open requests are counted for the metric: brokers have to be asked for every partition."""
SHORTEST_LOOK, LONGEST_LOOK = 0.02, 0.5
"""How long to wait for a commit before the log is looked at again: another replica's is not announced."""

T = TypeVar("T")


class Api:
    """What the routes need.

    Parameters
    ----------
    settings : Settings
    log : Log
        Used on the worker only.
    board : Board
    worker : Executor
        With one thread.
    """

    def __init__(self, settings: Settings, log: Log, board: Board, worker: Executor) -> None:
        self._settings = settings
        self._log = log
        self._board = board
        self._worker = worker
        self._office = TicketOffice(settings.events_topic(), settings.secrets())
        self._open: OpenRequests | None = None
        self._turned = asyncio.Event()
        self._registry = make_registry(self._snapshot)
        self._scoring = Scoring(board, settings.encoding())

    def routes(self) -> list[Route]:
        """Return the table of paths."""
        return [
            Route("/livez", self.livez),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
            Route("/status", self.status),
            Route("/v1/events", self.post_events, methods=["POST"]),
            Route("/v1/predictions", self.get_predictions),
            Route("/v1/requests", self.get_requests),
            Route("/v1/replies", self.post_replies, methods=["POST"]),
            Route("/v1/score", self.post_score, methods=["POST"]),
            Route("/v1/asking", self.post_asking, methods=["POST"]),
        ]

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Hear of commits and keep the count of open requests while the server runs."""
        loop = asyncio.get_running_loop()

        def announce() -> None:
            with suppress(RuntimeError):  # the server's loop has ended before the engine's
                loop.call_soon_threadsafe(self._turn)

        self._board.on_commit = announce
        refreshing = asyncio.create_task(self._keep_refreshing())
        try:
            yield
        finally:
            refreshing.cancel()

    def _turn(self) -> None:
        """Wake everybody who waits for a commit."""
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()

    async def _keep_refreshing(self) -> None:
        period = REFRESH_SECONDS.get(self._settings.log.kind, 2.0)
        with suppress(TimeoutError):  # until then all the machine's time is the start's
            await asyncio.wait_for(self._turned.wait(), period)
        while self._board.current.phase != "stopping":
            with suppress(LogError):  # a log that cannot be read now is the loop's to tell
                await self._work(self._index)
            await asyncio.sleep(period)

    async def _work(self, job: Callable[..., T], *arguments: object) -> T:
        """Do a job on the worker, which alone touches the log handle."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, job, *arguments)

    async def _errand(self, job: Callable[[], T]) -> T:
        """Have a job done between two ticks, or while the engine rests."""
        future = asyncio.wrap_future(self._board.ask(job))
        try:
            return await asyncio.wait_for(future, ERRAND_SECONDS)
        except TimeoutError:
            raise Busy from None

    def _index(self) -> OpenRequests:
        """Return the open requests as of now; on the worker."""
        if self._open is None:
            task = self._settings.task
            self._open = OpenRequests(
                self._log,
                self._office,
                self._settings.labels.ttl_seconds,
                labels=task.labels,
                open_labels=task.open_labels,
            )
        self._open.refresh()
        return self._open

    def _snapshot(self) -> Snapshot:
        current = self._board.look()
        return current if self._open is None else replace(current, open_requests=len(self._open))

    # ---- health -------------------------------------------------------------------------------

    async def livez(self, request: Request) -> Response:
        """Say whether the loop turns."""
        good = alive(self._board.look())
        return json_response({"alive": good}, 200 if good else 503)

    async def readyz(self, request: Request) -> Response:
        """Say whether the service can be relied on, and if not, why."""
        found = problems(self._board.look())
        return json_response({"ready": not found, "problems": found}, 503 if found else 200)

    async def metrics(self, request: Request) -> Response:
        """Export the metrics to Prometheus."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def status(self, request: Request) -> Response:
        """Say everything a person may want to know."""
        snapshot, fingerprint = self._snapshot(), dict[str, object]()
        if request.query_params.get("fingerprint") in ("1", "true"):
            # both between the same two ticks: what is counted is what the fingerprint is of
            snapshot, fingerprint = await self._errand(lambda: (self._snapshot(), self._board.fingerprint()))
        found = status(snapshot, self._settings)
        found["model"] |= fingerprint
        return json_response(found)

    # ---- events, predictions, scores ----------------------------------------------------------

    async def post_events(self, request: Request) -> Response:
        """Append events; on a log that can, all of them or nothing."""
        body = await _body(request)

        def append() -> list[Position]:
            items = messages(body)
            keys = each(items, event_key(self._settings.events.map))
            return self._log.append_many(EVENTS, list(zip(keys, items, strict=True)))

        return _appended(await self._work(append))

    async def get_predictions(self, request: Request) -> Response:
        """Read predictions behind an offset, or of one event; waits for the first one if told to."""
        query = request.query_params
        count = _number(request, "max", 500, 1, 5_000)
        wait = _number(request, "wait", 0, 0, MAX_WAIT_SECONDS)
        partition = int(_number(request, "partition", 0, 0, self._log.partitions(PREDICTIONS) - 1))
        after = int(_number(request, "after", -1, -1, 2**62))
        event_id = query.get("event_id")
        finder = Finder(self._log, event_id) if event_id else None
        deadline, pause = time.monotonic() + wait, SHORTEST_LOOK
        while True:
            turned = self._turned  # taken before reading, so that no commit falls between
            if finder is not None:
                records = await self._work(finder.look)
            else:
                records = await self._work(read_after, self._log, partition, after, int(count))
            left = deadline - time.monotonic()
            if records or left <= 0 or self._board.current.phase == "stopping":
                end = records[-1].offset if records else after
                return Response(_enveloped(records, end), media_type="application/json")
            try:
                await asyncio.wait_for(turned.wait(), min(left, pause))
                pause = SHORTEST_LOOK
            except TimeoutError:
                pause = min(2 * pause, LONGEST_LOOK)

    async def post_score(self, request: Request) -> Response:
        """Score events at the current model position; nothing is written and nobody is asked."""
        body = await _body(request)
        events = await self._work(lambda: each(messages(body), event_to_score(self._settings.events.map)))
        if len(events) > MAX_SCORED:
            raise InvalidMessage(
                "invalid", f"found {len(events)} events; expected at most {MAX_SCORED} a call"
            )
        return json_response({"predictions": await self._errand(lambda: self._scoring.score(events))})

    # ---- requests, replies, asking ------------------------------------------------------------

    async def get_requests(self, request: Request) -> Response:
        """Read open label requests as they were published, the most urgent first."""
        count = int(_number(request, "max", 10, 1, 1_000))
        annotator = request.query_params.get("annotator")

        def read() -> bytes:
            index = self._index()
            values = b",".join(record.value for record in index.best(count, annotator))
            return b'{"requests":[%b],"open":%d}' % (values, len(index))

        return Response(await self._work(read), media_type="application/json")

    async def post_replies(self, request: Request) -> Response:
        """Append answers; on a log that can, all of them or nothing."""
        body = await _body(request)

        def append() -> list[Position]:
            items = messages(body)
            keys = each(items, reply_check(self._settings, self._office, lambda: self._board.current))
            return self._log.append_many(LABEL_REPLIES, list(zip(keys, items, strict=True)))

        return _appended(await self._work(append))

    async def post_asking(self, request: Request) -> Response:
        """Pause or resume asking; scoring goes on."""
        control = asking_control(await _body(request))
        position = await self._work(self._log.append, LABEL_REPLIES, None, control.to_json())
        return _appended([position])


async def _body(request: Request) -> bytes:
    """Return the request's body, refusing to hold more than is allowed."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > MAX_BODY_BYTES:
            raise InvalidMessage(
                "body_too_large", f"the body exceeds {MAX_BODY_BYTES:,} bytes; send fewer messages a call"
            )
    return bytes(found)


def _appended(positions: Sequence[Position]) -> Response:
    content = {"appended": len(positions), "positions": [position._asdict() for position in positions]}
    return json_response(content, 202)


def _enveloped(records: Iterable[Record], end: int) -> bytes:
    """Return predictions as they were published, each with its place."""
    parts = [
        b'{"partition":%d,"offset":%d,"prediction":%b}' % (record.partition, record.offset, record.value)
        for record in records
    ]
    return b'{"predictions":[%b],"after":%d}' % (b",".join(parts), end)


def _number(request: Request, name: str, default: float, least: float, most: float) -> float:
    """Return a number of the query string, within its bounds."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise InvalidMessage(
            "invalid", f"found {text[:40]!r}; expected a number from {least:g} to {most:g}", name
        )
    return number
