"""A score on demand: what the model says of events that are not on the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stream_al.decode import DecodedEvent
from stream_al.encode import EncodingOptions, encode
from stream_al.outputs import DIGITS
from stream_al.query.window import SCALE
from stream_al_consumers.board import Board


class Scoring:
    """Scores as the engine does, at its position, and changes nothing.

    Parameters
    ----------
    board : Board
        Whose engine's learner and query score are asked; failures here do not count there, and what a
        score asks about novelty is 1, since no partition holds these events.
    encoding : EncodingOptions
    """

    def __init__(self, board: Board, encoding: EncodingOptions) -> None:
        self._learner = board.learner
        self._scores = board.scores.apart()
        self._encoding = encoding

    def score(self, events: Sequence[DecodedEvent]) -> list[dict[str, Any]]:
        """Return one prediction an event, without the fields of a decision; by whoever holds the engine."""
        learner = self._learner
        ids = [event.event_id for event in events]
        scored = learner.score([encode(event, self._encoding) for event in events])
        scores = self._scores.alone(learner, scored, ids)
        shown = np.round(scored.shown[: len(events)], DIGITS).tolist()
        return [
            {
                "event_id": event_id,
                "label": learner.labels[int(np.argmax(row))] if scored.fitted else None,
                "probabilities": dict(zip(learner.labels, row, strict=False)),
                "uncertainty": round(max(0, u) / SCALE, DIGITS),
                "model_version": learner.position,
            }
            for event_id, row, u in zip(ids, shown, scores, strict=True)
        ]
