"""Who takes part in the label-efficiency benchmark, and one run of one of them.

Every entrant exists twice: around the default pool, and around one logistic regression by SGD. Within such
a group all learn as many labels as `ranked` did, so `ranked` runs first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.label_peers import EntropySampler, MakeSampler, SplitSampler, tuned_run
from benchmarks.label_streams import Stream, make_stream
from stream_al.annotators import Annotators, Delay
from stream_al.comparison import matched_random
from stream_al.monitor.accuracy import pr_auc
from stream_al.settings import Settings, make_settings
from stream_al.simulate import Run, Simulation

SCHEMA = 1
MODELS = {
    "pool": "pool",
    "sgd": "sklearn:sklearn.linear_model.SGDClassifier?"
    "loss=log_loss&learning_rate=constant&eta0=0.05&alpha=0.0001",
}
DELAYS = {"none": ("none", 0.0), "late": ("lognormal:500,1", 0.2)}
"""Delay of the answers in events, and the share of requests that nobody ever answers."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """One way to ask, around one model.

    Attributes
    ----------
    name : str
        ``HOW`` around the pool, ``HOW/sgd`` around the logistic regression.
    how : str
        One of ``HOWS``.
    model : str
        One of ``MODELS``.
    """

    name: str
    how: str
    model: str

    @property
    def reference(self) -> str:
        """Name of the entrant whose number of learned labels this one has to match."""
        return _name("ranked", self.model)


@dataclass(frozen=True, slots=True)
class How:
    """A way to ask in one line, and the library without which it cannot run."""

    meaning: str
    needs: str | None = None


HOWS = {
    "ranked": How("our rule on its ledger"),
    "random": How("a simple random sample of as many labels"),
    "random_paced": How("random sampling at the ledger's own pace, head start included"),
    "split": How("`split` of Žliobaitė et al. on our ledger"),
    "skactiveml_split": How("scikit-activeml's `Split`, its budget corrected with hindsight", "skactiveml"),
    "river_entropy": How("river's `EntropySampler`, its discount corrected with hindsight", "river"),
}


def _name(how: str, model: str) -> str:
    return how if model == "pool" else f"{how}/{model}"


ENTRANTS = {_name(how, model): Entrant(_name(how, model), how, model) for model in MODELS for how in HOWS}


@dataclass(frozen=True, slots=True)
class Cell:
    """Terms under which entrants are compared."""

    stream: str
    seed: int
    budget: float
    delay: str

    def settings(self, model: str) -> Settings:
        """Return the engine's settings: nothing is known at the start, not even the classes."""
        return make_settings(
            {
                "seed": self.seed,
                "query": {"budget": self.budget},
                "task": {"open_labels": True},
                "model": {"name": MODELS[model]},
                "outputs": {"predictions": "none"},
            }
        )

    def simulation(self, stream: Stream, model: str) -> Simulation:
        """Return the simulation of these terms, not yet run."""
        delay, no_answer = DELAYS[self.delay]
        people = Annotators(Delay.parse(delay, self.seed), no_answer, 0.0, self.seed)
        return Simulation(stream.table(), self.settings(model), people)


def missing_library(name: str) -> str | None:
    """Return the library that an entrant needs and that is not installed."""
    needs = HOWS[ENTRANTS[name].how].needs
    return needs if needs is not None and find_spec(needs) is None else None


def run_entrant(cell: Cell, name: str, wanted: int | None, data: Path | None = None) -> dict[str, Any]:
    """Run one entrant and return its record, JSON values.

    Parameters
    ----------
    cell : Cell
    name : str
        One of ``ENTRANTS``.
    wanted : int or None
        Labels that the reference learned; None for the reference itself.
    data : Path, optional
        Folder of the streams that are read from files.
    """
    entrant = ENTRANTS[name]
    stream = make_stream(cell.stream, cell.seed, data)
    simulation = cell.simulation(stream, entrant.model)
    started = time.process_time()
    run, search = _RUNS[entrant.how](simulation, wanted)
    return {
        "schema": SCHEMA,
        "stream": cell.stream,
        "seed": cell.seed,
        "budget": cell.budget,
        "delay": cell.delay,
        "entrant": name,
        "events": run.events,
        "classes": stream.classes,
        **_measures(run),
        "wanted": run.learned if wanted is None else wanted,
        **search,
        "seconds": round(time.process_time() - started, 2),
    }


def _measures(run: Run) -> dict[str, Any]:
    positive, scores = run.positive_truth, run.positive_probability
    return {
        "kappa": run.confusion.kappa,
        "accuracy": run.confusion.accuracy,
        "balanced": run.confusion.balanced_accuracy,
        "log_loss": run.calibration.log_loss if run.calibration.events else None,
        "ece": run.calibration.ece if run.calibration.events else None,
        "pr_auc": None if positive is None or scores is None else pr_auc(positive, scores),
        "asked": run.asked,
        "learned": run.learned,
        "share": run.asked / run.events,
        "worst_excess": run.worst_excess,
    }


Found = tuple[Run, dict[str, Any]]


def _ranked(simulation: Simulation, wanted: int | None) -> Found:
    return simulation(), {}


def _split(simulation: Simulation, wanted: int | None) -> Found:
    terms = simulation.settings
    settings = make_settings({**terms.model_dump(), "query": {**terms.query.model_dump(), "policy": "split"}})
    return Simulation(simulation.table, settings, simulation.people, simulation.plan)(), {}


def _random(simulation: Simulation, wanted: int | None) -> Found:
    return matched_random(simulation, wanted or 0), {}


def _random_paced(simulation: Simulation, wanted: int | None) -> Found:
    return matched_random(simulation, wanted or 0, paced=True), {}


def _peer(make: MakeSampler) -> Callable[[Simulation, int | None], Found]:
    def run(simulation: Simulation, wanted: int | None) -> Found:
        tuned = tuned_run(simulation, make, wanted or 0)
        return tuned.run, {"knob": tuned.knob, "tries": tuned.tries, "reached": tuned.reached}

    return run


_RUNS: dict[str, Callable[[Simulation, int | None], Found]] = {
    "ranked": _ranked,
    "random": _random,
    "random_paced": _random_paced,
    "split": _split,
    "skactiveml_split": _peer(SplitSampler),
    "river_entropy": _peer(EntropySampler),
}
