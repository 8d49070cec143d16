"""Pictures: a file appears, the means are right, and a missing library is named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from stream_al.errors import ConfigurationError
from stream_al.plots import plot_comparison, summarise


def curve(seed: int, height: float) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    events = np.arange(50, 5050, 50)
    values = height * (1 - np.exp(-events / 1000)) + rng.normal(0, 0.01, len(events))
    return [
        {"events": int(e), "labels": int(0.04 * e), "accuracy": float(a), "kappa": float(a - 0.1)}
        for e, a in zip(events, values, strict=True)
    ]


RUNS = {"rule": [curve(s, 0.9) for s in range(3)], "random": [curve(s, 0.8) for s in range(3)]}


@pytest.mark.parametrize("name", ["plot.png", "plot.svg"])
def test_a_picture_is_written(tmp_path: Path, name: str) -> None:
    path = plot_comparison(RUNS, tmp_path / name, measure="kappa", budget=0.05, title="A comparison")
    assert path == tmp_path / name
    start = path.read_bytes()[:8]
    assert start == b"\x89PNG\r\n\x1a\n" or start.startswith(b"<?xml")


def test_the_shortest_input_is_drawn(tmp_path: Path) -> None:
    point = [{"events": 5, "labels": 0, "accuracy": 1.0}]
    plot_comparison({"rule": [point], "random": [point]}, tmp_path / "a.png")


def test_no_display_is_opened(tmp_path: Path) -> None:
    before = "matplotlib.pyplot" in sys.modules
    plot_comparison(RUNS, tmp_path / "a.png")
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_seeds_meet_on_a_common_grid() -> None:
    low = [{"labels": 0, "kappa": 0.0}, {"labels": 10, "kappa": 1.0}, {"labels": 10, "kappa": 0.5}]
    high = [{"labels": 2, "kappa": 0.3}, {"labels": 20, "kappa": 1.2}]
    x, mean, spread = summarise([low, high], "labels", "kappa")
    assert (x[0], x[-1]) == (2.0, 10.0)
    assert mean[0] == pytest.approx((0.1 + 0.3) / 2)  # of two points at ten labels the last one counts
    assert mean[-1] == pytest.approx((0.5 + 0.7) / 2)
    assert spread[0] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert not summarise([low], "labels", "kappa")[2].any()


@pytest.mark.parametrize("runs", [{}, {"rule": []}, {"rule": [[]]}])
def test_nothing_to_draw_is_refused(tmp_path: Path, runs: dict[str, list[list[dict[str, float]]]]) -> None:
    with pytest.raises(ConfigurationError, match="without a curve"):
        plot_comparison(runs, tmp_path / "a.png")


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "gone" / "a.png", tmp_path / "a.docx"):
        with pytest.raises(ConfigurationError, match="cannot write the picture"):
            plot_comparison(RUNS, path)


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigurationError, match=r'pip install "stream-al\[plots\]"'):
        plot_comparison(RUNS, tmp_path / "a.png")
