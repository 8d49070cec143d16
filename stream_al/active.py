"""The engine as a library in a few lines: push events, answer requests, look at the estimate.

A thin door to one :class:`~stream_al.engine.Engine` on a memory log: no process, no file, no second loop.
For more than one thread or process, for durability, and for anything that must survive a crash, use a log
on disk and the engine itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from stream_al.build import build_engine
from stream_al.errors import InvalidMessage
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import (
    DEAD_LETTERS,
    EVENTS,
    LABEL_REPLIES,
    LABEL_REQUESTS,
    PREDICTIONS,
    Record,
)
from stream_al.monitor.estimate import Estimate
from stream_al.settings import make_settings


class Pushed(NamedTuple):
    """What became of one event.

    Attributes
    ----------
    label : str or None
        Most probable label; None while nothing was learned.
    probabilities : dict of str to float
    request : dict or None
        The label request, as a message, when the rule asks about this event.
    batch : tuple of dict
        With ``query.window``: the requests about events of the block that this one ended.
    """

    label: str | None
    probabilities: dict[str, float]
    request: dict[str, Any] | None
    batch: tuple[dict[str, Any], ...] = ()


class ActiveStream:
    """A streaming active learner in this process.

    Parameters
    ----------
    labels : sequence of str
        Labels that people may give; open when empty.
    budget : float
        Labels per event.
    settings : tables of settings
        As in the configuration file, for example ``query={"overlap": 2}, model={"name": "pool"}``.

    Raises
    ------
    ConfigurationError
        A setting is unknown or out of range.

    Examples
    --------
    >>> stream = ActiveStream(labels=["even", "odd"], budget=0.5)
    >>> for number in range(40):
    ...     pushed = stream.push({"last_bit": number % 2})
    ...     if pushed.request:
    ...         stream.answer(pushed.request, "odd" if number % 2 else "even")
    >>> stream.push({"last_bit": 1}).label
    'odd'
    """

    def __init__(
        self, labels: Sequence[str] = (), budget: float = 0.05, **settings: Mapping[str, Any]
    ) -> None:
        tables: dict[str, Any] = {
            **settings,
            "task": {"labels": tuple(labels), "open_labels": not labels, **settings.get("task", {})},
            "query": {"budget": budget, **settings.get("query", {})},
        }
        self.log = MemoryLog()
        self.engine = build_engine(make_settings(tables), self.log)
        self.engine.tick()  # joins the log
        self._pushed = 0

    def push(
        self,
        features: Mapping[str, Any] | None = None,
        *,
        text: str | None = None,
        vector: Sequence[float] | None = None,
        event_id: str | None = None,
    ) -> Pushed:
        """Score one event, and ask for its label when the rule says so.

        Raises
        ------
        InvalidMessage
            The event is not valid; nothing was scored.
        """
        event: dict[str, Any] = {"event_id": event_id or f"event-{self._pushed}"}
        for name, value in (("features", features), ("text", text), ("vector", vector)):
            if value is not None:
                event[name] = dict(value) if isinstance(value, Mapping) else value
        self._pushed += 1
        self.log.append(EVENTS, None, orjson.dumps(event))
        tick = self.engine.tick()
        if not tick.committed:
            tick = self.engine.tick()  # an invalid first event is held back for one tick
        if refused := self._drain(DEAD_LETTERS):
            error = refused[-1]["error"]
            raise InvalidMessage(error["code"], error["message"], error["where"])
        requests, (prediction,) = self._drain(LABEL_REQUESTS), self._drain(PREDICTIONS)
        self.log.truncate(EVENTS, 0, self.log.bounds(EVENTS, 0)[1])
        request = requests.pop() if prediction["asked"] else None  # those of a block's end come first
        return Pushed(prediction["label"], prediction["probabilities"], request, tuple(requests))

    def answer(self, request: Mapping[str, Any], label: str, annotator_id: str = "me") -> None:
        """Answer a request, now or much later; it is learned at once.

        Raises
        ------
        InvalidMessage
            The label was not offered, or the request is not one of this stream's; nothing was learned.
        """
        reply = {
            "kind": "reply",
            "reply_id": f"{request['request_id']}/{annotator_id}",
            "ticket": request["ticket"],
            "label": label,
            "annotator_id": annotator_id,
        }
        value = orjson.dumps(reply)
        now = max(self.engine.learner.now, request["asked_at"])
        refusal = self.engine.learner.refusal(Record(LABEL_REPLIES, 0, 0, now, None, value))
        if refusal is not None:
            raise refusal
        self.log.append(LABEL_REPLIES, None, value)
        self.engine.fold_arrived()
        self.log.truncate(LABEL_REPLIES, 0, self.engine.learner.position)

    def accuracy(self) -> Estimate | None:
        """Return the honest estimate with its interval; None while there are too few answers."""
        found = self.engine.learner.accuracy()
        return None if found.withheld or not found.hajek.shown else found.hajek

    def _drain(self, topic: str) -> list[dict[str, Any]]:
        first, end = self.log.bounds(topic, 0)
        records = self.log.tail(topic, 0, first, end - first)
        self.log.truncate(topic, 0, end)
        return [orjson.loads(record.value) for record in records]
