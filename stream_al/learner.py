"""The fold of the reply log: verify, count once, resolve votes, learn.

The model is a pure function of a prefix of ``label-replies``; ``position`` is where that prefix ends.
Every replica folds all of the log and so has the same model. No reply ever triggers an ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_al.answers import Accuracy, AnswerBook
from stream_al.class_weight import ClassWeight, class_weight
from stream_al.columns import Columns
from stream_al.decode import DecodedEvent, decode_reply
from stream_al.encode import EncodedInput, EncodingOptions, encode, from_message
from stream_al.errors import InvalidMessage, InvalidTicket
from stream_al.log.protocol import Record
from stream_al.models.inputs import Inputs
from stream_al.models.protocol import OnlineModel
from stream_al.models.recalibration import Recalibration
from stream_al.models.scaler import Scaler
from stream_al.monitor.alarm import ErrorAlarm
from stream_al.query.policy import Feedback
from stream_al.query.state import HOUR_MS, advanced
from stream_al.random_share import RandomShare
from stream_al.ticket import BACKLOG, BATCH, Ticket, TicketOffice
from stream_al.votes import BallotBox, resolve, voter_hash
from stream_al_schemas import Control, LabelReply, Sample

F64 = NDArray[np.float64]
OUTCOMES = (
    "learned",
    "late",
    "vote",
    "tied",
    "duplicate",
    "surplus",
    "expired",
    "skipped",
    "unsure",
    "organic",
    "organic_capped",
    "organic_refused",
    "unknown_label",
    "foreign",
    "forged",
    "malformed",
    "invalid",
)
"""What can become of a reply. The last six are dead-lettered; ``late`` ones are learned as well."""
FOLD = 6
"""Number of this fold: raised when the same log gives another state, so that older bases are passed over."""
RARE = 0.3
"""A class with less than this part of its even share of the answers is rare."""
SUM_TOLERANCE = 1e-6
"""How far from 1 the probabilities of an event may add up; tickets and estimates rest on them."""
DELAY_RATE = 0.05
PROBES = 32
RECENT_SAMPLES = 64
"""Samples kept for scores that ask what the stream is like."""
MAX_VOTERS = 64
"""People remembered a request; further ones can only be surplus."""

Reject = Callable[[Record, InvalidMessage], None]
OnLabel = Callable[[Ticket, str, float], None]


@dataclass(frozen=True, slots=True)
class LearnerOptions:
    """What the fold depends on besides the log and the model; part of a base's identity.

    Attributes
    ----------
    labels : tuple of str
        Declared labels; others are refused unless ``open_labels``, and then beyond ``max_open_labels``:
        every class costs memory and time.
    positive : str or None
        The class that matters in a rare-class task: rare mode is on from the start.
    accepted_for_ms : int
        Hard age limit of a reply; older ones are expired.
    organic : bool
        Whether labels that nobody asked for teach the model, at most ``organic_cap`` a class.
    class_weight : str
        ``none``, ``sqrt`` or ``balanced``: how much more an answer of a rare class counts.
    """

    labels: tuple[str, ...] = ()
    open_labels: bool = False
    max_open_labels: int = 100
    positive: str | None = None
    accepted_for_ms: int = 90 * 86_400_000
    organic: bool = True
    organic_cap: int = 100_000
    column_limit: int = 1024
    scale_memory: float = 1e5
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    class_weight: ClassWeight = "none"


@dataclass(slots=True)
class PartitionFeedback:
    """Answers to the requests of one events partition."""

    answers: int = 0
    delay_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """A scored micro-batch: ``probabilities`` (m, k) as the rule sees them, ``shown`` recalibrated."""

    inputs: Inputs
    probabilities: F64
    shown: F64
    fitted: bool

    def best(self, rows: NDArray[np.int64]) -> list[int | None]:
        """Return the most probable class of these rows; None while nothing was learned."""
        if not self.fitted:
            return [None] * len(rows)
        best: list[int | None] = self.shown[rows].argmax(axis=1).tolist()
        return best


class Learner:
    """Model, scaler, columns and everything else that is a fold of ``label-replies``.

    Parameters
    ----------
    model : OnlineModel
        Unfitted.
    office : TicketOffice
        Verifies tickets.
    options : LearnerOptions
    random_share : OnlineModel, optional
        Unfitted, of the same kind: learns random asks only, to be compared with.
    on_label : callable, optional
        Called with the ticket, the label and its weight when a request's votes have become a label.
    """

    def __init__(
        self,
        model: OnlineModel,
        office: TicketOffice,
        options: LearnerOptions,
        *,
        random_share: OnlineModel | None = None,
        on_label: OnLabel | None = None,
    ) -> None:
        self.model = model
        self.office = office
        self.options = options
        self._on_label = on_label
        self.labels: list[str] = list(options.labels)
        self.position = 0
        self.now = 0
        self._last_ms = 0
        self._last_record = ""
        self.columns = Columns(options.column_limit, options.encoding.bits)
        self.scaler = Scaler(options.scale_memory)
        self.recalibration = Recalibration()
        self.ballots = BallotBox(options.accepted_for_ms)
        self.book = AnswerBook(options.positive)
        self.alarm = ErrorAlarm()
        self.random_share = None if random_share is None else RandomShare(random_share)
        self.partitions: dict[int, PartitionFeedback] = {}
        self.outcomes: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.answers_by_class: list[int] = [0] * len(self.labels)
        self.learned_by_class: list[int] = [0] * len(self.labels)
        self.organic_by_class: list[int] = [0] * len(self.labels)
        self.samples = 0
        self.recent_samples: list[EncodedInput] = []
        self.chosen_asks = True
        self.floor_asks = True
        self._open: dict[bytes, Ticket] = {}
        self._chain = b""
        self._probes: list[EncodedInput] = []
        self._grow()

    # ---- the fold -----------------------------------------------------------------------------

    def fold(self, records: Iterable[Record], reject: Reject | None = None) -> None:
        """Apply records of the reply log in their order.

        Parameters
        ----------
        records : iterable of Record
            The first one at or after ``position``.
        reject : callable, optional
            Called with each record that is no valid reply, for its dead letter.
        """
        last: Record | None = None
        for record in records:
            now = record.timestamp_ms
            self.now = advanced(self.now, self._last_ms, now) if self.now else now
            self._last_ms = now
            for request in self.ballots.due(self.now):
                self._resolve(request)
            self.ballots.forget(self.now)  # at every record, so that a fold in any chunks is the same fold
            try:
                message, ticket = self._admit(record)
            except InvalidMessage as error:
                self.outcomes[error.code if error.code in self.outcomes else "invalid"] += 1
                if reject:
                    reject(record, error)
            else:
                if isinstance(message, Sample):
                    self._observe(message)
                elif isinstance(message, Control):
                    self._obey(message)
                elif ticket is not None:
                    self._answer(message, ticket)
                else:
                    self._organic(message)
            self.position = record.offset + 1
            last = record
        if last is not None:
            self._last_record = record_digest(last)

    def refusal(self, record: Record) -> InvalidMessage | None:
        """Return why a record of the reply log is no valid reply, without folding it; None if it is."""
        try:
            self._admit(record)
        except InvalidMessage as error:
            return error
        return None

    def _admit(self, record: Record) -> tuple[LabelReply | Sample | Control, Ticket | None]:
        """Return a record's message, and its verified ticket if it has one.

        Raises
        ------
        InvalidMessage
            It cannot be used: its outcome is the error's code.
        """
        message = decode_reply(record.value)
        if not isinstance(message, LabelReply):
            return message, None
        ticket = None
        if message.ticket is not None:
            try:
                ticket = self.office.verify(message.ticket)
            except InvalidTicket as error:
                raise InvalidMessage(error.reason, str(error), "ticket") from error
            if ticket.asked_at > record.timestamp_ms + HOUR_MS:
                raise InvalidMessage(
                    "malformed",
                    f"the ticket was issued at {ticket.asked_at}, after this reply ({record.timestamp_ms})",
                    "ticket",
                )
        elif not self.options.organic:
            raise InvalidMessage(
                "organic_refused",
                "the reply has no ticket and labels.organic is false; answer a request, or allow them",
            )
        offered = ticket.labels if ticket else ()
        if message.label is not None and not self._allowed(message.label, offered):
            raise InvalidMessage(
                "unknown_label",
                f"label {message.label!r} was not offered; expected one of {list(offered) or self.labels}",
                "label",
            )
        return message, ticket

    def _observe(self, sample: Sample) -> None:
        encoded = from_message(sample.input)
        self._register(encoded)
        x = self.columns.inputs([encoded], self.scaler, pad=False)
        self.scaler.observe(x.dense[0], 1.0 / sample.q)
        self.model.observe(x, 1.0 / sample.q)
        if self.random_share is not None:
            self.random_share.model.observe(x, 1.0 / sample.q)
        self.samples += 1
        self.recent_samples = [*self.recent_samples[1 - RECENT_SAMPLES :], encoded]

    def _obey(self, control: Control) -> None:
        for label in control.add_labels or ():
            self._class_of(label)
        if control.chosen_asks is not None:
            self.chosen_asks = control.chosen_asks
        if control.floor_asks is not None:
            self.floor_asks = control.floor_asks

    def _answer(self, reply: LabelReply, ticket: Ticket) -> None:
        if self.now - ticket.asked_at > self.options.accepted_for_ms:
            self.outcomes["expired"] += 1
            return
        request = _ballot_id(ticket, ticket.channel)
        ballot = self.ballots.ballot(request, ticket.asked_at)
        voter = voter_hash(reply.annotator_id)
        if voter in ballot.voters:
            self.outcomes["duplicate"] += 1
            return
        if ballot.closed:
            if len(ballot.voters) < MAX_VOTERS:
                ballot.voters.append(voter)
            self.outcomes["surplus"] += 1
            return
        delay = max(0, self.now - ticket.asked_at)
        if not ballot.voters and ticket.channel != BACKLOG:  # how stale the stream's own questions are
            self._note_answer(ticket.partition, delay)
        if len(ballot.voters) < MAX_VOTERS:
            ballot.voters.append(voter)
        if reply.label is None:
            self.outcomes[reply.status] += 1
            return
        ballot.labels.append(reply.label)
        self._open[request] = ticket
        if len(ballot.labels) >= ticket.overlap:
            self._resolve(request)
        else:
            self.outcomes["vote"] += 1
            self.ballots.await_more(request, ticket.resolve_by)

    def _resolve(self, request: bytes) -> None:
        """Close a ballot and learn what its votes add up to."""
        ticket = self._open.pop(request, None)
        if ticket is None:
            return
        ballot = self.ballots.ballot(request, ticket.asked_at)
        ballot.closed = True
        verdict = resolve(ballot.labels, max(len(self.labels), len(ticket.labels)))
        ballot.labels = []
        if verdict is None:
            self.outcomes["tied"] += 1
            return
        delay = max(0, self.now - ticket.asked_at)
        backlog = ticket.channel == BACKLOG
        if not backlog:
            answered = self.book.enter(ticket, verdict.label, delay)
            if answered.floor and ticket.served is not None:  # before the first label nothing was predicted
                self.alarm.observe(answered.loss, self.now)
        if self.ballots.learned(_ballot_id(ticket, "chosen" if backlog else BACKLOG)):
            self.outcomes["surplus"] += 1  # asked by the stream and by hand: one event teaches one label
            return
        ballot.learned = True
        self.outcomes["learned"] += 1
        self.outcomes["late"] += delay > 1000 * ticket.ttl_seconds
        y = self._class_of(verdict.label)
        self.answers_by_class[y] += 1
        if self._on_label:
            self._on_label(ticket, verdict.label, verdict.weight)
        weight = ticket.weight * verdict.weight
        self._learn(from_message(ticket.input), y, weight, ticket)

    def _organic(self, reply: LabelReply) -> None:
        if reply.label is None or reply.event is None:
            self.outcomes[reply.status] += 1
            return
        event = DecodedEvent.of(reply.event)
        identity = blake2b(b"organic\0" + event.event_id.encode(), digest_size=16).digest()
        if self.ballots.answered(identity):
            self.outcomes["duplicate"] += 1
            return
        y = self._class_of(reply.label)
        if self.organic_by_class[y] >= self.options.organic_cap:
            self.outcomes["organic_capped"] += 1
            return
        self.ballots.ballot(identity, self.now).closed = True
        self.organic_by_class[y] += 1
        self.outcomes["organic"] += 1
        self._learn(encode(event, self.options.encoding), y, event.weight)

    def _learn(self, encoded: EncodedInput, y: int, weight: float, ticket: Ticket | None = None) -> None:
        """Learn one label: the only place where the model does. ``ticket`` is None where nobody asked."""
        self._register(encoded)
        x = self.columns.inputs([encoded], self.scaler, pad=False)
        if not self.samples:
            # a warm start: imported rows are all that is known of the scale until events flow
            self.scaler.observe(x.dense[0], 1.0)
        propensity = 1.0 if ticket is None else ticket.propensity or 1.0
        said = self._probabilities(x)[0]
        if self.model.fitted and self.learned_by_class[y]:  # of a class just met the model could say nothing
            self.recalibration.observe(said, y, propensity)
        weight_of_class = class_weight(self.options.class_weight, self.learned_by_class, y)
        if self.random_share is not None:
            if ticket is not None and ticket.channel not in (BACKLOG, BATCH):
                self.random_share.compare(x, y, said, 1.0 / propensity)
            if ticket is None or ticket.channel == "floor":
                self.random_share.learn(x, y, weight * weight_of_class)
        self.model.learn(x, y, weight * weight_of_class)
        self.learned_by_class[y] += 1
        self._chain = blake2b(
            self._chain + orjson.dumps([encoded.to_message(), y, weight]), digest_size=16
        ).digest()
        self._probes = [*self._probes[1 - PROBES :], encoded]

    def _register(self, encoded: EncodedInput) -> None:
        if self.columns.register(encoded):
            self.scaler.grow(np.array(self.columns.indicator, dtype=bool))

    def _note_answer(self, partition: int, delay_ms: int) -> None:
        known = self.partitions.setdefault(partition, PartitionFeedback())
        known.answers += 1
        if known.delay_ms is None:
            known.delay_ms = float(delay_ms)
        else:
            known.delay_ms += DELAY_RATE * (delay_ms - known.delay_ms)

    def _allowed(self, label: str, offered: Sequence[str]) -> bool:
        if label in offered or label in self.labels:
            return True
        return self.options.open_labels and len(self.labels) < self.options.max_open_labels

    def _class_of(self, label: str) -> int:
        """Return the label's class number, a new one where it was never seen."""
        if label not in self.labels:
            self.labels.append(label)
            self.answers_by_class.append(0)
            self.learned_by_class.append(0)
            self.organic_by_class.append(0)
            self._grow()
        return self.labels.index(label)

    def _grow(self) -> None:
        self.model.grow(len(self.labels))
        if self.random_share is not None:
            self.random_share.model.grow(len(self.labels))

    # ---- what it is for -----------------------------------------------------------------------

    def score(self, batch: Sequence[EncodedInput]) -> Scored:
        """Return probabilities of a micro-batch at this position; padded rows mean nothing."""
        inputs = self.columns.inputs(batch, self.scaler, pad=True)
        raw = self._probabilities(inputs)
        return Scored(inputs, raw, self.recalibration.apply(raw), self.model.fitted)

    def _probabilities(self, inputs: Inputs) -> F64:
        if not self.model.fitted:
            k = max(1, len(self.labels))
            return np.full((len(inputs.dense), k), 1.0 / k)
        proba = self.model.predict_proba(inputs)
        with np.errstate(invalid="ignore"):  # infinities of both signs in a sum
            sound = ((proba >= 0.0) & (proba <= 1.0)).all(axis=1) & (
                np.abs(proba.sum(axis=1) - 1.0) <= SUM_TOLERANCE
            )
        if not sound.all():  # a model of one's own: what it cannot say of an event, it does not know
            proba = np.where(sound[:, None], proba, 1.0 / proba.shape[1])
        return proba

    def rare_class(self) -> int | None:
        """Return the class that the `risk` score looks for, None while none is rare or it was never seen."""
        if self.options.positive is not None:
            positive = self.options.positive
            return self.labels.index(positive) if positive in self.labels else None
        counts = self.answers_by_class
        return counts.index(min(counts)) if len(counts) > 1 and self.seeks_rare() else None

    def seeks_rare(self) -> bool:
        """Return whether a class is rare: a known one, or, where all answers are alike, the next one."""
        if self.options.positive is not None:
            return True
        counts = self.answers_by_class
        k = max(2, len(counts))
        fewest = min(counts) if len(counts) == k else 0
        return (fewest + 1) / (sum(counts) + k) * k < RARE

    def feedback(self, partition: int) -> Feedback:
        """Return what the rule needs to know of the replies to one partition."""
        known = self.partitions.get(partition, PartitionFeedback())
        return Feedback(
            known.answers,
            known.delay_ms,
            self.seeks_rare(),
            self.chosen_asks,
            self.floor_asks,
        )

    def accuracy(self) -> Accuracy:
        """Return the honest estimate at this position."""
        return self.book.accuracy(self.now)

    # ---- identity and persistence -------------------------------------------------------------

    def fingerprint(self) -> str:
        """Return a digest of everything the fold has made, equal on every replica at equal position.

        A model that cannot dump itself is represented by what it learned, in order, and by what it says
        of the last 32 inputs.
        """
        digest = blake2b(digest_size=16)
        digest.update(orjson.dumps(self._facts(), option=orjson.OPT_SORT_KEYS))
        arrays = self._arrays()
        if arrays is None:
            probe = self.score(self._probes).probabilities[: len(self._probes)] if self._probes else None
            arrays = {"probe": np.zeros(0) if probe is None else probe}
        for name in sorted(arrays):
            digest.update(name.encode() + str(arrays[name].dtype).encode() + str(arrays[name].shape).encode())
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
        return digest.hexdigest()

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """Return facts (JSON values) and arrays, or None where the model cannot be written safely."""
        arrays = self._arrays()
        return None if arrays is None else (self._facts(), arrays)

    def load(self, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`dump` of a learner with equal options and model returned.

        Raises
        ------
        InvalidTicket
            An open request's key is retired; nothing was taken over.
        """
        recent = [from_message(sample) for sample in facts["recent_samples"]]  # bases of 0.1.0 had none
        self._open = {bytes.fromhex(r): self.office.verify(text) for r, text in facts["open"].items()}
        self.recent_samples = recent
        self.labels = list(facts["labels"])
        self.position, self.now, self.samples = facts["position"], facts["now"], facts["samples"]
        self._last_ms, self._last_record = facts["last_ms"], facts["last_record"]
        self.outcomes = {name: facts["outcomes"].get(name, 0) for name in OUTCOMES}
        self.answers_by_class = list(facts["answers_by_class"])
        self.learned_by_class = list(facts["learned_by_class"])
        self.organic_by_class = list(facts["organic_by_class"])
        self.partitions = {
            int(p): PartitionFeedback(answers, delay) for p, (answers, delay) in facts["partitions"].items()
        }
        self.chosen_asks, self.floor_asks = facts["asking"]
        self.columns.load(facts["columns"])
        self.ballots.load(facts["ballots"])
        self.book.load(facts["book"])
        self.alarm.load(facts["alarm"])
        self._chain = bytes.fromhex(facts["chain"])
        self._probes = [from_message(probe) for probe in facts["probes"]]
        self.recalibration.load(_part(arrays, "shown."))
        self.scaler.load(_part(arrays, "scaler."))
        self._grow()
        self.model.load(_part(arrays, "model."))
        if self.random_share is not None:
            self.random_share.load(facts["random_share"], _part(arrays, "random."))

    def _facts(self) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "position": self.position,
            "now": self.now,
            "last_ms": self._last_ms,
            "last_record": self._last_record,
            "samples": self.samples,
            "outcomes": self.outcomes,
            "answers_by_class": self.answers_by_class,
            "learned_by_class": self.learned_by_class,
            "organic_by_class": self.organic_by_class,
            "partitions": {str(p): [f.answers, f.delay_ms] for p, f in sorted(self.partitions.items())},
            "asking": [self.chosen_asks, self.floor_asks],
            "columns": self.columns.dump(),
            "ballots": self.ballots.dump(),
            "book": self.book.dump(),
            "alarm": self.alarm.dump(),
            "random_share": None if self.random_share is None else {"labels": self.random_share.labels},
            "open": {request.hex(): self.office.issue(ticket) for request, ticket in self._open.items()},
            "chain": self._chain.hex(),
            "probes": [probe.to_message() for probe in self._probes],
            "recent_samples": [sample.to_message() for sample in self.recent_samples],
        }

    def _arrays(self) -> dict[str, NDArray[Any]] | None:
        model = self.model.dump()
        if model is None:
            return None
        arrays = {f"shown.{name}": array for name, array in self.recalibration.dump().items()}
        arrays.update({f"scaler.{name}": array for name, array in self.scaler.dump().items()})
        arrays.update({f"model.{name}": array for name, array in model.items()})
        if self.random_share is not None:
            arrays.update({f"random.{name}": array for name, array in self.random_share.arrays().items()})
        return arrays


def record_digest(record: Record) -> str:
    """Return what tells one record of a log from another at the same offset of another log."""
    place = f"{record.offset}:{record.timestamp_ms}:".encode()
    return blake2b(place + record.value, digest_size=16).hexdigest()


def _ballot_id(ticket: Ticket, channel: str) -> bytes:
    """Return what a request's votes are kept under.

    The backlog's request for an event has the id of the stream's own, but no answer to it is one to the
    stream: each has its ballot.
    """
    request = bytes.fromhex(ticket.request_id.replace("-", ""))
    return blake2b(b"backlog\0" + request, digest_size=16).digest() if channel == BACKLOG else request


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
