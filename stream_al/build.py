"""From a configuration to an engine: the one place where the parts are put together."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial

from stream_al.engine import Engine, EngineOptions
from stream_al.errors import ConfigurationError
from stream_al.learner import Learner, LearnerOptions
from stream_al.log.protocol import Log
from stream_al.models.products import pin_blas_threads
from stream_al.models.registry import make_model
from stream_al.outputs import OutputWriter
from stream_al.query.batched import BatchedPolicy
from stream_al.query.block import MOST
from stream_al.query.novelty_scores import hybrid
from stream_al.query.policies import POLICIES
from stream_al.query.policy import QueryPolicy, RankedPolicy
from stream_al.query.score_context import Score
from stream_al.query.scores import SCORES
from stream_al.query_scores import QueryScores, try_score
from stream_al.settings import Settings
from stream_al.ticket import TicketOffice


def build_learner(settings: Settings) -> Learner:
    """Return an unfitted learner: fold the reply log into it, or load a base.

    BLAS is kept to one thread in this process from here on: results must not depend on the cores.
    """
    pin_blas_threads()
    task, labels, model = settings.task, settings.labels, settings.model
    options = LearnerOptions(
        labels=task.labels,
        open_labels=task.open_labels,
        max_open_labels=task.max_open_labels,
        positive=task.positive,
        accepted_for_ms=1000 * labels.accepted_for_seconds,
        organic=labels.organic,
        organic_cap=labels.organic_cap_per_class,
        column_limit=model.columns,
        scale_memory=model.scale_memory,
        encoding=settings.encoding(),
        class_weight=model.class_weight,
    )
    office = TicketOffice(settings.events_topic(), settings.secrets())
    made = [make_model(model.name, len(task.labels), settings.seed) for _ in range(1 + model.random_share)]
    return Learner(made[0], office, options, random_share=made[1] if model.random_share else None)


def build_engine(
    settings: Settings, log: Log, learner: Learner | None = None, policy: QueryPolicy | None = None
) -> Engine:
    """Return an engine on a log.

    Parameters
    ----------
    settings : Settings
    log : Log
    learner : Learner, optional
        One that has folded something already; an unfitted one otherwise.
    policy : QueryPolicy, optional
        In place of the configured one.

    Raises
    ------
    ConfigurationError
        A policy, score or model is not known.
    """
    query = settings.query
    learner = learner or build_learner(settings)
    policy = policy or make_policy(settings)
    options = EngineOptions(
        seed=settings.seed,
        max_batch=settings.engine.max_batch,
        fold_seconds=settings.engine.fold_milliseconds / 1000,
        near_duplicates=query.near_duplicates,
        encoding=settings.encoding(),
        event_map=settings.events.map,
    )
    return Engine(log, learner, policy, make_scores(settings), make_writer(settings, learner), options)


def make_writer(settings: Settings, learner: Learner) -> OutputWriter:
    """Return what turns decisions of a learner into messages."""
    return OutputWriter(
        learner,
        predictions=settings.outputs.predictions,
        overlap=settings.query.overlap,
        ttl_seconds=settings.labels.ttl_seconds,
        guidelines=settings.task.guidelines,
        suggestion_share=settings.query.suggestion_share,
        seed=settings.seed,
    )


def make_policy(settings: Settings) -> RankedPolicy:
    """Return the configured policy.

    Raises
    ------
    ConfigurationError
        There is none of that name.
    """
    window = settings.window()
    query = settings.query
    fingerprint: tuple[object, ...] = (query.score, settings.model.name, settings.task.positive)
    if query.cold_start != "none":
        fingerprint = (*fingerprint, query.cold_start)
    if settings.model.class_weight != "none":
        fingerprint = (*fingerprint, settings.model.class_weight)
    make = find_policy(query.policy)
    if window is None:
        return make(settings.budget(), settings.seed, fingerprint)
    # an open block holds classes by their number: other labels restart it
    return BatchedPolicy(settings.budget(), window, settings.seed, (*fingerprint, settings.task.labels))


def window_warning(settings: Settings) -> str | None:
    """Return what is wrong where a block of events earns more than its end can ask, else None."""
    window, budget = settings.window(), settings.budget()
    if window is None or window.unit != "events":
        return None
    a_event = budget.asks_per_event * (1.0 - budget.floor_share)
    if window.size * a_event <= MOST:
        return None
    return (
        f"query.window is {window.size} events, which earn {window.size * a_event:.3g} requests, but the end "
        f"of a block makes {MOST} at most; the rest is clipped: set query.window to at most "
        f"{int(MOST / a_event)}, or lower query.budget"
    )


def make_scores(settings: Settings) -> QueryScores:
    """Return the configured score, tried on a made-up batch.

    Raises
    ------
    ConfigurationError
        There is none of that name, it fails, or the model is no committee and it needs one.
    """
    name = settings.query.score
    score = find_score(name)
    try_score(name, score, lambda: make_model(settings.model.name, 2, settings.seed))
    return QueryScores(score, settings.seed, coverage=settings.query.cold_start == "coverage")


def find_policy(name: str) -> type[RankedPolicy]:
    """Return a policy by its name.

    Raises
    ------
    ConfigurationError
        There is none of that name.
    """
    if name in POLICIES:
        return POLICIES[name]
    raise ConfigurationError(f"query.policy is {name!r}; {expected(name, POLICIES)}")


def find_score(name: str) -> Score:
    """Return a score by its name, with its alpha for `hybrid`, or by the dotted path ``mypkg.mod:score``.

    Raises
    ------
    ConfigurationError
        There is none of that name, or alpha is no share.
    """
    if name in SCORES:
        return SCORES[name]
    module, _, attribute = name.partition(":")
    if module == "hybrid":
        return partial(hybrid, alpha=_share(name, attribute))
    if module and attribute.isidentifier():
        try:
            found: Callable[..., object] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"query.score {name!r} cannot be imported: {error}") from error
        return found  # type: ignore[return-value]  # the user's promise; check_score tells
    raise ConfigurationError(f"query.score is {name!r}; {expected(module, SCORES)} or mypkg.mod:score")


def _share(name: str, text: str) -> float:
    """Return alpha, the share of uncertainty in `hybrid`."""
    try:
        alpha = float(text)
    except ValueError:
        alpha = -1.0
    if not 0.0 <= alpha <= 1.0:
        raise ConfigurationError(
            f"query.score is {name!r}; expected hybrid:ALPHA, the share of uncertainty, from 0 to 1"
        )
    return alpha


def expected(name: str, known: Iterable[str]) -> str:
    """Return what a message says of a name that is not known.

    >>> expected("entropie", ["entropy", "margin"])
    "did you mean 'entropy'? Expected one of entropy, margin"
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    return (f"did you mean {near[0]!r}? E" if near else "e") + f"xpected one of {', '.join(names)}"
