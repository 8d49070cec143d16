"""Everything that can be known to be wrong without serving."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import orjson

from stream_al.build import build_learner, find_policy, make_policy, make_scores, window_warning
from stream_al.datasets import infer_labels, read_table, require_two_labels
from stream_al.errors import ConfigurationError, DataError, LogError, StreamALError
from stream_al.log.owner_lock import OwnerLock
from stream_al.log.protocol import EVENTS, Log
from stream_al.log.sqlite import SqliteLog
from stream_al.query.block import MOST, Block, Candidate
from stream_al.query.state import MARKS, MARKS_BESIDE_BLOCK, MAX_ENCODED, REMEMBERED_IDS, QueryState
from stream_al.query.window import SCALE, SIZE, ScoreWindow
from stream_al.settings import Settings
from stream_al_consumers.configuration import log_name, open_log, read_settings
from stream_al_consumers.cursor import newest
from stream_al_consumers.door import access_token, bind

NEWEST_EVENTS = 10_000
SHOWN_IDS = 5


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Literal["ok", "warning", "error"]
    what: str
    message: str


def findings(
    config: Path | None,
    log: Path | None,
    data: Path | None = None,
    label: str | None = None,
    *,
    integrity: bool = False,
) -> Iterator[Finding]:
    """Yield what was found, in the order in which ``serve`` would meet it."""
    try:
        settings = read_settings(config, log, serving=True)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            yield Finding("error", "settings", line)
        return
    yield Finding("ok", "settings", f"task {settings.task.name}, {_labels(settings)}")
    yield Finding("ok", "budget", settings.budget().bound())
    if (wasted := window_warning(settings)) is not None:
        yield Finding("warning", "window", wasted)
    for what, look in (("model", _model), ("state", _state), ("tickets", _tickets)):
        yield _looked(what, lambda look=look: look(settings))  # type: ignore[misc]  # bound in this turn
    served = False
    for finding in _log(settings, integrity=integrity):
        served = served or (finding.what, finding.level) == ("owner", "warning")
        yield finding
    if not served:  # else the port is in use by the service that runs
        yield _looked("port", lambda: _port(settings))
    if data is not None:
        yield _looked("data", lambda: _data(settings, data, label))


def _looked(what: str, look: Callable[[], str | Finding]) -> Finding:
    try:
        found = look()
    except StreamALError as error:
        return Finding("error", what, str(error))
    return found if isinstance(found, Finding) else Finding("ok", what, found)


def _labels(settings: Settings) -> str:
    task = settings.task
    shown = f"labels {', '.join(task.labels)}" if task.labels else "no labels declared"
    return f"{shown}{', open to new ones' if task.open_labels else ''}"


def _model(settings: Settings) -> str:
    query = settings.query
    build_learner(settings)
    make_scores(settings)
    find_policy(query.policy)
    more = f", window {query.window}" if query.window else ""
    more += f", cold start {query.cold_start}" if query.cold_start != "none" else ""
    positive = settings.task.positive
    score = query.score if positive is None else f"risk in place of {query.score} ({positive} is to be found)"
    return f"{settings.model.name}, policy {query.policy}, score {score}{more}"


def _state(settings: Settings) -> str:
    """Measure the largest query state that can occur."""
    policy = make_policy(settings)
    start = policy.initial()
    marks = MARKS if start.block is None else MARKS_BESIDE_BLOCK
    full = QueryState(
        start.ledger,
        windows=[ScoreWindow([SCALE] * SIZE, SIZE, 1.0) for _ in start.windows],
        marks=[(i, i) for i in range(marks)],
        recent=list(range(REMEMBERED_IDS)),
        block=start.block and Block(0, 0.0, [Candidate(i, i, i, i, i) for i in range(MOST)]),
    )
    size = len(policy.encode(full))
    if size > MAX_ENCODED:
        raise ConfigurationError(
            f"the query state may take {size} characters; expected at most {MAX_ENCODED}"
        )
    return f"at most {size} of {MAX_ENCODED} characters a partition"


def _tickets(settings: Settings) -> str | Finding:
    if settings.ticket_keys:
        return f"signed with key {next(iter(settings.ticket_keys))!r}"
    return Finding(
        "warning",
        "tickets",
        "no key is configured, which guards only against accidents; set STREAM_AL__TICKET_KEYS__K1 to the "
        "output of `openssl rand -hex 32`",
    )


def _port(settings: Settings) -> str:
    access_token(settings.http)
    with bind(settings.http):
        return f"{settings.http.host} port {settings.http.port} is free"


def _log(settings: Settings, *, integrity: bool) -> Iterator[Finding]:
    if settings.log.kind == "kafka":
        yield from _kafka(settings, integrity=integrity)
        return
    path = settings.log.path
    if settings.log.kind == "sqlite" and not path.exists():
        yield _looked("log", lambda: _new_log(path))
        return
    try:
        log = open_log(settings)
    except (LogError, ConfigurationError) as error:
        yield Finding("error", "log", str(error))
        return
    with closing(log):
        yield _looked("log", lambda: _open_log(settings, log, integrity=integrity))
        yield _looked("owner", lambda: _owner(path))
        yield _looked("event ids", lambda: _ids(log))


def _kafka(settings: Settings, *, integrity: bool) -> Iterator[Finding]:
    """Look at topics and brokers, and at the events where they can be read."""
    # imported here: only Kafka has topics to look at
    from stream_al.log.kafka_topics import check_topics
    from stream_al_consumers.kafka_options import kafka_options

    if integrity:
        yield Finding(
            "error", "log", "--integrity verifies the pages of a file; brokers check their records themselves"
        )
    try:
        found = check_topics(kafka_options(settings), settings.log.partitions)
    except (LogError, ConfigurationError) as error:
        yield Finding("error", "log", str(error))
        return
    for each in found:
        said = f"{each.subject}: found {each.found}; expected {each.expected}; {each.cure}"
        yield Finding(each.severity, "topics", said)
    if settings.kafka.start is None:
        yield Finding(
            "warning",
            "start",
            f"kafka.start is not set, so the first start of group {settings.kafka.group} will be refused; "
            'unless the group has a position, set it to "earliest", "latest" or a time',
        )
    try:
        log = open_log(settings)
    except (LogError, ConfigurationError) as error:
        yield Finding("error", "log", str(error))
        return
    with closing(log):
        yield _looked("log", lambda: f"{log_name(settings)}, {log.partitions(EVENTS)} partitions")
        yield _looked("event ids", lambda: _ids(log))


def _new_log(path: Path) -> str:
    """Try, in memory of the directory only, whether a log could be made."""
    directory = path.resolve().parent
    if not directory.is_dir():
        raise LogError(f"the log {path} cannot be made: there is no directory {directory}; create it first")
    probe = directory / f".{path.name}.check"
    try:
        with probe.open("xb"):
            probe.unlink()
    except OSError as error:
        raise LogError(
            f"the log {path} cannot be made in {directory} ({error.strerror}); make the directory writable"
        ) from error
    return f"{path} will be made, SQLite {sqlite3.sqlite_version}"


def _open_log(settings: Settings, log: Log, *, integrity: bool) -> str:
    found, wanted = log.partitions(EVENTS), settings.log.partitions
    if found != wanted:
        raise LogError(
            f"{settings.log.path} has {found} event partitions, but log.partitions is {wanted}; "
            f"set it to {found}"
        )
    if integrity and isinstance(log, SqliteLog):
        log.check_integrity()
    events = sum(log.bounds(EVENTS, p)[1] for p in range(found))
    return f"{settings.log.path}, {events} events so far{', every page verified' if integrity else ''}"


def _owner(path: Path) -> str | Finding:
    """See whether a service runs, by trying its lock for a moment."""
    lock = OwnerLock(path.resolve())
    try:
        lock.acquire()
    except LogError as error:
        return Finding("warning", "owner", str(error))
    lock.release()
    return "no service runs on it"


def _ids(log: Log) -> str | Finding:
    """Look for repeated ids among the newest events: each is scored, but asked about once at most."""
    seen: dict[str, int] = {}
    for partition in range(log.partitions(EVENTS)):
        for record in newest(log, EVENTS, partition, NEWEST_EVENTS):
            try:
                event_id = str(orjson.loads(record.value)["event_id"])
            except (orjson.JSONDecodeError, KeyError, TypeError):
                continue
            seen[event_id] = seen.get(event_id, 0) + 1
    repeated = [event_id for event_id, count in seen.items() if count > 1]
    if repeated:
        shown = ", ".join(repeated[:SHOWN_IDS])
        return Finding(
            "warning",
            "event ids",
            f"{len(repeated)} ids stand more than once among the newest events ({shown}); expected one event "
            "an id: each copy is scored, and predictions cannot be told apart",
        )
    return f"no id repeats among the newest {sum(seen.values())} events"


def _data(settings: Settings, path: Path, label: str | None) -> str:
    if label is None:
        raise DataError(f"name the label column of {path} with --label")
    table = read_table(path, label=label)
    require_two_labels(table)
    strange = [name for name in infer_labels(table) if name not in settings.task.labels]
    if strange and not settings.task.open_labels:
        raise DataError(
            f"column {label!r} of {path} holds {', '.join(map(repr, strange[:10]))}; expected one of "
            f"{', '.join(settings.task.labels)}; add what is missing to task.labels"
        )
    labels = ", ".join(infer_labels(table))
    return f"{path}: {table.n} rows, {len(table.feature_names)} features, labels {labels}"
