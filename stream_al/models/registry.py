"""Models by name.

=====================================  ======================================================
``pool``                               the default: nine small experts
``river:PATH[?SETTINGS]``              a river classifier, or a function that makes one
``sklearn:PATH[?SETTINGS]``            a scikit-learn classifier with ``partial_fit``
``refit:PATH[?SETTINGS]``              any scikit-learn classifier, fitted on 300 remembered answers
``committee:N:NAME``                   N copies of one of these by online bagging, as members of a committee
``package.module:make``                your own: ``make(classes, seed) -> OnlineModel``
=====================================  ======================================================

A path is ``package.module.Name``; settings are ``name=value`` joined by ``&``. ``committee:10x6:NAME`` lets
every member learn each answer six times on average instead of once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Any

from stream_al.errors import ConfigurationError
from stream_al.models.committee import Committee
from stream_al.models.dotted import resolve, split_settings
from stream_al.models.pool import Pool
from stream_al.models.protocol import OnlineModel

ADAPTERS = ("river", "sklearn", "refit")
"""Each is a module beside this one with a function ``NAME_model``, imported only when it is asked for:
river and scikit-learn take seconds to import, and the default needs neither."""


_COMMITTEE = re.compile(r"committee:(\d{1,3})(?:x(\d+(?:\.\d+)?))?:(.+)")
MOST_MEMBERS = 100


def make_model(name: str, classes: int, seed: int) -> OnlineModel:
    """Return a new model.

    Parameters
    ----------
    name : str
        As in the table above.
    classes : int
        Classes known at the start, 0 or more.
    seed : int
        Seed of everything random in it, 0 or more.

    Raises
    ------
    ConfigurationError
        There is no such model, or its settings do not fit.

    Examples
    --------
    >>> make_model("pool", classes=2, seed=0).classes
    2
    >>> make_model("refit:sklearn.linear_model.LogisticRegression?C=0.5", classes=3, seed=0).fitted
    False
    """
    if name == "pool":
        return Pool(classes, seed)
    if name.startswith("committee:"):
        return _committee(name, classes, seed)
    prefix, colon, rest = name.partition(":")
    if prefix in ADAPTERS and rest:
        path, settings = split_settings(rest)
        adapter = import_module(f"stream_al.models.{prefix}")
        make: Callable[[str, dict[str, Any], int, int], OnlineModel] = getattr(adapter, f"{prefix}_model")
        return make(path, settings, classes, seed)
    if colon and rest.isidentifier() and prefix not in ADAPTERS:
        model = resolve(name)(classes, seed)
        if not isinstance(model, OnlineModel):
            raise ConfigurationError(
                f"{name!r} made a {type(model).__name__} that is no OnlineModel; "
                f"stream_al.conformance.check_model says what it needs"
            )
        return model
    near = get_close_matches(prefix, ["pool", "committee", *ADAPTERS], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigurationError(
        f"there is no model {name!r}; {hint}"
        f"Expected pool, river:PATH, sklearn:PATH, refit:PATH, committee:N:NAME, or package.module:make"
    )


def _committee(name: str, classes: int, seed: int) -> Committee:
    found = _COMMITTEE.fullmatch(name)
    members, mean = (int(found[1]), float(found[2] or 1)) if found else (0, 0.0)
    if found is None or not (2 <= members <= MOST_MEMBERS and 0 < mean <= 10):
        raise ConfigurationError(
            f"model.name is {name!r}; expected committee:N:NAME with 2 to {MOST_MEMBERS} members, or "
            "committee:NxMEAN:NAME with a mean above 0 and at most 10: committee:10:pool, committee:10x6:pool"
        )
    return Committee(partial(make_model, found[3], classes), members, mean, seed)
