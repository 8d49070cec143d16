"""``serve``: the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_al_consumers.options import ConfigOption, JsonOption, LogOption
from stream_al_consumers.output import out, print_line, say

if TYPE_CHECKING:
    from stream_al_consumers.service import Address


def serve(
    config: ConfigOption = None,
    log: LogOption = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", min=0, max=65_535)] = None,
    json: JsonOption = False,
) -> None:
    """Score events, ask for labels, learn from the answers, until it is told to stop (SIGTERM, Ctrl-C).

    Without a configuration file it serves stream-al.db in this directory and learns the labels from the
    answers.
    """
    from dataclasses import asdict

    from stream_al.build import window_warning
    from stream_al_consumers.configuration import read_settings, unconfigured
    from stream_al_consumers.service import serve as run

    overrides: dict[str, Any] = {} if port is None else {"http": {"port": port}}
    settings = read_settings(config, log, overrides, serving=True)
    if unconfigured(config):
        labels = settings.task.labels
        say(
            "no stream-al.toml: using the environment and the defaults; "
            + (
                f"labels are {', '.join(labels)} "
                if labels and not settings.task.open_labels
                else "labels are open, so the first answers teach them "
            )
            + "(make a configuration with `stream-al init --from FILE --label COL`)"
        )

    if (wasted := window_warning(settings)) is not None:
        say(f"warning: {wasted}")

    def announce(address: Address) -> None:
        if json:
            print_line({"event": "ready", **asdict(address)})
        else:
            out.print(address.sentence(), markup=False)

    run(settings, announce)
