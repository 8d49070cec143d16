"""The picture of the label-efficiency benchmark: kappa against budget, and what `ranked` gains over each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.label_entrants import ENTRANTS, HOWS
from benchmarks.label_report import Line, Setting
from stream_al.plots import COLOURS, INK, STYLE

LEGEND = {"ncols": 6, "fontsize": 7.5, "frameon": False}


def draw(settings: Sequence[Setting], path: Path) -> Path:
    """Draw the settings without delay (else all of the first delay) and return where the picture is."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = [each for each in settings if each.lines]
    drawn = [each for each in drawn if each.delay == drawn[0].delay]
    middle = min(drawn, key=lambda each: abs(each.budget - 0.05))
    with rc_context(STYLE):
        figure = Figure(figsize=(10.5, 5.0), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.1))
        _budgets(left, drawn)
        _gains(right, middle)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", **LEGEND)
        streams = len(middle.streams)
        figure.suptitle(
            f"Equal learned labels, mean over {streams} streams", x=0.01, ha="left", fontweight="bold"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    return path


def _colour(name: str) -> str:
    return COLOURS[list(HOWS).index(ENTRANTS[name].how) % len(COLOURS)]


def _budgets(axes: Any, settings: Sequence[Setting]) -> None:
    """Draw mean kappa against the budget, around the pool as lines, around SGD as dashes."""
    for name in ENTRANTS:
        points = [
            (100 * each.budget, line.means["kappa"])
            for each in settings
            for line in each.lines
            if line.entrant == name
        ]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        pool = ENTRANTS[name].model == "pool"
        style = {"linestyle": "solid" if pool else (0, (4, 2)), "marker": "o" if pool else "s"}
        axes.plot(x, y, color=_colour(name), label=name, linewidth=1.8, markersize=4.5, **style)
    budgets = [100 * each.budget for each in settings]
    axes.set_xscale("log")
    axes.set_xticks(budgets, [f"{budget:g} %" for budget in budgets])
    axes.minorticks_off()
    axes.set_xlim(0.8 * min(budgets), 1.25 * max(budgets))
    axes.grid(axis="y")
    axes.set_xlabel("labels that may be asked for, share of the events")
    axes.set_ylabel("kappa over all events")


def _gains(axes: Any, setting: Setting) -> None:
    """Draw what `ranked` has more than each entrant around the same model, with its interval."""
    lines = [line for line in setting.lines if line.gain is not None][::-1]
    for place, line in enumerate(lines):
        gain, lower, upper = _ends(line)
        axes.plot([lower, upper], [place, place], color=_colour(line.entrant), linewidth=2.2)
        axes.plot([gain], [place], color=_colour(line.entrant), marker="o", markersize=6)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(lines)), [line.entrant for line in lines])
    axes.set_ylim(-0.6, max(len(lines) - 0.4, 0.6))
    axes.grid(axis="x")
    axes.set_xlabel(f"kappa that ranked gains at {100 * setting.budget:g} %, with its 95 % interval")


def _ends(line: Line) -> tuple[float, float, float]:
    assert line.gain is not None
    gain = line.gain["gain"] or 0.0
    lower, upper = line.gain["lower"], line.gain["upper"]
    return gain, gain if lower is None else lower, gain if upper is None else upper
