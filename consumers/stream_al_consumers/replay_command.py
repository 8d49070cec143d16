"""``replay``: what the log alone says of the model and of every decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_al_consumers.options import ConfigOption, JsonOption, LogOption
from stream_al_consumers.output import print_json, print_rows, progress

if TYPE_CHECKING:
    from stream_al.log.protocol import Log
    from stream_al.settings import Settings


def replay(
    to: Annotated[
        int | None, typer.Option(help="Fold up to this model position; to the end of the log without.")
    ] = None,
    decisions: Annotated[
        bool, typer.Option("--decisions/--no-decisions", help="Run the recorded decisions again.")
    ] = True,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Fold the reply log from its beginning, compare it with base + tail, and run the decisions again.

    The fingerprint is that of `/status?fingerprint=1` at the same position. Exit code 1: something
    differs. A running service is not disturbed.
    """
    from contextlib import closing

    from stream_al_consumers.configuration import open_log, read_settings
    from stream_al_consumers.threads import one_thread

    settings = read_settings(config, log)
    with closing(open_log(settings)) as source, one_thread():
        found = _replay(settings, source, to, decisions=decisions)
    good = found["equal"]
    if json:
        print_json(found)
    else:
        base = found["base"]
        print_rows(
            "equal" if good else "DIFFERENT",
            [
                ("position", found["position"]),
                ("fingerprint, whole log", found["fingerprint"]),
                ("fingerprint, base + tail", base["fingerprint"] if base else "there is no base"),
                ("decisions", _words(found["decisions"])),
            ],
        )
    if not good:
        raise typer.Exit(1)


def _replay(settings: Settings, log: Log, to: int | None, *, decisions: bool) -> dict[str, Any]:
    from stream_al.build import build_learner
    from stream_al.checkpoint import identity, load_base
    from stream_al.log.protocol import LABEL_REPLIES
    from stream_al.replay import fold_to
    from stream_al_consumers.bases import base_directory

    end = log.bounds(LABEL_REPLIES, 0)[1]
    end = end if to is None else min(to, end)
    whole = build_learner(settings)
    with progress() as bar:
        task = bar.add_task("folding the whole log", total=end)
        fingerprint = fold_to(log, whole, end, lambda done: bar.update(task, completed=done))
    found: dict[str, Any] = {"position": whole.position, "fingerprint": fingerprint, "base": None}
    based = build_learner(settings)
    name = identity(based, settings.model.name, settings.seed)
    start = load_base(base_directory(settings), based, name, log, not_after=end)
    equal = True
    if start:
        found["base"] = {"position": start, "fingerprint": fold_to(log, based, end)}
        equal = found["base"]["fingerprint"] == fingerprint
    found["decisions"] = (
        _decisions(settings, log) if decisions else {"replayed": False, "reason": "not asked for"}
    )
    return found | {"equal": equal and found["decisions"].get("difference") is None}


def _decisions(settings: Settings, log: Log) -> dict[str, Any]:
    from stream_al.build import build_engine
    from stream_al.log.protocol import EVENTS
    from stream_al.replay import replay_decisions, what_is_gone

    reason = unrecorded(settings) or what_is_gone(log)
    if reason is not None:
        return {"replayed": False, "reason": reason}
    total = sum(log.bounds(EVENTS, p)[1] for p in range(log.partitions(EVENTS)))
    with progress() as bar:
        task = bar.add_task("deciding again", total=total)
        compared = replay_decisions(
            log,
            lambda scripted: build_engine(settings, scripted),
            lambda done: bar.update(task, completed=done),
            from_beginning=from_beginning(settings),
        )
    return {"replayed": True, "outputs": compared.outputs, "difference": compared.difference}


def unrecorded(settings: Settings) -> str | None:
    """Return why the configuration has no model positions recorded, None where it has."""
    if settings.outputs.predictions == "all":
        return None
    return "outputs.predictions is not all, so the model position of each event is not on record"


def from_beginning(settings: Settings) -> bool:
    """Return whether the service decided the first event of its log."""
    return settings.log.kind != "kafka" or settings.kafka.start == "earliest"


def _words(decisions: dict[str, Any]) -> str:
    if not decisions["replayed"]:
        return f"not replayed: {decisions['reason']}"
    if decisions["difference"] is not None:
        return f"first difference after {decisions['outputs']} outputs: {decisions['difference']}"
    return f"{decisions['outputs']} predictions and requests, all equal"
