"""Explain: why was this event asked about, or not?

The real engine is run again over the event's partition, up to the event, at the recorded model positions;
what it decides must be what is recorded. Where the log has forgotten what that needs, an asked event is
explained from its ticket, and any other from what is left of its prediction; it says what is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import orjson

from stream_al.decode import decode_reply
from stream_al.encode import encode
from stream_al.engine import Engine
from stream_al.errors import DataError, InvalidMessage, InvalidTicket
from stream_al.explanation import Answer, Explanation, NearestRequest
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS, PREDICTIONS, Log, Output, Record
from stream_al.outputs import request_id
from stream_al.query.policy import UNSCORED, Decision, ScoredEvent, query_coins
from stream_al.query.state import QueryState, id_hash
from stream_al.query.window import SCALE
from stream_al.replay import (
    Rerun,
    Run,
    event_id_of,
    event_of,
    records_of,
    what_is_gone,
)
from stream_al.ticket import BACKLOG, BATCH, Ticket
from stream_al_schemas import LabelReply

TICKET_PREFIX = 68
"""Characters of a ticket's body that every ticket of the same request begins with, and no other's."""
_NOT_IN_A_TICKET = ("rank", "chance", "tokens", "nearest", "asked_before")
_NOT_IN_A_PREDICTION = (*_NOT_IN_A_TICKET, "probability", "propensity", "near_duplicate")


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains events of a log.

    Parameters
    ----------
    log : Log
        Only read.
    make_engine : callable
        Makes an engine with an unfitted learner on the log that it is given.
    unrecorded : str or None
        Why no model positions are on record, if the configuration has them written nowhere.
    from_beginning : bool
        Whether the first event was decided: see :class:`~stream_al.replay.Rerun`.
    advance : callable
        Called with the number of records that were played again so far, and of all up to the event.
    """

    log: Log
    make_engine: Callable[[Log], Engine]
    unrecorded: str | None = None
    from_beginning: bool = True
    advance: Callable[[int, int], None] = lambda done, total: None

    def __call__(self, event_id: str, occurrence: int = 1) -> Explanation:
        """Return why an event was asked about or not.

        Parameters
        ----------
        event_id : str
        occurrence : int
            Which event of this id, where a producer sent it again; the first is 1.

        Raises
        ------
        DataError
            Neither the event's decision nor a request for it is in the log.
        InvalidTicket
            Its request is there, but was signed with a key that is not configured.
        """
        engine = self.make_engine(self.log)
        events = find_events(self.log, engine, event_id)
        if events and occurrence > len(events):
            raise DataError(
                f"the log holds {len(events)} events with the id {event_id!r}; occurrence {occurrence} was "
                f"asked for; expected 1 to {len(events)}"
            )
        requests = self._requests(engine, event_id)
        record = events[occurrence - 1] if events else None
        found, difference, gone = None, None, self._gone(record)
        if record is not None and gone is None:
            found, difference = self._decided_again(record)
        if found is None:
            decided = gone is not None or difference is not None
            found = self._left(engine, event_id, requests, record, occurrence if decided else 0)
        if found is None:
            raise self._unknown(event_id, record)
        if record is not None and found.source == "log":
            found = _with_end(found, requests)
        floor_coin, query_coin = (coin[0] for coin in query_coins(engine.options.seed)([event_id]))
        budget = engine.policy.budget
        return replace(
            found,
            gone=gone,
            difference=difference,
            occurrence=occurrence,
            occurrences=max(1, len(events)),
            floor_coin=floor_coin,
            query_coin=query_coin,
            floor_threshold=budget.floor_share * budget.asks_per_event,
            overlap=budget.overlap,
            request_id=requests[0].request_id if requests else None,
            answers=tuple(self._answers(engine, requests)),
            batches=engine.policy.initial().block is not None,
            in_backlog=any(ticket.channel == BACKLOG for ticket in requests),
        )

    # ---- from the log -------------------------------------------------------------------------

    def _gone(self, record: Record | None) -> str | None:
        """Return why an event cannot be decided again, None where all that it needs is there."""
        if record is None:
            return "the event itself is forgotten"
        return self.unrecorded or what_is_gone(self.log, [record.partition])

    def _decided_again(self, record: Record) -> tuple[Explanation | None, str | None]:
        """Return what the engine decides again, None where the event was not decided yet, and the difference.

        Nothing is explained that is not decided as it is recorded.
        """
        partition, done = record.partition, 0
        rerun = Rerun(self.log, self.make_engine, [partition], from_beginning=self.from_beginning)
        for run in rerun.runs():
            before = [*takewhile(lambda each: each.offset < record.offset, run.records)]
            rerun.decide(run._replace(records=before))
            done += len(before)
            self.advance(done, record.offset)
            if rerun.difference is None and len(before) < len(run.records):
                found = _explained(rerun, run.position, record)
                return (found, None) if rerun.difference is None else (None, rerun.difference)
            if rerun.difference is not None:
                break
        return None, rerun.difference

    # ---- from what is left --------------------------------------------------------------------

    def _requests(self, engine: Engine, event_id: str) -> list[Ticket]:
        """Return the tickets of the requests for an event, the stream's own first."""
        office = engine.learner.office
        needle = f'"{request_id(office.topic, event_id)}"'.encode()
        tickets = [
            office.verify(orjson.loads(record.value)["ticket"])
            for partition in range(self.log.partitions(LABEL_REQUESTS))
            for record in records_of(self.log, LABEL_REQUESTS, partition)
            if needle in record.value
        ]
        return sorted(tickets, key=lambda ticket: (ticket.channel == BACKLOG, ticket.asked_at))

    def _left(
        self,
        engine: Engine,
        event_id: str,
        requests: list[Ticket],
        record: Record | None,
        occurrence: int,
    ) -> Explanation | None:
        """Return what request and prediction tell of an event's decision, None where there is neither.

        ``occurrence`` is 0 where the event was not decided: a prediction for its id is another's.
        """
        places = range(self.log.partitions(PREDICTIONS)) if record is None else [record.partition]
        predictions = [found for place in places for found in self._predictions(event_id, place)]
        here = [
            each for each in requests if record is None or _place(each) == (record.partition, record.offset)
        ]
        budget = engine.policy.budget
        floor = budget.floor_share * budget.asks_per_event
        if here and here[0].channel != BACKLOG:
            late = here[0].channel == BATCH  # asked when its block ended, and predicted before
            served = [p for _, p in predictions if late or p["predicted_at"] == here[0].asked_at]
            return _from_ticket(here[0], served[0] if served else None, floor)
        if predictions and occurrence:
            partition, prediction = predictions[min(occurrence, len(predictions)) - 1]
            return _from_prediction(partition, prediction, None if record is None else record.offset)
        return _from_ticket(here[0], None, floor) if here else None

    def _predictions(self, event_id: str, partition: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the kept predictions for an event, each with its partition."""
        needle = b'"event_id":' + orjson.dumps(event_id)
        for record in records_of(self.log, PREDICTIONS, partition):
            if needle in record.value:
                found = orjson.loads(record.value)
                if found["event_id"] == event_id:
                    yield partition, found

    def _answers(self, engine: Engine, requests: list[Ticket]) -> Iterator[Answer]:
        """Yield the answers to an event's requests in the order of the reply log."""
        if not requests:
            return
        office = engine.learner.office
        needle = office.issue(requests[0]).split(".")[1][:TICKET_PREFIX].encode()
        for record in records_of(self.log, LABEL_REPLIES, 0):
            if needle not in record.value:
                continue
            try:
                reply = decode_reply(record.value)
                if isinstance(reply, LabelReply) and reply.ticket is not None:
                    office.verify(reply.ticket)
                    yield Answer(reply.annotator_id, reply.status, reply.label, record.timestamp_ms)
            except (InvalidMessage, InvalidTicket):
                continue  # the fold has not counted it either

    def _unknown(self, event_id: str, record: Record | None) -> DataError:
        """Return the error of an event that nothing can be said about."""
        if record is None:
            kept = sum(
                end - first
                for first, end in (self.log.bounds(EVENTS, p) for p in range(self.log.partitions(EVENTS)))
            )
            return DataError(
                f"no event, prediction or label request with the event_id {event_id!r} is in the log, which "
                f"keeps {kept} events; expected an id as it stands there; look with `stream-al tail events`, "
                "check --config and --log; what retention has forgotten cannot be explained"
            )
        return DataError(
            f"the event {event_id!r} stands at offset {record.offset} of partition {record.partition}, but "
            "no prediction and no label request for it: it is not decided yet, or came before the service's "
            "first start; wait for `stream-al serve`, or start it"
        )


def find_events(log: Log, engine: Engine, event_id: str) -> list[Record]:
    """Return the records of all events with an id, partition by partition.

    Only records that hold its bytes are decoded, unless there is none: JSON can write one text in many ways.
    """
    event_map = engine.options.event_map
    for needle in (orjson.dumps(event_id)[1:-1], b""):
        found = [
            record
            for partition in range(log.partitions(EVENTS))
            for record in records_of(log, EVENTS, partition)
            if needle in record.value and event_id_of(record, event_map) == event_id
        ]
        if found:
            return found
    return []


def _explained(rerun: Rerun, position: int, record: Record) -> Explanation:
    """Decide one event by itself and note all that the rule looks at; the rerun stands right before it."""
    engine, partition = rerun.engine, record.partition
    event = event_of(record, engine.options.event_map)
    assert event is not None  # noqa: S101 - the caller found it by its id
    rerun.fold(position)
    learner, before = engine.learner, engine.states[partition]
    nearest = engine.novelty_of(partition, encode(event, engine.options.encoding)).nearest(0)
    named = nearest and NearestRequest(
        rerun.scripted.asked[partition][-nearest.age], nearest.distance, nearest.radius
    )
    failed = engine.scores.failures
    tick = rerun.decide(Run(position, partition, [record]))
    decision = tick.decided[0][2]
    scored = engine.scores.failures == failed  # a decision holds 0 in place of what no score could say
    score = decision.score if scored else UNSCORED
    free = _unrefused(engine, before, ScoredEvent(event.event_id, record.timestamp_ms, score), partition)
    if tick.late:  # it came behind the end of a block, whose requests it was compared with too
        named = None
    label, confidence = _served(_prediction_in(rerun.scripted.made))
    return Explanation(
        event.event_id,
        partition,
        record.offset,
        decision.asked,
        "log",
        channel=decision.channel if decision.asked else None,
        score=decision.score / SCALE if scored else None,
        rank=decision.rank,
        chance=free.probability,
        probability=decision.probability,
        propensity=decision.propensity,
        tokens=decision.tokens,
        scored=scored,
        asking=learner.chosen_asks and learner.floor_asks,
        floor_asking=learner.floor_asks,
        capped=decision.propensity is None and decision.tokens >= engine.policy.budget.overlap,
        near_duplicate=decision.near_duplicate,
        nearest=named,
        asked_before=id_hash(event.event_id) in before.recent,
        refused=free.asked and not decision.asked,
        model_version=position,
        decided_at=decision.now,
        predicted=label,
        confidence=confidence,
        missing=("nearest",) if tick.late else (),
    )


def _with_end(found: Explanation, requests: Sequence[Ticket]) -> Explanation:
    """Return what the end of the event's block made of it, where it was asked about then."""
    for ticket in requests:
        if ticket.channel == BATCH and _place(ticket) == (found.partition, found.offset):
            return replace(found, asked=True, channel=BATCH, propensity=ticket.propensity)
    return found


def _unrefused(engine: Engine, before: QueryState, event: ScoredEvent, partition: int) -> Decision:
    """Return what the policy decides where nothing is a near-duplicate and no id was asked before."""
    free = before.copy()
    free.recent.clear()
    feedback = engine.learner.feedback(partition)
    return engine.policy.decide(free, [event], feedback, lambda i: False, lambda i: None)[1][0]


def _prediction_in(made: Sequence[Output]) -> dict[str, Any]:
    found: dict[str, Any] = next(orjson.loads(each.value) for each in made if each.topic == PREDICTIONS)
    return found


def _served(prediction: dict[str, Any]) -> tuple[str | None, float | None]:
    """Return the label that a prediction served, and its probability."""
    label = prediction["label"]
    return label, None if label is None else prediction["probabilities"][label]


def _place(ticket: Ticket) -> tuple[int, int]:
    return ticket.partition, ticket.offset


def _from_ticket(ticket: Ticket, prediction: dict[str, Any] | None, floor: float) -> Explanation:
    """Return what a ticket says; its propensity is ``1 - (1 - floor)(1 - p)``."""
    missing = _NOT_IN_A_TICKET if prediction else ("score", *_NOT_IN_A_TICKET)
    chosen = ticket.propensity is not None and floor < 1.0
    return Explanation(
        ticket.event_id,
        ticket.partition,
        ticket.offset,
        True,
        "ticket",
        channel=ticket.channel,
        score=None if prediction is None else prediction["uncertainty"],
        probability=max(0.0, 1.0 - (1.0 - (ticket.propensity or 0.0)) / (1.0 - floor)) if chosen else None,
        propensity=ticket.propensity,
        near_duplicate=False if ticket.channel == "chosen" else None,
        model_version=ticket.model_version,
        decided_at=ticket.asked_at,
        predicted=ticket.served,
        confidence=ticket.confidence if ticket.served is not None else None,
        missing=missing,
    )


def _from_prediction(partition: int, prediction: dict[str, Any], offset: int | None) -> Explanation:
    """Return what a prediction says."""
    label, confidence = _served(prediction)
    return Explanation(
        prediction["event_id"],
        partition,
        offset,
        prediction["asked"],
        "prediction",
        score=prediction["uncertainty"],
        model_version=prediction["model_version"],
        decided_at=prediction["predicted_at"],
        predicted=label,
        confidence=confidence,
        missing=_NOT_IN_A_PREDICTION,
    )
