"""Rounds that passed, added up in a file: chaos may be spread over as many runs as one likes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

SUMMED = (
    "kills",
    "freezes",
    "freezes_beyond_session",
    "terms",
    "broker_kills",
    "broker_pauses",
    "ended_by_themselves",
    "seconds",
    "events",
    "predictions",
    "lost",
    "doubled",
    "requests",
    "asked_twice",
    "replies",
    "learned",
    "dead_letters",
    "outputs_repeated",
)


class Totals:
    """The rounds of a directory.

    Parameters
    ----------
    directory : Path
        Holds ``chaos.json``.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "chaos.json"
        self.rounds: list[dict[str, Any]] = []
        if self._path.exists():
            self.rounds = json.loads(self._path.read_text())["rounds"]

    def add(self, figures: dict[str, Any]) -> None:
        """Add a round that passed; durable on return."""
        self.rounds.append(figures)
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps({"sum": self.sum, "rounds": self.rounds}, indent=1))
        draft.replace(self._path)

    @property
    def sum(self) -> dict[str, Any]:
        """What all rounds together amount to."""
        summed: Counter[str] = Counter()
        ended: Counter[str] = Counter()
        for each in self.rounds:
            summed.update({name: each.get(name, 0) for name in SUMMED})
            ended.update(each.get("exit_codes", {}))
        return {
            "rounds": len(self.rounds),
            **{name: round(summed[name], 1) for name in SUMMED},
            "exit_codes": dict(ended),
            "stop_seconds_max": max((each.get("stop_seconds_max", 0.0) for each in self.rounds), default=0.0),
            "least_room_in_budget": min((each["least_room_in_budget"] for each in self.rounds), default=None),
        }


def table(title: str, figures: dict[str, Any]) -> str:
    """Return figures as lines for a person."""
    width = max(map(len, figures))
    rows = [f"  {name:<{width}}  {value}" for name, value in figures.items()]
    return "\n".join([title, *rows])
