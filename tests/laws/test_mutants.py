"""The tests notice what they are for: thirteen one-line faults, each killed by a named test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))  # last: nothing of the package is taken from here
from benchmarks.mutants import MUTANTS, healthy, survives

pytestmark = pytest.mark.slow


def test_without_a_mutant_everything_passes():
    assert healthy()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_every_mutant_is_killed(mutant):
    assert not survives(mutant), f"{mutant.name} survived {mutant.test}"
