"""``backlog``: what would be asked about events that are in the log already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_al_consumers.options import ConfigOption, JsonOption, LogOption
from stream_al_consumers.output import harmless, out, print_json, progress

if TYPE_CHECKING:
    from stream_al.backlog import Choice
    from stream_al.log.protocol import Log
    from stream_al.settings import Settings

MAX_TOP = 10_000


def backlog(
    top: Annotated[int, typer.Option(help="How many events to pick.", min=1, max=MAX_TOP)],
    ask: Annotated[bool, typer.Option("--ask", help="Publish label requests for them.")] = False,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Pick events of the log that are worth a label: high scores, unlike each other, not asked before.

    Without --ask nothing is written. With it, the requests are outside the stream's budget and its
    estimates; their answers are learned like any others. A running service is not disturbed.
    """
    from contextlib import closing

    from stream_al_consumers.configuration import open_log, read_settings
    from stream_al_consumers.threads import one_thread

    settings = read_settings(config, log)
    with closing(open_log(settings)) as source, one_thread():
        found = _backlog(settings, source, top, ask=ask)
    if json:
        print_json(found)
    else:
        _print(found, settings.query.overlap)


def _backlog(settings: Settings, log: Log, top: int, *, ask: bool) -> dict[str, Any]:
    from stream_al.backlog import Backlog
    from stream_al.build import build_engine, build_learner, make_writer
    from stream_al.checkpoint import identity, load_base
    from stream_al.log.embedded import wall_clock_ms
    from stream_al.log.protocol import EVENTS, LABEL_REPLIES
    from stream_al.replay import fold_to
    from stream_al_consumers.bases import base_directory

    learner = build_learner(settings)
    load_base(base_directory(settings), learner, identity(learner, settings.model.name, settings.seed), log)
    end = log.bounds(LABEL_REPLIES, 0)[1]
    bounds = [log.bounds(EVENTS, p) for p in range(log.partitions(EVENTS))]
    with progress() as bar:
        task = bar.add_task("folding the replies", total=end)
        fold_to(log, learner, end, lambda done: bar.update(task, completed=done))
        task = bar.add_task("reading the events", total=sum(last - first for first, last in bounds))
        backlog = Backlog(log, build_engine(settings, log, learner), make_writer(settings, learner))
        choice = backlog.choose(top, lambda done: bar.update(task, completed=done))
    asked = backlog.ask(choice.picked, wall_clock_ms()) if ask else 0
    return _as_dict(choice, top) | {
        "model_version": learner.position,
        "fitted": learner.model.fitted,
        "asked": asked,
        "allowance": top * settings.query.overlap if ask else None,
    }


def _as_dict(choice: Choice, top: int) -> dict[str, Any]:
    from stream_al.query.window import SCALE

    return {
        "top": top,
        "events": choice.events,
        "invalid": choice.invalid,
        "unscored": choice.unscored,
        "already_asked": choice.already_asked,
        "candidates": choice.candidates,
        "passes": choice.passes,
        "picked": [
            {
                "event_id": candidate.event_id,
                "partition": candidate.partition,
                "offset": candidate.offset,
                "label": candidate.label,
                "confidence": candidate.confidence,
                "score": candidate.score / SCALE,
                "distance": distance,
            }
            for candidate, distance in ((each.candidate, each.distance) for each in choice.picked)
        ],
    }


def _print(found: dict[str, Any], overlap: int) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("event", "predicted", "score", "distance to the nearest", box=None, pad_edge=False)
    for each in found["picked"]:
        label = "–" if each["label"] is None else f"{each['label']} ({each['confidence']:.2f})"
        distance = "–" if each["distance"] is None else f"{each['distance']:.3g}"
        cells = (each["event_id"], label, f"{each['score']:.3f}", distance)
        table.add_row(*(Text(harmless(cell)) for cell in cells))
    if found["picked"]:
        out.print(table)
    out.print(
        f"{len(found['picked'])} of {found['candidates']} candidates; {found['events']} events read, "
        f"{found['already_asked']} already asked"
        + (f", {found['unscored']} that the score failed on" if found["unscored"] else "")
        + (f", {found['invalid']} invalid" if found["invalid"] else "")
    )
    if len(found["picked"]) < found["top"]:
        out.print("There are no more: the others are near-duplicates, or were asked before.")
    if not found["fitted"]:
        out.print("Nothing is learned yet: all scores are 1, and the candidates are a uniform sample.")
    if found["allowance"] is None:
        out.print("Nothing was asked. --ask asks people about them.")
        return
    times = f" ({found['top']} requests, {overlap} answers each)" if overlap > 1 else ""
    out.print(f"allowance: {found['allowance']} labels, outside the stream's budget{times}")
    out.print(f"{found['asked']} label requests published; `stream-al label` shows them")
