"""``label``: a person answers in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from stream_al_consumers.options import ConfigOption, JsonOption, LogOption
from stream_al_consumers.output import out, print_json


def label(
    annotator_id: Annotated[
        str | None, typer.Option("--annotator-id", help="Who answers; the user's name without.")
    ] = None,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Answer label requests yourself, the most urgent first: one key a label, ? for help."""
    import getpass
    from contextlib import closing

    from rich.console import Console

    from stream_al.ticket import TicketOffice
    from stream_al_consumers.configuration import open_log, read_settings
    from stream_al_consumers.console import LabelConsole
    from stream_al_consumers.keys import raw_keys
    from stream_al_consumers.labeling import Session
    from stream_al_consumers.open_requests import OpenRequests

    settings = read_settings(config, log)
    with closing(open_log(settings)) as requests, raw_keys() as keys:
        office = TicketOffice(settings.events_topic(), settings.secrets())
        queue = OpenRequests(
            requests,
            office,
            settings.labels.ttl_seconds,
            labels=settings.task.labels,
            open_labels=settings.task.open_labels,
        )
        session = Session(
            requests,
            queue,
            annotator_id or getpass.getuser(),
            settings.task.labels,
            settings.task.open_labels,
        )
        # a console that breaks lines at the screen's edge: what is printed elsewhere is for pipes as well
        LabelConsole(session, keys, Console(highlight=False)).run()
    if json:
        print_json(session.counts)
    else:
        counts = ", ".join(f"{count} {status}" for status, count in session.counts.items())
        out.print(counts, markup=False)
