"""The model of random asks: it learns those alone, changes nothing of the first, and is compared fairly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.centroid import CentroidModel
from support.messages import CLASSES, START_MS, gaussian_events, office, organic, reply, ticket

from stream_al.checkpoint import load_base, save_base
from stream_al.learner import Learner, LearnerOptions
from stream_al.log.protocol import LABEL_REPLIES, Record
from stream_al.models.pool import Pool
from stream_al.models.protocol import OnlineModel
from stream_al.random_share import paired_interval

CHANNELS = ("chosen", "floor", "chosen", "chosen")
ASKED = 60


def answers(
    channels: tuple[str, ...] = CHANNELS, keep: tuple[str, ...] = ("chosen", "floor")
) -> list[Record]:
    """Return the answers to sixty requests, of those channels that are kept."""
    found = []
    for number in range(ASKED):
        channel = channels[number % len(channels)]
        if channel in keep:
            asked = ticket(number, channel=channel, propensity=0.5 if channel == "chosen" else 0.1)
            value = reply(office().issue(asked), CLASSES[number % 2], "ann")
            found.append(Record(LABEL_REPLIES, 0, len(found), START_MS + 1000 * number, None, value))
    return found


def learner(second: OnlineModel | None, first: OnlineModel | None = None) -> Learner:
    return Learner(first or CentroidModel(), office(), LearnerOptions(labels=CLASSES), random_share=second)


def test_it_learns_what_a_learner_of_random_asks_alone_would():
    both, alone = learner(CentroidModel()), learner(None)
    both.fold(answers())
    alone.fold(answers(keep=("floor",)))
    assert both.random_share is not None
    assert both.random_share.labels == ASKED // 4
    assert isinstance(both.random_share.model, CentroidModel)
    assert both.random_share.model.counts.tolist() == alone.model.counts.tolist()


def test_the_first_model_is_the_same_with_and_without_it():
    both, alone = learner(CentroidModel()), learner(None)
    both.fold(answers())
    alone.fold(answers())
    assert both.model.dump().keys() == alone.model.dump().keys()
    for name, array in both.model.dump().items():
        np.testing.assert_array_equal(array, alone.model.dump()[name])


def test_what_nobody_asked_for_teaches_both():
    made = learner(CentroidModel())
    value = organic(gaussian_events(1)[0], CLASSES[0])
    made.fold([Record(LABEL_REPLIES, 0, 0, START_MS, None, value)])
    assert made.random_share is not None
    assert made.random_share.labels == 1
    assert made.random_share.advantage() is None, "there is no propensity to weigh it with"


def test_a_second_model_that_never_learns_is_always_wrong():
    made = learner(CentroidModel())
    made.fold(answers(channels=("chosen",)))
    assert made.random_share is not None
    found = made.random_share.advantage()
    assert found is not None
    assert (found.labels, found.random.value) == (0, 0.0)
    assert found.lower <= found.value <= found.upper


def test_a_base_brings_back_both(tmp_path: Path):
    log = answers()
    through = learner(Pool(len(CLASSES), 0), Pool(len(CLASSES), 0))
    through.fold(log)
    first, second = (
        learner(Pool(len(CLASSES), 0), Pool(len(CLASSES), 0)),
        learner(Pool(len(CLASSES), 0), Pool(len(CLASSES), 0)),
    )
    first.fold(log[:41])
    assert save_base(tmp_path, first, "same") is not None
    assert load_base(tmp_path, second, "same") is not None
    second.fold(log[41:])
    assert second.fingerprint() == through.fingerprint()
    assert second.random_share is not None
    assert through.random_share is not None
    assert second.random_share.advantage() == through.random_share.advantage()


@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(1.0, 1e4)), min_size=1, max_size=60))
def test_the_interval_holds_its_value_and_turns_with_the_sign(rows: list[tuple[float, float]]):
    difference, weights = np.array(rows).T
    low, value, high = paired_interval(difference, weights)
    assert -1.0 <= low <= value <= high <= 1.0
    turned = paired_interval(-difference, weights)
    assert turned == pytest.approx((-high, -value, -low))


def test_the_interval_holds_the_truth_of_events_asked_by_their_propensity():
    rng, held, truth = np.random.default_rng(3), 0, 0.06
    for _ in range(400):
        hard = rng.random(8_000) < 0.3
        difference = np.where(hard, rng.random(8_000) < 0.2, 0.0)  # only hard events tell the models apart
        propensity = np.where(hard, 0.1, 0.02)
        asked = rng.random(8_000) < propensity
        low, _, high = paired_interval(difference[asked], 1.0 / propensity[asked])
        held += low <= truth <= high
    assert 0.93 <= held / 400 <= 0.99
