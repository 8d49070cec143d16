"""One person's session: which request comes next, what was answered, and one step back.

An answer is held back until the next one is given, so that it can be undone; then it is appended and
counts. Nothing else is kept: what was answered stands in the reply log, and a session that is killed
loses at most the answer that it held, which is simply asked again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson

from stream_al.log.protocol import LABEL_REPLIES, Log, Record
from stream_al_consumers.open_requests import OpenRequests
from stream_al_schemas import LabelReply

REPLIES = uuid5(NAMESPACE_URL, "stream-al/label-replies")


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it is shown."""

    record: Record
    request: dict[str, Any]
    shown_at: datetime

    @property
    def identity(self) -> str:
        """The request's id."""
        found: str = self.request["request_id"]
        return found


class Session:
    """A person at a queue.

    Parameters
    ----------
    log : Log
    queue : OpenRequests
    annotator_id : str
    labels : sequence of str
        Declared ones; a request offers those known when it was made.
    open_labels : bool
        Whether new labels may be given.

    Attributes
    ----------
    question : Question or None
        What is asked now; None when the queue is empty.
    counts : Counter
        Answers by status.
    """

    def __init__(
        self, log: Log, queue: OpenRequests, annotator_id: str, labels: tuple[str, ...], open_labels: bool
    ) -> None:
        self._log = log
        self._queue = queue
        self._annotator_id = annotator_id
        self._labels = list(labels)
        self.open_labels = open_labels
        self.question: Question | None = None
        self.counts: Counter[str] = Counter(labelled=0, skipped=0, unsure=0)
        self._held: tuple[Question, LabelReply] | None = None

    @property
    def open_count(self) -> int:
        """Requests in the queue, the held one not counted."""
        return len(self._queue) - (self._held is not None)

    @property
    def holds(self) -> str | None:
        """What the held answer says; None where there is nothing to undo."""
        if self._held is None:
            return None
        reply = self._held[1]
        return reply.label if reply.label is not None else reply.status

    def labels(self) -> list[str]:
        """Return the labels for the question: those offered, and those given in this session."""
        offered = self.question.request["labels"] if self.question else []
        return list(dict.fromkeys((*offered, *self._labels)))

    def advance(self) -> bool:
        """Take the most urgent question if none is shown; return whether there is one."""
        if self.question is None:
            self._queue.refresh()
            held = self._held[0].identity if self._held else None
            for record in self._queue.best(2, self._annotator_id):
                request = orjson.loads(record.value)
                if request["request_id"] != held:
                    self.question = Question(record, request, datetime.now(UTC))
                    break
        return self.question is not None

    def answer(self, label: str) -> None:
        """Give the question's label."""
        if label not in self._labels and self.open_labels:
            self._labels.append(label)
        self._reply("labelled", label)

    def skip(self) -> None:
        """Leave the question to somebody else."""
        self._reply("skipped")

    def unsure(self) -> None:
        """Say that it cannot be told."""
        self._reply("unsure")

    def undo(self) -> bool:
        """Take the held answer back and ask again; False when there is none."""
        if self._held is None:
            return False
        self.question, reply = self._held
        self._held = None
        self.counts[reply.status] -= 1
        return True

    def flush(self) -> None:
        """Append the held answer: from here on it counts."""
        if self._held is not None:
            question, reply = self._held
            self._log.append(LABEL_REPLIES, question.record.key, reply.to_json())
            self._held = None

    def _reply(self, status: str, label: str | None = None) -> None:
        question = self.question
        if question is None:
            return
        self.flush()
        reply = LabelReply.model_validate(
            {
                "reply_id": str(uuid5(REPLIES, f"{question.identity}\0{self._annotator_id}")),
                "ticket": question.request["ticket"],
                "status": status,
                "label": label,
                "annotator_id": self._annotator_id,
                "started_at": question.shown_at.isoformat(timespec="milliseconds"),
                "replied_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "tool": "stream-al label",
            }
        )
        self._held = question, reply
        self.counts[status] += 1
        self.question = None
