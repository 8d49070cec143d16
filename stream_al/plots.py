"""The picture of a comparison: what the same labels bought under two policies.

Takes plain lists and knows nothing of the engine. matplotlib is optional and is only imported when a
picture is asked for; nothing is ever shown on a screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream_al.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

F64 = NDArray[np.float64]
Curve = Sequence[Mapping[str, float]]
"""Points of one seed, as dicts with ``events``, ``labels`` and a measure."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette: told apart by colour-blind readers, and in print by their lightness."""
DASHES: tuple[Any, ...] = ("solid", (0, (4, 2)), (0, (1, 1.5)))
"""Of the first, second and third round of colours: more than seven lines."""
INK, FAINT = "#333333", "#B8B8B8"
GRID_POINTS = 300
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#E9E9E9",
    "svg.hashsalt": "stream-al",
}


def plot_comparison(
    runs: Mapping[str, Sequence[Curve]],
    path: str | Path,
    *,
    measure: str = "accuracy",
    budget: float | None = None,
    title: str | None = None,
) -> Path:
    """Draw learning curves of several policies against learned labels and against events.

    Lines are means over seeds; bands are one standard deviation to each side.

    Parameters
    ----------
    runs : mapping of name to curves
        One curve a seed, for example ``{"rule": [curve, …], "random": [curve, …]}``; the first name
        is drawn on top.
    path : str or Path
        Its extension decides the format (png, svg, pdf).
    measure : str
        Key of the vertical axis in every point: ``"accuracy"``, ``"kappa"``.
    budget : float, optional
        Labels an event that may be asked for: drawn as the line where the budget is spent.
    title : str, optional
        One line above both panels.

    Returns
    -------
    Path
        Where the picture is.

    Raises
    ------
    ConfigurationError
        matplotlib is not installed, nothing is to be drawn, or the file cannot be written.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure  # without pyplot: no display, no global figures
    except ImportError as error:
        raise ConfigurationError('pictures need matplotlib: pip install "stream-al[plots]"') from error
    if not runs or not all(curves and all(curves) for curves in runs.values()):
        raise ConfigurationError("found a policy without a curve; expected at least one point a seed")
    target = Path(path)
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        _draw(figure, runs, measure, budget, title)
        try:
            figure.savefig(target, dpi=160)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"cannot write the picture {target} ({error}); expected a .png"
            ) from error
    return target


def _draw(
    figure: Figure,
    runs: Mapping[str, Sequence[Curve]],
    measure: str,
    budget: float | None,
    title: str | None,
) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    ends: list[tuple[str, float, str]] = []
    lowest, highest = np.inf, -np.inf
    for place, (name, curves) in reversed(list(enumerate(runs.items()))):
        colour = COLOURS[place % len(COLOURS)]
        for axes, along in ((left, "labels"), (right, "events")):
            x, mean, spread = summarise(curves, along, measure)
            axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.16, linewidth=0)
            dash = DASHES[place // len(COLOURS) % len(DASHES)]
            axes.plot(x, mean, color=colour, linestyle=dash, linewidth=2.2, solid_capstyle="round")
            lowest, highest = min(lowest, mean.min()), max(highest, (mean + spread).max())
        ends.append((name, float(mean[-1]), colour))
    margin = 0.05 * max(highest - lowest, 0.02)
    left.set_ylim(lowest - margin, highest + margin)  # by the means below: early bands are very wide
    events = max(curve[-1]["events"] for curves in runs.values() for curve in curves)
    _finish(left, "labels learned", measure)
    _finish(right, "events", None)
    right.set_xlim(0, events)
    if budget is not None:
        _budget_line(left, budget, events)
    _name_lines(right, ends)
    seeds = max(len(curves) for curves in runs.values())
    if seeds > 1:
        right.set_title(
            f"mean of {seeds} seeds ± 1 standard deviation", loc="right", fontsize=8.5, color="#777777"
        )
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
    figure.align_labels()


def summarise(curves: Sequence[Curve], along: str, measure: str) -> tuple[F64, F64, F64]:
    """Return a common grid, and mean and standard deviation over seeds on it.

    Parameters
    ----------
    curves : one curve a seed
    along : {"labels", "events"}
    measure : str

    Returns
    -------
    x, mean, spread : (m,) float64
        The grid spans what all seeds have; the deviation is 0 for one seed.
    """
    xs: list[Any] = [np.array([point[along] for point in curve], dtype=np.float64) for curve in curves]
    ys: list[Any] = [np.array([point[measure] for point in curve], dtype=np.float64) for curve in curves]
    x = np.linspace(max(a[0] for a in xs), min(a[-1] for a in xs), GRID_POINTS)
    rows = np.array([_interpolate(x, a, b) for a, b in zip(xs, ys, strict=True)])
    spread = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(len(x))
    return x, rows.mean(axis=0), spread


def _interpolate(x: F64, known: F64, values: F64) -> F64:
    """Interpolate linearly; of points with the same number of labels the last one counts."""
    last = np.append(np.diff(known) > 0, True)
    found: F64 = np.interp(x, known[last], values[last])
    return found


def _finish(axes: Axes, x_label: str, y_label: str | None) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=5)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel(x_label)
    if y_label is not None:
        axes.set_ylabel(y_label)


def _budget_line(axes: Axes, budget: float, events: float) -> None:
    """Mark the budget's share of the events; with the credit of the start, labels may go beyond it."""
    spent = budget * events
    axes.axvline(spent, color="#777777", linewidth=1.0, linestyle=(0, (4, 3)))
    axes.annotate(
        f"{100 * budget:g} % of events",
        xy=(spent, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 0),
        textcoords="offset points",
        rotation=90,
        ha="right",
        va="bottom",
        fontsize=8.5,
        color="#777777",
    )
    axes.set_xlim(0, max(axes.get_xlim()[1], spent * 1.02))


def _name_lines(axes: Axes, ends: Sequence[tuple[str, float, str]]) -> None:
    """Write each name at the right end of its line, pushed apart where lines meet."""
    low, high = axes.get_ylim()
    gap = 0.06 * (high - low)
    at = -np.inf
    for name, y, colour in sorted(ends, key=lambda end: end[1]):
        at = max(y, at + gap)
        axes.annotate(
            name,
            xy=(1.0, at),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            fontweight="bold",
            va="center",
            annotation_clip=False,
        )
