"""The command line: one table of commands, one place where errors become messages and exit codes.

A command lives in its own ``*_command`` module, which declares options and imports what does the work
only when it runs: the command line starts fast, whatever the library needs. To add a command, add a line
to the table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from stream_al.errors import StreamALError
from stream_al_consumers.about_command import config_show, schemas_export, version
from stream_al_consumers.annotator_command import annotator
from stream_al_consumers.backlog_command import backlog
from stream_al_consumers.check_command import check
from stream_al_consumers.compare_command import compare
from stream_al_consumers.demo_command import demo
from stream_al_consumers.explain_command import explain
from stream_al_consumers.init_command import init
from stream_al_consumers.label_command import label
from stream_al_consumers.labels_command import labels_export, labels_import
from stream_al_consumers.output import fail
from stream_al_consumers.produce_command import produce
from stream_al_consumers.replay_command import replay
from stream_al_consumers.serve_command import serve
from stream_al_consumers.simulate_command import simulate
from stream_al_consumers.tail_command import tail
from stream_al_consumers.topics_command import topics_check, topics_create

EPILOG = (
    "Exit codes: 0 done; 1 something is wrong (check, replay, explain); 2 configuration or usage; 3 data; "
    "4 the log; 5 the first 1,000 records hold no event; 130 interrupted."
)

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "init": init,
    "simulate": simulate,
    "compare": compare,
    "serve": serve,
    "produce": produce,
    "label": label,
    "annotator": annotator,
    "tail": tail,
    "check": check,
    "replay": replay,
    "explain": explain,
    "backlog": backlog,
    "version": version,
}
GROUPS: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "labels": ("Labels from and to files.", {"import": labels_import, "export": labels_export}),
    "topics": ("The topics on Kafka.", {"create": topics_create, "check": topics_check}),
    "schemas": ("The messages, for other programs.", {"export": schemas_export}),
    "config": ("The configuration.", {"show": config_show}),
}


def _print_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Streaming active learning: events in, predictions and label requests out, answers back."""


def make_app() -> typer.Typer:
    """Return the command line that the tables describe."""
    app = typer.Typer(
        name="stream-al",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, command in COMMANDS.items():
        app.command(name)(command)
    for name, (summary, commands) in GROUPS.items():
        group = typer.Typer(help=summary, no_args_is_help=True)
        for subname, command in commands.items():
            group.command(subname)(command)
        app.add_typer(group, name=name)
    return app


app = make_app()


def main() -> None:
    """Run the command line; a user's mistake is one message, never a traceback."""
    try:
        app()
    except StreamALError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; the interpreter would complain once more
        sys.exit(0)
