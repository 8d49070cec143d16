"""A base: the learner at one position of the reply log, on disk, in place of the prefix before it.

A base is a directory named by its position. It holds JSON and plain arrays, never pickled objects, and a
digest of itself; one that is torn, of another configuration or of other library versions is passed over,
and an older base or the whole log is folded instead. So a base can only save time.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from stream_al import __version__
from stream_al.errors import InvalidTicket
from stream_al.learner import FOLD, Learner, record_digest
from stream_al.log.protocol import LABEL_REPLIES, Log

PREFIX = "base-"
FACTS, ARRAYS = "facts.json", "arrays.npz"
KEPT = 2
"""Newest bases kept."""


def identity(learner: Learner, model_name: str, seed: int) -> str:
    """Return the digest of what a base must agree on: configuration, versions, CPU type."""
    facts = [
        FOLD,
        repr(learner.options),
        learner.office.topic,
        learner.office.key_ids,
        model_name,
        learner.random_share is not None,
        seed,
        __version__,
        *(version(library) for library in ("numpy", "scipy", "scikit-learn", "river")),
        platform.machine(),
        platform.processor(),
    ]
    return blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()


def save_base(directory: Path, learner: Learner, identity: str) -> Path | None:
    """Write a base of the learner; None where its model cannot be written safely.

    The directory appears whole or not at all: it is written beside and renamed. Bases of another identity
    or of a later position (of a log that was replaced) go, and of the others the two newest stay.

    Raises
    ------
    OSError
        The directory cannot be written.
    """
    dumped = learner.dump()
    if dumped is None:
        return None
    facts, arrays = dumped
    final = directory / f"{PREFIX}{learner.position:020d}"
    draft = directory / f".{final.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with (draft / ARRAYS).open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes allow_pickle for one of them
        file.flush()
        os.fsync(file.fileno())
    body = json.dumps(facts)
    head = {"identity": identity, "digest": _digest(body, draft / ARRAYS)}
    with (draft / FACTS).open("w", encoding="utf-8") as out:
        out.write(json.dumps(head) + "\n" + body)
        out.flush()
        os.fsync(out.fileno())
    shutil.rmtree(final, ignore_errors=True)
    os.rename(draft, final)
    ours = [base for base in _bases(directory) if base <= final and _identity_of(base) == identity]
    for base in set(_bases(directory)) - set(ours[-KEPT:]):
        shutil.rmtree(base, ignore_errors=True)
    return final


def load_base(
    directory: Path,
    learner: Learner,
    identity: str,
    log: Log | None = None,
    *,
    not_after: int | None = None,
) -> int:
    """Load the newest base that fits into an unfitted learner; return its position, 0 without one.

    Parameters
    ----------
    log : Log, optional
        The log whose prefix the base must stand for: its record before the base's position is compared.
    not_after : int, optional
        Bases of a later position are passed over.
    """
    for base in reversed(_bases(directory)):
        if not_after is not None and int(base.name[len(PREFIX) :]) > not_after:
            continue
        try:
            head, _, body = (base / FACTS).read_text(encoding="utf-8").partition("\n")
            if json.loads(head) != {"identity": identity, "digest": _digest(body, base / ARRAYS)}:
                continue
            facts = json.loads(body)
            if log is not None and not _is_prefix_of(facts, log):
                continue
            with np.load(base / ARRAYS, allow_pickle=False) as arrays:
                learner.load(facts, dict(arrays))
        except (OSError, ValueError, KeyError, InvalidTicket):
            continue
        return learner.position
    return 0


def _is_prefix_of(facts: dict[str, Any], log: Log) -> bool:
    """Return whether the last record that was folded stands in this log where it stood then."""
    position = facts["position"]
    records = log.tail(LABEL_REPLIES, 0, position - 1, 1) if position else []
    return bool(records) and facts["last_record"] == record_digest(records[0])


def _bases(directory: Path) -> list[Path]:
    """Return all bases, oldest position first; anything else in the directory is not ours."""
    return sorted(base for base in directory.glob(f"{PREFIX}*") if base.name[len(PREFIX) :].isdecimal())


def _identity_of(base: Path) -> str | None:
    try:
        with (base / FACTS).open(encoding="utf-8") as file:
            found = json.loads(file.readline())["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _digest(facts: str, arrays: Path) -> str:
    return blake2b(facts.encode() + arrays.read_bytes(), digest_size=16).hexdigest()
