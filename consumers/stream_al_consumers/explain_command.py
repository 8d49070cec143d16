"""``explain``: why was this event asked about, or not?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_al_consumers.options import ConfigOption, JsonOption, LogOption
from stream_al_consumers.output import fail, harmless, out, print_json, print_rows, progress

if TYPE_CHECKING:
    from stream_al.explanation import Explanation
    from stream_al.log.protocol import Log
    from stream_al.settings import Settings


def explain(
    event_id: Annotated[str, typer.Argument(help="The event's id, as in its prediction.")],
    occurrence: Annotated[int, typer.Option(help="Which one, where several events have this id.", min=1)] = 1,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Say why an event was asked about or not: score, chance, coins, tokens, near-duplicates, and a sentence.

    The engine decides again what is in the log up to the event, and must decide what is recorded. Exit
    code 1: it does not. Exit code 3: neither a decision nor a request for this id is in the log. A running
    service is not disturbed.
    """
    from contextlib import closing

    from stream_al_consumers.configuration import open_log, read_settings
    from stream_al_consumers.threads import one_thread

    settings = read_settings(config, log)
    with closing(open_log(settings)) as source, one_thread():
        found = _explain(settings, source, event_id, occurrence)
    if json:
        print_json(found.as_dict())
    else:
        print_rows(harmless(found.event_id), [(name, harmless(text)) for name, text in _rows(found)])
        out.print(harmless(found.sentence()), markup=False)
    if not found.equal:
        fail(
            f"DIFFERENT: the engine does not decide again what is recorded: {found.difference}; was it "
            "decided under another configuration or version? `stream-al replay` compares everything"
        )
        raise typer.Exit(1)


def _explain(settings: Settings, log: Log, event_id: str, occurrence: int) -> Explanation:
    from stream_al.build import build_engine
    from stream_al.explain import Explainer
    from stream_al_consumers.replay_command import from_beginning, unrecorded

    with progress() as bar:
        task = bar.add_task("deciding again", total=None)
        explainer = Explainer(
            log,
            lambda scripted: build_engine(settings, scripted),
            unrecorded=unrecorded(settings),
            from_beginning=from_beginning(settings),
            advance=lambda done, total: bar.update(task, completed=done, total=total),
        )
        return explainer(event_id, occurrence)


def _rows(found: Explanation) -> list[tuple[str, str]]:
    """Return the rows of the table: what is not known says so."""
    rows: list[tuple[str, Any]] = [
        ("event", _place(found)),
        ("asked", f"yes, {found.channel}" if found.asked and found.channel else _yes(found.asked)),
        ("score u", _number(found.score) if found.scored else "none: the query score failed"),
        ("rank", _number(found.rank)),
        ("probability p", _number(found.probability)),
        ("propensity", _propensity(found)),
        ("floor coin", f"{found.floor_coin:.4g}; asks below {found.floor_threshold:.4g}"),
        ("query coin", f"{found.query_coin:.4g}; asks below {_number(found.chance or found.probability)}"),
        ("tokens", f"{_number(found.tokens)}; a request costs {found.overlap}"),
        ("near-duplicate", _yes(found.near_duplicate)),
        ("nearest asked", _nearest(found)),
        ("id asked before", _yes(found.asked_before)),
        ("predicted", _predicted(found)),
        ("model position v", "not known" if found.model_version is None else found.model_version),
    ]
    if found.request_id is not None:
        rows.append(("request", found.request_id + (", from the backlog" if found.in_backlog else "")))
        rows.append(("answers", "; ".join(_answer(*answer[:3]) for answer in found.answers) or "none yet"))
    rows.append(
        ("told from", {"log": "the log: decided again, equal"}.get(found.source, f"its {found.source}"))
    )
    if found.gone is not None:
        rows.append(("gone", found.gone))
    if found.missing:
        rows.append(("not recomputed", ", ".join(found.missing).replace("_", " ")))
    return [(name, str(value)) for name, value in rows]


def _place(found: Explanation) -> str:
    offset = "an offset that is not known" if found.offset is None else f"offset {found.offset}"
    which = f", {found.occurrence} of {found.occurrences} with this id" if found.occurrences > 1 else ""
    return f"partition {found.partition}, {offset}{which}"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "not known"}[value]


def _propensity(found: Explanation) -> str:
    if found.propensity is None and "propensity" not in found.missing:
        return "none: it could not be asked, whatever the coins"
    return _number(found.propensity)


def _nearest(found: Explanation) -> str:
    if found.nearest is None:
        return "not known" if "nearest" in found.missing else "nothing to compare with"
    nearest = found.nearest
    return (
        f"{nearest.event_id}, distance {nearest.distance:.4g}; a near-duplicate within {nearest.radius:.4g}"
    )


def _predicted(found: Explanation) -> str:
    if found.predicted is None:
        return "no label: nothing was learned yet"
    return f"{found.predicted}, probability {_number(found.confidence)}"


def _answer(annotator_id: str, status: str, label: str | None) -> str:
    return f"{label if label is not None else status} by {annotator_id}"
