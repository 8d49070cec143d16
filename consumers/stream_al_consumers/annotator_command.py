"""``annotator``: simulated people who answer from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_al_consumers.options import ConfigOption, HeadOption, JsonOption, LabelOption, LogOption
from stream_al_consumers.output import out, print_json, say


def annotator(
    answers: Annotated[Path, typer.Option(help="The file that the events come from, with the true labels.")],
    label: LabelOption,
    head: HeadOption = None,
    delay: Annotated[str, typer.Option(help="none, fixed:5s, or lognormal:30s,1.")] = "none",
    no_answer: Annotated[float, typer.Option(help="Share of requests that are never answered.")] = 0.2,
    noise: Annotated[float, typer.Option(help="Share of wrong answers.")] = 0.1,
    annotator_id: Annotated[str, typer.Option(help="Who answers.")] = "simulated",
    seed: Annotated[int, typer.Option(help="Moves all coins.")] = 0,
    once: Annotated[
        bool, typer.Option("--once/--follow", help="Stop when every request has been dealt with.")
    ] = False,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Answer label requests from a file: late, sometimes not at all, sometimes wrong.

    It can be killed at any time: a request is acknowledged after its answer stands in the log, and an
    answer that is given twice counts once.
    """
    from contextlib import closing

    from stream_al.annotators import Annotators, Delay
    from stream_al.datasets import read_table
    from stream_al_consumers.annotator import SimulatedAnnotator, seconds_delay
    from stream_al_consumers.configuration import idle_seconds, open_log, read_settings

    settings = read_settings(config, log)
    people = Annotators(seconds_delay(Delay.parse(delay, seed)), no_answer, noise, seed)
    table = read_table(answers, label=label, head=head)
    with closing(open_log(settings)) as requests:
        person = SimulatedAnnotator(requests, table, people, annotator_id, idle_seconds(settings))
        try:
            person.run(once=once)
        except KeyboardInterrupt:
            if not once:
                say("stopped; start it again at any time, nothing is lost")
        counts = person.counts
    if json:
        print_json(counts)
    else:
        out.print(", ".join(f"{name} {count}" for name, count in counts.items()), markup=False)
