"""The label-efficiency benchmark: peers decide by their own code, runs resume, figures are those by hand."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import label_entrants, labels
from benchmarks.label_entrants import ENTRANTS, Cell, missing_library, run_entrant
from benchmarks.label_peers import EntropySampler, SplitSampler, _next_knob, run_peer, tuned_run
from benchmarks.label_report import BEGIN, END, as_json, as_text, summarise, write_page
from benchmarks.label_streams import Stream, make_stream

needs_skactiveml = pytest.mark.skipif(
    find_spec("skactiveml") is None,
    reason="scikit-activeml is not installed: pip install -e '.[bench]' and run this test again",
)
SMALL = 260


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Every stream is the beginning of the phishing sites."""

    def make(name: str, seed: int, data: Path | None = None) -> Stream:
        whole = make_stream(name, seed, data)
        return Stream(name, whole.rows[:SMALL], whole.truth[:SMALL])

    monkeypatch.setattr(label_entrants, "make_stream", make)
    return make("phishing", 0)


CELL = Cell("phishing", 0, 0.1, "none")
LATE = Cell("phishing", 0, 0.1, "late")


# ---- peers ----------------------------------------------------------------------------------------


@needs_skactiveml
def test_split_decides_as_through_its_public_door():
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.stream import Split
    from skactiveml.stream.budgetmanager import SplitBudgetManager

    class Told(SkactivemlClassifier):
        """Its inputs are the probabilities."""

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: Any) -> Any:
            return X

    probabilities = np.random.default_rng(0).dirichlet([0.5, 0.5, 0.5], size=400)
    sampler = SplitSampler(0.1, seed=7)
    strategy = Split(budget_manager=SplitBudgetManager(budget=0.1, random_state=7), random_state=0)
    told = Told(classes=[0, 1, 2]).fit(None, None)
    theirs = []
    for row in probabilities:
        chosen = strategy.query(candidates=row[None], clf=told, fit_clf=False)
        strategy.update(candidates=row[None], queried_indices=chosen)
        theirs.append(len(chosen) > 0)
    ours = [sampler(row) for row in probabilities]
    assert ours == theirs
    assert 20 < sum(ours) < 80


def test_entropy_decides_as_river_does():
    from river.active import EntropySampler as Peer

    probabilities = np.random.default_rng(0).dirichlet([0.5, 0.5], size=300)

    class Told:
        def predict_proba_one(self, x: dict[int, float]) -> dict[int, float]:
            return x

    peer: Any = Peer(classifier=Told(), discount_factor=4.0, seed=3)  # type: ignore[arg-type]  # a stand-in
    sampler = EntropySampler(0.25, seed=3)
    theirs = [peer.predict_proba_one(dict(enumerate(row.tolist())))[1] for row in probabilities]
    assert [sampler(row) for row in probabilities] == theirs


class Counting:
    """Asks about every n-th event; notes how uncertain it was told to be."""

    told: list[float]

    def __init__(self, budget: float, seed: int) -> None:
        self.every, self.seen, self.told = max(1, round(1 / budget)), 0, []

    def __call__(self, probabilities: np.ndarray) -> bool:
        self.seen += 1
        self.told.append(float(probabilities.max()))
        return self.seen % self.every == 0


def test_a_peer_sees_every_event_once_and_in_order():
    """However often the engine decides a batch anew, the peer's memory is that of one walk."""
    whole = make_stream("phishing", 0)
    stream = Stream("phishing", whole.rows[:600], whole.truth[:600])  # batches are cut from event 256 on
    run, full_at = run_peer(CELL.simulation(stream, "pool"), Counting, 0.1, most=10_000)
    assert run is not None
    assert full_at == -1
    assert run.asked_rows == list(range(9, 600, 10))


def test_a_peer_learns_no_more_than_it_may(small: Stream):
    simulation = CELL.simulation(small, "pool")
    run, full_at = run_peer(simulation, Counting, 0.1, most=7)
    assert run is not None
    assert (run.asked, run.learned, full_at) == (7, 7, 70)
    assert run_peer(simulation, Counting, 0.1, most=7, earliest=71)[0] is None
    assert run_peer(simulation, Counting, 0.1, most=7, earliest=70)[0] is not None


def test_the_knob_is_found(small: Stream):
    simulation = CELL.simulation(small, "pool")
    found = tuned_run(simulation, Counting, 40)
    assert 39 <= found.run.learned <= 40
    assert round(1 / found.knob) == 6
    assert found.run.asked_rows[-1] > 0.9 * SMALL


def test_under_a_delay_only_answers_in_time_count(small: Stream):
    simulation = Cell("phishing", 0, 0.1, "late").simulation(small, "pool")
    found = tuned_run(simulation, Counting, 5)
    assert 4 <= found.run.learned <= 5
    assert found.run.asked > found.run.learned


@given(
    st.floats(1e-6, 1e2),
    st.integers(1, 500),
    st.floats(0, 1e4),
    st.floats(1e-6, 0.99),
    st.floats(1.01, 1e3),
    st.floats(0.5, 400),
    st.floats(1.0, 50),
)
def test_the_next_knob_stays_between_too_little_and_too_much(knob, wanted, got, below, above, low, ratio):
    lower, upper = knob * below, knob * above
    for low_got, high_got in ((1e-9, 1e9), (low, low * ratio), (1e-9, low), (low, 1e9)):
        assert lower < _next_knob(knob, wanted, got, (lower, low_got), (upper, high_got)) < upper


# ---- every entrant --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in ENTRANTS if ENTRANTS[n].how != "skactiveml_split"])
def test_an_entrant_learns_as_many_labels(small: Stream, name: str):
    _check_entrant(name)


@needs_skactiveml
@pytest.mark.parametrize("name", [n for n in ENTRANTS if ENTRANTS[n].how == "skactiveml_split"])
def test_a_peer_of_scikit_activeml_learns_as_many_labels(small: Stream, name: str):
    _check_entrant(name)


def _check_entrant(name: str) -> None:
    reference = run_entrant(CELL, ENTRANTS[name].reference, None)
    wanted = reference["learned"]
    found = reference if name == ENTRANTS[name].reference else run_entrant(CELL, name, wanted)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["events"], found["classes"], found["wanted"]) == (SMALL, 2, wanted)
    on_ledger = ENTRANTS[name].how in ("ranked", "split")
    if on_ledger:
        assert found["worst_excess"] <= 0  # the promise; others only learn as much in the end
    assert abs(found["learned"] - wanted) <= (6 if ENTRANTS[name].how == "split" else 1)
    assert found["share"] == found["asked"] / SMALL <= 0.1 + 25 / SMALL
    assert 0.2 < found["kappa"] < 1.0
    assert found["log_loss"] > 0
    assert 0 <= found["ece"] < 0.5


def test_late_answers_are_fewer_and_still_equal(small: Stream):
    ranked = run_entrant(LATE, "ranked", None)
    random = run_entrant(LATE, "random", ranked["learned"])
    assert ranked["learned"] < ranked["asked"]
    assert abs(random["learned"] - ranked["learned"]) <= 1


# ---- the command ----------------------------------------------------------------------------------

LITTLE = ("--streams", "phishing", "--budgets", "0.1", "--seeds", "1", "--delays", "none", "--workers", "1")


def run_main(tmp_path: Path, *more: str) -> int:
    return labels.main([*LITTLE, "--entrants", "random", "--state", str(tmp_path / "state.jsonl"), *more])


def test_a_rerun_skips_what_is_there(small: Stream, tmp_path: Path, capsys, monkeypatch):
    assert run_main(tmp_path) == 0
    state = tmp_path / "state.jsonl"
    first = state.read_text()
    assert [json.loads(line)["entrant"] for line in first.splitlines()] == ["ranked", "random"]
    monkeypatch.setattr(labels, "run_entrant", lambda *_: pytest.fail("it ran again"))
    capsys.readouterr()
    assert run_main(tmp_path, "--json") == 0
    assert state.read_text() == first
    shown = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in shown["settings"][0]["entrants"]] == ["ranked", "random"]


def test_after_an_interruption_only_the_rest_is_run(small: Stream, tmp_path: Path, monkeypatch, capsys):
    state = tmp_path / "state.jsonl"
    real = labels.run_entrant

    def interrupted(cell: Cell, name: str, *rest: Any) -> dict[str, Any]:
        if name == "random":
            raise KeyboardInterrupt
        return real(cell, name, *rest)

    monkeypatch.setattr(labels, "run_entrant", interrupted)
    assert run_main(tmp_path) == 130
    assert len(state.read_text().splitlines()) == 1
    state.write_text(state.read_text() + '{"stream": "phi')  # killed while it wrote
    ran = []

    def noted(cell: Cell, name: str, *rest: Any) -> dict[str, Any]:
        ran.append(name)
        return real(cell, name, *rest)

    monkeypatch.setattr(labels, "run_entrant", noted)
    assert run_main(tmp_path) == 0
    assert ran == ["random"]
    assert len([json.loads(line) for line in state.read_text().splitlines()]) == 2
    assert "cut off" in capsys.readouterr().err


def test_a_failed_run_is_said_and_costs_the_others_nothing(
    small: Stream, tmp_path: Path, monkeypatch, capsys
):
    real = labels.run_entrant

    def failing(cell: Cell, name: str, *rest: Any) -> dict[str, Any]:
        if name == "ranked/sgd":
            raise ValueError("no such thing")
        return real(cell, name, *rest)

    monkeypatch.setattr(labels, "run_entrant", failing)
    code = labels.main([*LITTLE, "--entrants", "random,random/sgd", "--state", str(tmp_path / "state.jsonl")])
    error = capsys.readouterr().err
    assert code == 1
    assert "FAILED phishing seed 0 0.1 none ranked/sgd: ValueError: no such thing" in error
    assert "random/sgd: RuntimeError: ranked/sgd, whose labels it has to match, failed" in error
    assert len((tmp_path / "state.jsonl").read_text().splitlines()) == 2


def test_what_cannot_run_is_said_with_the_reason(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(label_entrants, "find_spec", lambda name: None)
    assert missing_library("skactiveml_split/sgd") == "skactiveml"
    arguments = labels.parse(
        ["--streams", "elec2,phishing", "--entrants", "ranked,river_entropy", "--seeds", "1"]
    )
    jobs = labels.jobs_of(arguments)
    error = capsys.readouterr().err
    assert "SKIPPED stream elec2: it is read from a file: name the folder with --data" in error
    assert "SKIPPED entrant river_entropy: river is not installed" in error
    assert {(job.cell.stream, job.entrant) for job in jobs} == {("phishing", "ranked")}
    assert len(jobs) == 3 * 2


def test_the_sizes():
    quick, full = labels.parse(["--quick"]), labels.parse([])
    assert (len(quick.streams), quick.seeds, tuple(quick.budgets), tuple(quick.delays)) == (
        6,
        1,
        (0.05,),
        ("none",),
    )
    assert (len(full.streams), full.seeds, len(full.budgets), len(full.delays)) == (20, 3, 3, 2)
    assert labels.parse(["--quick", "--seeds", "2"]).seeds == 2


@pytest.mark.parametrize(
    "wrong",
    [("--streams", "se"), ("--budgets", "5"), ("--seeds", "0"), ("--data", "gone"), ("--delays", ",")],
)
def test_mistakes_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        labels.parse(list(wrong))
    assert "expected" in (text := capsys.readouterr().err) or "at least" in text or "no folder" in text


# ---- the report -----------------------------------------------------------------------------------


def record(stream: str, seed: int, entrant: str, kappa: float, **more: Any) -> dict[str, Any]:
    return {
        "stream": stream, "seed": seed, "budget": 0.05, "delay": "none", "entrant": entrant, "kappa": kappa,
        "log_loss": 1.0, "ece": 0.1, "pr_auc": None, "share": 0.05, "learned": 100, "wanted": 100,
        "worst_excess": -1.0, **more,
    }  # fmt: skip


KAPPAS = {
    ("sea", 0): (0.6, 0.5), ("sea", 1): (0.8, 0.5),
    ("digits", 0): (0.7, 0.8), ("digits", 1): (0.7, 0.6),
    ("rare", 0): (0.4, 0.1), ("rare", 1): (0.4, 0.1),
}  # fmt: skip
MADE = [
    record(stream, seed, name, kappa)
    for (stream, seed), pair in KAPPAS.items()
    for name, kappa in zip(("ranked", "random"), pair, strict=True)
]


def test_means_and_intervals_are_those_computed_by_hand():
    (setting,) = summarise(MADE)
    ranked, random = setting.lines
    assert (ranked.entrant, random.entrant) == ("ranked", "random")
    # streams: sea 0.7 and 0.5, digits 0.7 and 0.7, rare 0.4 and 0.1
    assert ranked.means["kappa"] == pytest.approx((0.7 + 0.7 + 0.4) / 3)
    assert random.means["kappa"] == pytest.approx((0.5 + 0.7 + 0.1) / 3)
    assert ranked.gain is None
    # gains 0.2, 0.0, 0.3: mean 1/6, deviation sqrt(0.14/6) = 0.15275, t(2) = 4.30265
    assert random.gain is not None
    half = 4.302653 * math.sqrt((0.2**2 + 0.3**2 - 3 / 36) / 2) / math.sqrt(3)
    assert random.gain["gain"] == pytest.approx(1 / 6)
    assert random.gain["lower"] == pytest.approx(1 / 6 - half, abs=1e-6)
    assert random.gain["upper"] == pytest.approx(1 / 6 + half, abs=1e-6)
    assert random.better == 2
    assert (setting.cells, setting.left_out, setting.seeds) == (6, 0, 2)
    assert setting.by_stream["sea"] == pytest.approx({"ranked": 0.7, "random": 0.5})


def test_a_cell_that_somebody_has_not_finished_is_left_out_for_all():
    (setting,) = summarise([each for each in MADE if each is not MADE[1]])  # sea, seed 0, random
    assert (setting.cells, setting.left_out) == (5, 1)
    assert setting.lines[0].means["kappa"] == pytest.approx((0.8 + 0.7 + 0.4) / 3)


def test_pr_auc_is_over_the_imbalanced_streams_alone():
    shown = [{**each, "pr_auc": 0.9 if each["stream"] == "sea" else 0.3} for each in MADE]
    (setting,) = summarise(shown)
    assert setting.lines[0].means["pr_auc"] == pytest.approx(0.3)


def test_the_worst_of_all_cells_is_told():
    worse = [dict(each) for each in MADE]
    worse[3] |= {"learned": 93, "worst_excess": 2.5}
    (setting,) = summarise(worse)
    assert (setting.lines[1].labels_off, setting.lines[1].worst_excess) == (7, 2.5)
    assert "| 7 | +2.5 |" in as_text(worse)


def test_settings_stand_apart():
    more = [
        *MADE,
        *({**each, "delay": "late"} for each in MADE),
        *({**each, "budget": 0.01} for each in MADE),
    ]
    assert [(each.delay, each.budget) for each in summarise(more)] == [
        ("none", 0.01),
        ("none", 0.05),
        ("late", 0.05),
    ]
    json.dumps(as_json(more), allow_nan=False)


def test_the_page_is_renewed_between_its_markers(tmp_path: Path):
    page, picture = tmp_path / "page.md", tmp_path / "images" / "a.png"
    page.write_text(f"before\n{BEGIN}\nof yesterday\n{END}\nafter\n")
    assert write_page(MADE, page, picture) == [page, picture]
    once = page.read_text()
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "of yesterday" not in once
    assert "| `random` | 0.433 | +0.167 [-0.213, +0.546] | 2 of 3 |" in once
    assert picture.read_bytes().startswith(b"\x89PNG")
    write_page(MADE, page, picture)
    assert page.read_text() == once
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no generated part"):
        write_page(MADE, page, picture)
