"""Every module can be imported, and every example in a docstring says the truth."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import stream_al
import stream_al_consumers
import stream_al_schemas

MODULES = [
    found.name
    for package in (stream_al_schemas, stream_al, stream_al_consumers)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    result = doctest.testmod(importlib.import_module(name), verbose=False)
    assert result.failed == 0


def test_there_are_some():
    """An empty list of modules would pass above."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = sum(len(t.examples) for name in MODULES for t in finder.find(importlib.import_module(name)))
    assert examples > 50
