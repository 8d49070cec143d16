"""The engine: one tick is one commit; what a tick decided is adopted only after the log has taken it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import orjson
import pytest
from support.engines import (
    Clock,
    answer,
    feed,
    make_engine,
    make_learner,
    outputs,
    predictions,
    requests,
    settle,
    trained,
    truthful_replies,
    written,
)
from support.messages import START_MS, gaussian_events, office, organic, truth_of

from stream_al.engine import Engine, sample_probability
from stream_al.errors import CommitLost, LogError, LogUnreachable, WrongTopic
from stream_al.learner import HOUR_MS
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import DEAD_LETTERS, EVENTS, LABEL_REPLIES, Batch, Output, Progress, Record
from stream_al.mapping import EventMap
from stream_al.query.ledger import Budget
from stream_al.query.score_context import ScoreContext
from stream_al.query_scores import QueryScores
from stream_al_schemas import LabelRequest, Prediction, Sample

ALL = Budget(1.0, credit=0.0)


class LosingLog(MemoryLog):
    """Loses, or refuses, the commits that it is told to, and keeps what was offered."""

    fails: Sequence[Exception] = ()
    commits = 0

    def commit(self, batch: Batch, outputs: Sequence[Output], progress: Mapping[int, Progress]) -> None:
        self.commits += 1
        if self.fails:
            error, *self.fails = self.fails
            self._fence = None
            raise error
        super().commit(batch, outputs, progress)


def invalid(n: int) -> list[bytes]:
    return [b'{"event_id": "bad%d"}' % i for i in range(n)]


def tick_through(engine: Engine) -> None:
    """Tick on also where records are held back, which commits nothing."""
    for _ in range(15):
        engine.tick()


# ---- messages --------------------------------------------------------------------------------------


def test_messages_are_those_of_the_schemas():
    log, _ = trained()
    for prediction in predictions(log):
        Prediction.model_validate(prediction)
    for request in requests(log):
        LabelRequest.model_validate(request)
    samples = [value for value in written(log, LABEL_REPLIES) if b'"sample"' in value]
    assert len(samples) >= 256
    for value in samples:
        Sample.model_validate(orjson.loads(value))


def test_an_unfitted_model_says_nothing():
    log = MemoryLog(clock=Clock())
    feed(log, gaussian_events(1))
    settle(make_engine(log))
    [prediction] = predictions(log)
    assert "label" in prediction
    assert prediction["label"] is None
    assert set(prediction["probabilities"].values()) == {round(1 / 3, 6)}
    assert prediction["uncertainty"] == 1.0


def test_people_see_nothing_that_would_bias_them():
    log, _ = trained()
    for request in requests(log):
        assert not {"suggestion", "propensity", "channel", "probabilities", "label"} & request.keys()


def test_a_suggestion_is_shown_by_its_own_coin_and_recorded():
    log, engine = trained(suggestion_share=1.0, budget=Budget(0.5))
    feed(log, gaussian_events(400, seed=7))
    settle(engine)
    for request in requests(log):
        ticket = engine.learner.office.verify(request["ticket"])
        assert ticket.suggestion_shown == ("suggestion" in request)
        assert ticket.suggestion_shown == (ticket.served is not None and ticket.channel == "chosen")


@pytest.mark.parametrize(("which", "expected"), [("all", 300), ("asked", None), ("none", 0)])
def test_predictions_can_be_all_asked_or_none(which, expected):
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, predictions=which)
    feed(log, gaussian_events(300))
    settle(engine)
    assert len(predictions(log)) == (len(requests(log)) if expected is None else expected)
    assert engine.states[0].events == 300


def test_tickets_carry_what_the_partition_had_asked():
    log, engine = trained(budget=Budget(0.3))
    total = 0.0
    for number, request in enumerate(requests(log), 1):
        ticket = engine.learner.office.verify(request["ticket"])
        total += 1.0 / ticket.propensity
        assert ticket.totals.asked == number
        assert ticket.totals.inverse_propensity == pytest.approx(total)
    state = engine.states[0]
    assert state.asked == len(requests(log))
    assert state.inverse_propensity == pytest.approx(total)


# ---- asking ----------------------------------------------------------------------------------------


def test_a_retry_is_scored_and_not_asked_again():
    log = MemoryLog(clock=Clock())
    event = gaussian_events(1)[0]
    engine = make_engine(log, budget=ALL)
    feed(log, [event, event])
    settle(engine)
    feed(log, [event])
    settle(engine)
    assert [p["asked"] for p in predictions(log)] == [True, False, False]
    assert len(requests(log)) == 1


def test_a_copy_of_what_was_asked_is_left_to_the_floor():
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, budget=Budget(0.5))
    settle(engine)
    answer(log, [organic(event, truth_of(event)) for event in gaussian_events(20, seed=3)])
    copies = [{**gaussian_events(1)[0], "event_id": f"copy{i}"} for i in range(400)]
    feed(log, gaussian_events(50, seed=5))
    settle(engine)
    feed(log, copies)
    settle(engine)
    asked = [r for r in requests(log) if r["event"]["event_id"].startswith("copy")]
    channels = [engine.learner.office.verify(r["ticket"]).channel for r in asked]
    assert channels.count("chosen") <= 1
    assert channels.count("floor") >= 5


def test_before_any_column_is_known_nothing_is_a_copy():
    """The first batch finds no scale to compare by; the head start must not wait for it."""
    log = MemoryLog(clock=Clock())
    feed(log, gaussian_events(15))
    settle(make_engine(log, budget=Budget(0.05)))
    assert len(requests(log)) == 15


@pytest.mark.parametrize("paused", [{"chosen_asks": False}, {"floor_asks": False}])
def test_asking_can_be_paused_while_scoring_goes_on(paused):
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, budget=Budget(0.5), near_duplicates=False)
    engine.tick()
    answer(log, [orjson.dumps({"schema_version": 1, "kind": "control", **paused})])
    feed(log, gaussian_events(500))
    settle(engine)
    assert len(predictions(log)) == 500
    channels = {engine.learner.office.verify(r["ticket"]).channel for r in requests(log)}
    assert channels == ({"floor"} if "chosen_asks" in paused else set())
    assert engine.states[0].ledger.balanced()


# ---- time, partitions, records of another shape ------------------------------------------------------


def test_log_time_never_runs_backwards_and_an_hour_ahead_at_most():
    log = MemoryLog(clock=Clock())
    engine = make_engine(log)
    times = [START_MS, START_MS - 10_000, START_MS + 9_000 * HOUR_MS, START_MS + 5]
    for event, when in zip(gaussian_events(4), times, strict=True):
        log.append(EVENTS, None, orjson.dumps(event), timestamp_ms=when)
    settle(engine)
    found = [p["predicted_at"] for p in predictions(log)]
    assert found == [START_MS, START_MS, START_MS + HOUR_MS, START_MS + HOUR_MS]


def test_partitions_have_their_own_books_and_one_model():
    log = MemoryLog(partitions=3, clock=Clock())
    budget = Budget(0.2, credit=20.0, partitions=3)
    engine = make_engine(log, budget=budget)
    feed(log, gaussian_events(900))
    settle(engine)
    answer(log, [r for p in range(3) for r in truthful_replies(requests(log, p))])
    feed(log, gaussian_events(300, seed=1))
    settle(engine)
    assert [len(predictions(log, p)) for p in range(3)] == [400] * 3
    for p, state in engine.states.items():
        assert state.ledger.balanced()
        assert state.asked == len(requests(log, p)) > 0
        assert state.ledger.spent <= state.ledger.allowance + budget.limit // 2 + budget.credit_units
        assert engine.learner.feedback(p).answers > 0
        for request in requests(log, p):
            assert engine.learner.office.verify(request["ticket"]).partition == p
    assert engine.learner.outcomes["learned"] == sum(f.answers for f in engine.learner.partitions.values())


def test_two_members_share_the_partitions_and_the_model():
    log = MemoryLog(partitions=2, clock=Clock())
    one, two = make_engine(log), make_engine(log.member())
    for engine in (one, two, one, two):
        engine.tick()
    feed(log, gaussian_events(200))
    for _ in range(5):
        one.tick()
        two.tick()
    assert [sorted(e.states) for e in (one, two)] == [[0], [1]]
    assert [len(predictions(log, p)) for p in range(2)] == [100, 100]
    for engine in (one, two):
        while engine.fold_some():
            pass
    assert one.learner.fingerprint() == two.learner.fingerprint()


def test_users_own_records_are_mapped():
    log = MemoryLog(clock=Clock())
    engine = make_engine(log, event_map=EventMap(id="key", include=("data.*",)))
    feed(log, [{"key": "k1", "data": {"x": 1.0}}, {"data": {"x": 2.0}}])
    settle(engine)
    assert [p["event_id"] for p in predictions(log)] == ["k1", "events/0/1"]


def test_samples_thin_out():
    assert [sample_probability(n) for n in (1, 256, 512, 10**9)] == [1.0, 1.0, 0.5, 0.002]
    log = MemoryLog(clock=Clock())
    feed(log, gaussian_events(3_000))
    settle(make_engine(log))
    expected = sum(sample_probability(n) for n in range(1, 3_001))
    assert abs(len(outputs(log)["samples"]) - expected) < 5 * expected**0.5


# ---- what cannot be used ------------------------------------------------------------------------------


def test_a_wrong_topic_is_noticed_before_anything_is_committed():
    log = LosingLog(clock=Clock())
    feed(log, invalid(1_000))
    engine = make_engine(log, max_batch=300)
    with pytest.raises(WrongTopic, match="1000 records hold no valid event"):
        tick_through(engine)
    assert log.commits == 0
    assert written(log, DEAD_LETTERS) == []


def test_one_valid_event_among_the_first_thousand_is_enough():
    log = MemoryLog(clock=Clock())
    feed(log, [*invalid(999), *gaussian_events(1), *invalid(2_000)])
    tick_through(make_engine(log))
    assert len(predictions(log)) == 1
    places = [orjson.loads(value)["source"]["offset"] for value in written(log, DEAD_LETTERS)]
    assert places == [*range(999), *range(1_000, 3_000)]


def test_a_few_bad_records_are_committed_once_the_log_is_idle():
    log = MemoryLog(clock=Clock())
    feed(log, invalid(10))
    engine = make_engine(log)
    ticks = [engine.tick() for _ in range(4)]
    assert [tick.dead_letters for tick in ticks] == [0, 0, 10, 0]
    assert len(written(log, DEAD_LETTERS)) == 10


def test_a_bad_reply_gets_one_dead_letter_across_a_restart():
    log = MemoryLog(clock=Clock())
    engine = make_engine(log)
    feed(log, gaussian_events(10))
    settle(engine)
    answer(log, [b"not a reply"])
    settle(engine)
    log.rebalance()
    again = make_engine(log)
    feed(log, gaussian_events(10, seed=1))
    settle(again)
    answer(log, [b"nor this"])
    settle(again)
    letters = [orjson.loads(value) for value in written(log, DEAD_LETTERS)]
    assert [letter["stage"] for letter in letters] == ["reply", "reply"]
    assert again.states[0].reply_position == again.learner.position


# ---- commits ----------------------------------------------------------------------------------------


def states(engine: Engine) -> dict[int, str]:
    return {p: engine.policy.encode(state) for p, state in engine.states.items()}


@pytest.mark.parametrize("error", [CommitLost("lost"), LogError("the disk is full")])
def test_nothing_is_adopted_until_the_log_has_taken_it(error):
    log = LosingLog(clock=Clock())
    engine = make_engine(log)
    feed(log, gaussian_events(100))
    settle(engine)
    answer(log, [b"a bad reply"])
    feed(log, gaussian_events(100, seed=1))
    before = states(engine)
    log.fails = [error]
    if isinstance(error, CommitLost):
        assert engine.tick().lost
    else:
        with pytest.raises(LogError):
            engine.tick()
    assert states(engine) == before
    settle(engine)
    assert len(predictions(log)) == 200
    assert len({r["request_id"] for r in requests(log)}) == len(requests(log)) == engine.states[0].asked
    assert len(written(log, DEAD_LETTERS)) == 1


@pytest.mark.parametrize("error", [CommitLost("lost"), LogError("the disk is full")])
def test_an_event_that_the_score_failed_on_counts_when_it_is_committed(error):
    def fails(context: ScoreContext) -> NoReturn:
        raise ZeroDivisionError("by design")

    log = LosingLog(clock=Clock())
    engine = make_engine(log)
    feed(log, gaussian_events(100))
    settle(engine)
    answer(log, truthful_replies(requests(log)))
    settle(engine)
    engine.scores = QueryScores(fails, 0)
    feed(log, gaussian_events(40, seed=1))
    log.fails = [error]
    with suppress(LogError):
        engine.tick()
    assert engine.scores.failures == 0
    settle(engine)
    assert engine.scores.failures == 40


def test_lost_commits_change_no_output():
    def run(fails: list[Exception]) -> dict[str, list[bytes]]:
        log = LosingLog(clock=Clock())
        engine = make_engine(log, max_batch=64)
        log.fails = fails
        feed(log, gaussian_events(300))
        settle(engine)
        return outputs(log)

    assert run([CommitLost("once"), CommitLost("twice")]) == run([])


def test_an_idle_engine_commits_nothing():
    log = LosingLog(clock=Clock())
    engine = make_engine(log)
    for _ in range(5):
        assert not engine.tick().committed
    assert log.commits == 0


# ---- restarts ----------------------------------------------------------------------------------------


def test_a_restart_refills_the_reservoir_and_goes_on_alike():
    def run(restart: bool) -> dict[str, list[bytes]]:
        log = MemoryLog(clock=Clock())
        engine = make_engine(log, budget=Budget(0.4))
        feed(log, gaussian_events(300))
        settle(engine)
        if restart:
            log.rebalance()
            engine = make_engine(log, budget=Budget(0.4))
        feed(log, [{**e, "event_id": f"again-{i}"} for i, e in enumerate(gaussian_events(300))])
        settle(engine)
        return outputs(log)

    assert run(restart=True) == run(restart=False)


@pytest.mark.parametrize("silent", [1, 2, 3])
def test_a_restore_that_was_interrupted_is_done_again_before_anything_else(silent):
    class SilentLog(MemoryLog):
        reads_left = 0

        def tail(self, topic: str, partition: int, from_offset: int, max_records: int) -> list[Record]:
            self.reads_left -= 1
            if self.reads_left == 0:
                raise LogUnreachable("nobody answers")
            return super().tail(topic, partition, from_offset, max_records)

    def run(reads_left: int) -> tuple[int, dict[str, list[bytes]]]:
        log = SilentLog(clock=Clock())
        engine = make_engine(log)
        feed(log, gaussian_events(200))
        settle(engine)
        answer(log, [b"a bad reply", *truthful_replies(requests(log))])
        settle(engine)
        feed(log, gaussian_events(100, seed=1))
        log.rebalance()
        member, failed = log.member(), 0
        member.reads_left = reads_left
        again = make_engine(member)
        for _ in range(8):
            try:
                again.tick()
            except LogUnreachable:
                failed += 1
        return failed, outputs(log)

    failed, found = run(silent)
    assert failed == 1
    assert found == run(0)[1]


def test_a_start_with_new_ticket_keys_reads_what_it_can():
    """Going from no key to a key must not stop a service at its old requests."""
    log = MemoryLog(clock=Clock())
    feed(log, gaussian_events(50))
    settle(make_engine(log))
    log.rebalance()
    keyed = make_engine(log, make_learner(tickets=office(k1="a secret of many bytes")))
    feed(log, gaussian_events(50, seed=1))
    settle(keyed)
    assert len(predictions(log)) == 100


def test_new_terms_keep_the_account_and_restart_the_windows():
    log, engine = trained(budget=Budget(0.3))
    old = engine.states[0]
    log.rebalance()
    other: dict[str, Any] = {"budget": Budget(0.1, capacity=4.0)}
    again = make_engine(log, **other)
    again.tick()
    new = again.states[0]
    assert new.ledger.spent == old.ledger.spent
    assert new.ledger.tokens == min(old.ledger.tokens, again.policy.budget.limit)
    assert new.ledger.balanced()
    assert (new.asked, new.events, new.recent) == (old.asked, old.events, old.recent)
    assert [w.entered for w in new.windows] == [0, 0]
