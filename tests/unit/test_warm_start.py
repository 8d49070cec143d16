"""Old labels before the first event: the scale is learned from them, since nothing else is there."""

from __future__ import annotations

import numpy as np
import pytest

from stream_al.annotators import Annotators, Delay
from stream_al.models.scaler import Scaler
from stream_al.settings import make_settings
from stream_al.simulate import Plan, Simulation
from stream_al.table import assemble, coded


def test_a_warm_start_is_worth_what_it_should_be():
    rng = np.random.default_rng(5)
    x = rng.normal([100.0, -3.0], [20.0, 0.1], size=(800, 2))
    side = (x[:, 0] - 100) / 20 + (x[:, 1] + 3) / 0.1 > 0
    table = assemble("t", {"a": x[:, 0], "b": x[:, 1]}, coded(["up" if s else "down" for s in side]))
    settings = make_settings({"query": {"budget": 0.01}, "task": {"open_labels": True}})
    people = Annotators(Delay.parse("none"), no_answer=0.0, noise=0.0)
    run = Simulation(table, settings, people, Plan(initial=300, holdout=0.25))()
    assert run.holdout[0][1] > 0.93
    assert run.confusion.accuracy > 0.93


def test_a_column_without_spread_says_nothing():
    scaler = Scaler()
    scaler.grow(np.zeros(1, bool))
    assert scaler.transform(np.array([[100.0]])).tolist() == [[0.0]]
    scaler.observe(np.array([100.0]), 1.0)
    assert scaler.transform(np.array([[-5.0]])).tolist() == [[0.0]]
    scaler.observe(np.array([102.0]), 1.0)
    assert scaler.transform(np.array([[102.0]]))[0, 0] == pytest.approx(1.0)
