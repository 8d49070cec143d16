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

import numpy as np

from stream_al import __version__
from stream_al.errors import InvalidTicket
from stream_al.learner import Learner

PREFIX = "base-"
KEPT = 2
"""Newest bases kept."""


def identity(learner: Learner, model_name: str, seed: int) -> str:
    """Return the digest of what a base must agree on: configuration, versions, CPU type."""
    facts = [
        repr(learner.options),
        learner.office.topic,
        learner.office.key_ids,
        model_name,
        seed,
        __version__,
        *(version(library) for library in ("numpy", "scipy", "scikit-learn", "river")),
        platform.machine(),
        platform.processor(),
    ]
    return blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()


def save_base(directory: Path, learner: Learner, identity: str) -> Path | None:
    """Write a base of the learner; None where its model cannot be written safely.

    The directory appears whole or not at all: it is written beside and renamed.
    """
    dumped = learner.dump()
    if dumped is None:
        return None
    facts, arrays = dumped
    final = directory / f"{PREFIX}{learner.position:020d}"
    if final.exists():
        return final
    draft = directory / f".{final.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with (draft / "arrays.npz").open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes allow_pickle for one of them
        file.flush()
        os.fsync(file.fileno())
    text = json.dumps({"identity": identity, "digest": _digest(draft), "facts": facts})
    with (draft / "facts.json").open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.rename(draft, final)
    for old in sorted(directory.glob(f"{PREFIX}*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_base(directory: Path, learner: Learner, identity: str, not_after: int | None = None) -> int:
    """Load the newest base that fits into an unfitted learner; return its position, 0 without one.

    Parameters
    ----------
    not_after : int, optional
        Bases of a later position are passed over: the log does not reach that far (it was replaced).
    """
    for base in sorted(directory.glob(f"{PREFIX}*"), reverse=True):
        if not_after is not None and int(base.name[len(PREFIX) :]) > not_after:
            continue
        try:
            stored = json.loads((base / "facts.json").read_text(encoding="utf-8"))
            if stored["identity"] != identity or stored["digest"] != _digest(base):
                continue
            with np.load(base / "arrays.npz", allow_pickle=False) as arrays:
                learner.load(stored["facts"], dict(arrays))
        except (OSError, ValueError, KeyError, InvalidTicket):
            continue
        return learner.position
    return 0


def _digest(base: Path) -> str:
    return blake2b((base / "arrays.npz").read_bytes(), digest_size=16).hexdigest()
