"""A configuration from a file: labels as they stand, a rare class noticed, everything explained."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np

from stream_al.datasets import infer_labels
from stream_al.errors import ConfigurationError, DataError
from stream_al.settings import Settings, load_settings, make_settings
from stream_al.table import Table

RARE = 0.05
"""Share of a class below which the task is taken for a search for it."""
MOST_LABELS = 100
KAFKA = "kafka"
"""What stands in the place of a file's name where the log is not a file."""
PARTITIONS = 12
"""Of new topics on Kafka: so many processes can share the events; many numbers divide it evenly."""

_TEMPLATE = """\
# Made by `stream-al init` from {source} ({rows} rows, {features} features).
# Everything that is not set has a default: see `stream-al config show`.
# Any key can also come from the environment: STREAM_AL__QUERY__BUDGET=0.02.

[task]
name = {name}
# What people may answer, in the order in which they see it.
labels = {labels}
# true: answers may bring labels that are not listed.
open_labels = false
{positive}
# One or two sentences that annotators see with every request.
# guidelines = "..."

[query]
# Labels per event: {bound}.
budget = {budget}
# Answers wanted per request, from different people; each costs a token.
overlap = 1

[model]
# Also "river:<dotted.path>", "sklearn:<dotted.path>" (partial_fit), "refit:<dotted.path>".
name = "pool"
# How much more an answer of a class that has few counts: "none", "sqrt", "balanced".
{weight}

{log}
[http]
# Another host than loopback needs a token: set token_file, or STREAM_AL__HTTP__TOKEN.
host = "127.0.0.1"
port = 8420

# Tickets carry a request's facts to people and back. Without a key they are guarded against accidents
# only; make one with `openssl rand -hex 32` and keep it out of this file:
#   STREAM_AL__TICKET_KEYS__K1=...
"""

_SQLITE = """\
[log]
# One file; `-wal`, `-shm` and `.lock` files stand beside it. Keep it on a local disk.
path = {path}
# Old events, predictions and requests go when the file is larger or they are older; answers stay.
max_bytes = 10_737_418_240
max_age_seconds = 604_800

"""

_KAFKA = """\
[log]
kind = "kafka"
# Of events, predictions and requests: so many processes can share the work. The topics decide it.
partitions = {partitions}
# All topics begin with it; another one is another stream. It is part of every ticket.
prefix = "stream-al."
# Age at which the topics made by `stream-al topics create` forget events, predictions and requests;
# answers stay.
max_age_seconds = 604_800

[kafka]
# host:port of some brokers.
bootstrap = ["localhost:9092"]
# The processes that share the events.
group = "stream-al"
# Set it where several processes run, or where restarts should be fast: the same at every start of this one
# (pod name, number in the compose file), different from its siblings'. In the environment, mostly:
#   STREAM_AL__KAFKA__INSTANCE_ID=$HOSTNAME
# instance_id = "stream-al-0"
# Where the group's very first start begins: "earliest", "latest", or a time such as 2026-01-31T00:00:00Z.
# Never used again: from then on the group goes on where it stopped.
start = "earliest"
# Of topics to be made. Below 3, the restart of a broker may double outputs: 1 is for trying out.
replication_factor = 3
# Else plain text, without credentials: "SSL", "SASL_PLAINTEXT", "SASL_SSL"; then sasl_mechanism,
# sasl_username, ssl_cafile. The password is better kept out of this file: sasl_password_file, or
# STREAM_AL__KAFKA__SASL_PASSWORD.
# security_protocol = "SASL_SSL"

[engine]
# Events a transaction at most: a transaction costs some 20 ms whatever it holds.
max_batch = 2000

"""


def configuration(table: Table, source: Path, label: str, budget: float, log: str) -> str:
    """Return the text of a configuration file for a table's task.

    Parameters
    ----------
    table : Table
    source : Path
        Where it was read from.
    label : str
    budget : float
        Labels per event.
    log : str
        The log's file, or ``"kafka"``.

    Raises
    ------
    DataError
        The label column holds too many values to be classes.
    """
    labels = infer_labels(table)
    if len(labels) > MOST_LABELS:
        raise DataError(
            f"{source}: column {label!r} holds {len(labels)} different values; expected classes, at most "
            f"{MOST_LABELS}; name another label column"
        )
    if log == KAFKA:
        kept, partitions = _KAFKA.format(partitions=PARTITIONS), PARTITIONS
    else:
        kept, partitions = _SQLITE.format(path=json.dumps(log, ensure_ascii=False)), 1
    terms = make_settings({"query": {"budget": budget}, "log": {"partitions": partitions}})
    return _TEMPLATE.format(
        source=json.dumps(str(source)),
        rows=table.n,
        features=len(table.feature_names) + (table.texts is not None),
        name=json.dumps(_task_name(table.name)),
        labels=json.dumps(list(labels), ensure_ascii=False),
        positive=_positive(table),
        weight=_class_weight(table),
        bound=terms.budget().bound(),
        budget=repr(budget),
        log=kept.rstrip("\n") + "\n",
    )


def _task_name(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)[:64] or "task"


def _positive(table: Table) -> str:
    """Return the lines about the class that matters: set when the rarest one is rare."""
    name, share = _rarest(table)
    if share < RARE:
        return f"# The class to be found: {100 * share:.2g} % of the rows.\npositive = {name}"
    return f"# The class to be found, if one is rare and matters.\n# positive = {name}"


def _class_weight(table: Table) -> str:
    """Return the line about class weights: set where a class is rare, which is where they paid."""
    return 'class_weight = "sqrt"' if _rarest(table)[1] < RARE else '# class_weight = "none"'


def _rarest(table: Table) -> tuple[str, float]:
    """Return the rarest label as a string of TOML, and its share of the rows."""
    counts = np.bincount(table.label_codes[table.label_codes >= 0], minlength=len(table.label_names))
    present = np.flatnonzero(counts)
    rarest = int(present[counts[present].argmin()])
    return json.dumps(table.label_names[rarest], ensure_ascii=False), float(counts[rarest] / counts.sum())


def write_configuration(path: Path, text: str) -> Settings:
    """Write the file and return the settings that it gives, read back.

    Raises
    ------
    ConfigurationError
        It cannot be written, or a value is out of range: then nothing is written.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        try:
            settings = load_settings(draft, serving=True)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}); name another --out"
        ) from error
    return settings


def commands(
    source: Path, label: str, text: str | None, time: str | None, log: str, drop: tuple[str, ...] = ()
) -> list[str]:
    """Return what to type next, so that the file is read as it was now."""
    columns = "".join(
        f" --{option} {shlex.quote(name)}"
        for option, name in (
            ("label", label),
            ("text", text),
            ("time", time),
            ("drop", ",".join(drop) or None),
        )
        if name is not None
    )
    file = shlex.quote(str(source))
    topics = f"stream-al topics create --partitions {PARTITIONS}    # on the brokers"
    return [
        f"stream-al simulate {file}{columns}    # what would it have cost, and found?",
        *([topics] if log == KAFKA else []),
        "stream-al check                        # is everything in order?",
        "stream-al serve                        # the service; then, in other terminals:",
        f"stream-al annotator --answers {file} --label {shlex.quote(label)}",
        "stream-al label                        # or answer yourself",
        f"stream-al produce {file}{columns} --rate 50    # as events would come in; all at once without",
    ]
