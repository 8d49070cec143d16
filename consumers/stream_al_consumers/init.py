"""A configuration from a file: labels as they stand, a rare class noticed, everything explained."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np

from stream_al.datasets import infer_labels
from stream_al.errors import ConfigurationError, DataError
from stream_al.settings import Settings, load_settings
from stream_al.table import Table

RARE = 0.05
"""Share of a class below which the task is taken for a search for it."""
MOST_LABELS = 100

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

[log]
# One file; `-wal`, `-shm` and `.lock` files stand beside it. Keep it on a local disk.
path = "stream-al.db"
# Old events, predictions and requests go when the file is larger or they are older; answers stay.
max_bytes = 10_737_418_240
max_age_seconds = 604_800

[http]
# Another host than loopback needs a token: set token_file, or STREAM_AL__HTTP__TOKEN.
host = "127.0.0.1"
port = 8420

# Tickets carry a request's facts to people and back. Without a key they are guarded against accidents
# only; make one with `openssl rand -hex 32` and keep it out of this file:
#   STREAM_AL__TICKET_KEYS__K1=...
"""


def configuration(table: Table, source: Path, label: str, budget: float) -> str:
    """Return the text of a configuration file for a table's task.

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
    return _TEMPLATE.format(
        source=json.dumps(str(source)),
        rows=table.n,
        features=len(table.feature_names) + (table.texts is not None),
        name=json.dumps(_task_name(table.name)),
        labels=json.dumps(list(labels), ensure_ascii=False),
        positive=_positive(table),
        bound=Settings(query={"budget": budget}).budget().bound(),  # type: ignore[arg-type]  # pydantic builds it
        budget=repr(budget),
    )


def _task_name(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)[:64] or "task"


def _positive(table: Table) -> str:
    """Return the lines about the class that matters: set when the rarest one is rare."""
    counts = np.bincount(table.label_codes[table.label_codes >= 0], minlength=len(table.label_names))
    present = np.flatnonzero(counts)
    rarest = int(present[counts[present].argmin()])
    share = counts[rarest] / counts.sum()
    name = json.dumps(table.label_names[rarest], ensure_ascii=False)
    if share < RARE:
        return f"# The class to be found: {100 * share:.2g} % of the rows.\npositive = {name}"
    return f"# The class to be found, if one is rare and matters.\n# positive = {name}"


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


def commands(source: Path, label: str, text: str | None, time: str | None) -> list[str]:
    """Return what to type next."""
    columns = "".join(
        f" --{option} {shlex.quote(name)}"
        for option, name in (("label", label), ("text", text), ("time", time))
        if name is not None
    )
    file = shlex.quote(str(source))
    return [
        f"stream-al simulate {file}{columns}    # what would it have cost, and found?",
        "stream-al check                        # is everything in order?",
        "stream-al serve                        # the service; then, in other terminals:",
        f"stream-al annotator --answers {file} --label {shlex.quote(label)}",
        "stream-al label                        # or answer yourself",
        f"stream-al produce {file}{columns} --rate 50    # as events would come in; all at once without",
    ]
