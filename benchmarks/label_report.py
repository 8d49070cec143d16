"""What the runs of the label-efficiency benchmark add up to: means, paired differences, tables, a page.

Works on records alone, so a report can be made again without a run. Only cells (stream, seed) that every
entrant of a setting has finished count, so all means are over the same streams; differences are paired
by stream, after the mean over its seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.label_entrants import DELAYS, ENTRANTS, MODELS
from benchmarks.label_streams import IMBALANCED, STREAMS
from stream_al.comparison import paired_interval
from stream_al.learner import FOLD

Record = Mapping[str, Any]
ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs/benchmark.md", ROOT / "docs/images/label-efficiency.png"
BEGIN = "<!-- generated: python -m benchmarks.labels --write -->"
END = "<!-- end of the generated part -->"
MEASURES = ("kappa", "log_loss", "ece", "share")


@dataclass(frozen=True, slots=True)
class Line:
    """One entrant in one setting.

    Attributes
    ----------
    means : dict
        Mean over streams (of the mean over seeds) of kappa, log_loss, ece and share; ``pr_auc`` over the
        imbalanced streams alone, where there are any.
    gain : dict or None
        What `ranked` around the same model has more in kappa: gain, lower, upper; None for itself.
    better : int
        Streams on which `ranked` has more.
    labels_off : float
        Largest difference in learned labels to `ranked`, over all cells.
    worst_excess : float
        Largest (spent - promised) over all prefixes of all cells, in labels.
    """

    entrant: str
    means: dict[str, float | None]
    gain: dict[str, float | None] | None
    better: int
    labels_off: int
    worst_excess: float


@dataclass(frozen=True, slots=True)
class Setting:
    """One budget and delay.

    Attributes
    ----------
    cells : int
        (stream, seed) pairs that all entrants have finished; ``left_out`` the others.
    lines : list of Line
    by_stream : dict
        Stream to entrant to mean kappa over seeds.
    """

    budget: float
    delay: str
    streams: list[str]
    seeds: int
    cells: int
    left_out: int
    lines: list[Line]
    by_stream: dict[str, dict[str, float]]


def summarise(records: Iterable[Record]) -> list[Setting]:
    """Return one setting a delay and budget, in this order."""
    settings: dict[tuple[str, float], list[Record]] = {}
    for record in records:
        settings.setdefault((record["delay"], record["budget"]), []).append(record)
    order = sorted(settings, key=lambda key: (list(DELAYS).index(key[0]), key[1]))
    return [_setting(delay, budget, settings[delay, budget]) for delay, budget in order]


def _setting(delay: str, budget: float, records: Sequence[Record]) -> Setting:
    entrants = [name for name in ENTRANTS if any(record["entrant"] == name for record in records)]
    cells: dict[tuple[str, int], dict[str, Record]] = {}
    for record in records:
        cells.setdefault((record["stream"], record["seed"]), {})[record["entrant"]] = record
    whole = {key: cell for key, cell in cells.items() if len(cell) == len(entrants)}
    streams = [name for name in STREAMS if any(stream == name for stream, _ in whole)]
    lines = [_line(name, whole, streams) for name in entrants] if whole else []
    by_stream = {
        stream: {name: float(_over_seeds(whole, stream, name, "kappa") or 0.0) for name in entrants}
        for stream in streams
    }
    seeds = len({seed for _, seed in whole})
    return Setting(budget, delay, streams, seeds, len(whole), len(cells) - len(whole), lines, by_stream)


def _line(name: str, cells: Mapping[tuple[str, int], Mapping[str, Record]], streams: list[str]) -> Line:
    means = {
        measure: _mean(_over_seeds(cells, stream, name, measure) for stream in streams)
        for measure in MEASURES
    }
    rare = [stream for stream in streams if stream in IMBALANCED]
    means["pr_auc"] = _mean(_over_seeds(cells, stream, name, "pr_auc") for stream in rare)
    reference = ENTRANTS[name].reference
    own = [cell[name] for cell in cells.values()]
    gain, better = None, 0
    if name != reference:
        pairs = [
            (_over_seeds(cells, stream, reference, "kappa"), _over_seeds(cells, stream, name, "kappa"))
            for stream in streams
        ]
        gains = [a - b for a, b in pairs if a is not None and b is not None]
        gain, better = paired_interval(gains), sum(each > 0 for each in gains)
    return Line(
        name,
        means,
        gain,
        better,
        max(abs(record["learned"] - record["wanted"]) for record in own),
        max(record["worst_excess"] for record in own),
    )


def _over_seeds(
    cells: Mapping[tuple[str, int], Mapping[str, Record]], stream: str, name: str, measure: str
) -> float | None:
    return _mean(cell[name][measure] for (at, _), cell in cells.items() if at == stream)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


# ---- as text ----------------------------------------------------------------------------------------


def as_json(records: Sequence[Record]) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "schema": 1,
        "settings": [
            {
                "budget": setting.budget,
                "delay": setting.delay,
                "streams": setting.streams,
                "seeds": setting.seeds,
                "cells": setting.cells,
                "left_out": setting.left_out,
                "entrants": [
                    {
                        "name": line.entrant,
                        **line.means,
                        "gain_of_ranked": line.gain,
                        "better_on": line.better,
                        "labels_off": line.labels_off,
                        "worst_excess": line.worst_excess,
                    }
                    for line in setting.lines
                ],
                "kappa_by_stream": setting.by_stream,
            }
            for setting in summarise(records)
        ],
    }


def as_text(records: Sequence[Record]) -> str:
    """Return the report as Markdown: for each setting the means, then kappa stream by stream."""
    parts = [_provenance(records)]
    for setting in summarise(records):
        late = ", answers late" if setting.delay != "none" else ""
        parts.append(f"### {100 * setting.budget:g} % of the labels{late}")
        seeds = f"{setting.seeds} seed{'s' if setting.seeds != 1 else ''}"
        streams = f"{len(setting.streams)} stream{'s' if len(setting.streams) != 1 else ''}"
        left = (
            f" {setting.left_out} cells that not all have finished are left out." if setting.left_out else ""
        )
        parts.append(f"{streams}, {seeds}, {setting.cells} cells.{left}")
        if setting.lines:
            parts += [_means_table(setting)] + [_streams_table(setting, model) for model in MODELS]
    return "\n\n".join(part for part in parts if part)


def _provenance(records: Sequence[Record]) -> str:
    ours = f"{_version('stream-al')} (fold {FOLD})"  # the version alone names no model between two releases
    names = ["scikit-activeml", "river", "scikit-learn", "numpy"]
    return f"{len(records)} runs; versions here: {', '.join([ours, *map(_version, names)])}."


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"


def _means_table(setting: Setting) -> str:
    rows = []
    for line in setting.lines:
        means, gain = line.means, line.gain
        rows.append(
            [
                f"`{line.entrant}`",
                _number(means["kappa"]),
                _gain(gain),
                "" if gain is None else f"{line.better} of {len(setting.streams)}",
                _number(means["log_loss"]),
                _number(means["ece"]),
                _number(means["pr_auc"]),
                "" if means["share"] is None else f"{means['share']:.2%}",
                f"{line.labels_off}",
                f"{line.worst_excess:+.1f}",
            ]
        )
    head = [
        "entrant", "kappa", "`ranked` gains", "on", "log-loss", "ECE", "PR-AUC", "asked", "labels off",
        "excess",
    ]  # fmt: skip
    return _table(head, rows)


def _streams_table(setting: Setting, model: str) -> str:
    names = [line.entrant for line in setting.lines if ENTRANTS[line.entrant].model == model]
    if not names:
        return ""
    rows = []
    for stream, kappas in setting.by_stream.items():
        best = max(kappas[name] for name in names)
        cells = [_number(kappas[name]) for name in names]
        bold = [f"**{cell}**" if cell == _number(best) else cell for cell in cells]
        rows.append([stream, *bold])
    around = "the pool" if model == "pool" else "logistic regression by SGD"
    return f"Kappa by stream, around {around}:\n\n" + _table(["stream", *(f"`{n}`" for n in names)], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _gain(gain: Mapping[str, float | None] | None) -> str:
    if gain is None:
        return ""
    if gain["lower"] is None:
        return f"{gain['gain']:+.3f}"
    return f"{gain['gain']:+.3f} [{gain['lower']:+.3f}, {gain['upper']:+.3f}]"


# ---- as a page --------------------------------------------------------------------------------------


def write_page(records: Sequence[Record], page: Path = PAGE, picture: Path = PICTURE) -> list[Path]:
    """Renew what stands between the markers of the page, and its picture; return what was written.

    Raises
    ------
    ValueError
        The page has no markers.
    """
    from benchmarks.label_plot import draw

    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{page} has no generated part; expected one line {BEGIN} and one line {END}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{as_text(records)}\n\n{END}{after}", encoding="utf-8")
    draw(summarise(records), picture)
    return [page, picture]
