"""``labels import`` and ``labels export``: labels from and to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_al_consumers.options import (
    CategoricalOption,
    ConfigOption,
    DropOption,
    HeadOption,
    JsonOption,
    LabelOption,
    LogOption,
    TextOption,
    TimeOption,
    listed,
)
from stream_al_consumers.output import out, print_json, progress


def labels_import(
    file: Annotated[Path, typer.Argument(help="CSV(.gz), Parquet or npz with a label column.")],
    label: LabelOption,
    text: TextOption = None,
    time: TimeOption = None,
    categorical: CategoricalOption = "",
    drop: DropOption = "",
    head: HeadOption = None,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Teach the model labels that are known already: a warm start.

    They count as organic labels: learned, but left out of the accuracy estimate. Importing a file twice
    teaches it once.
    """
    from contextlib import closing

    from stream_al.datasets import read_table
    from stream_al_consumers.configuration import log_name, open_log, read_settings
    from stream_al_consumers.labels import CHUNK, check_importable, organic_replies

    settings = read_settings(config, log)
    table = read_table(
        file, label=label, text=text, time=time, categorical=listed(categorical), drop=listed(drop), head=head
    )
    check_importable(table, settings)
    done = 0
    with closing(open_log(settings, create=True)) as replies, progress() as bar:
        task = bar.add_task("importing labels", total=table.n)
        for chunk in organic_replies(table):
            replies.append_many("label-replies", chunk)
            done += len(chunk)
            bar.advance(task, CHUNK)
    if json:
        print_json({"imported": done, "without_label": table.n - done, "log": log_name(settings)})
    else:
        out.print(f"{done} labels imported into {log_name(settings)}", markup=False)


def labels_export(
    to: Annotated[
        Path | None, typer.Option("--out", help="A .jsonl or .csv file; JSON lines on stdout without.")
    ] = None,
    config: ConfigOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Write every answered request: encoded input, label, and the propensity with which it was asked.

    Weigh each row by 1/propensity, and an offline model sees the stream as it was, not as it was chosen. Rows
    of the backlog and of the end of a batch have no propensity: for that purpose leave them out.
    """
    from contextlib import closing

    from stream_al_consumers.configuration import open_log, read_settings
    from stream_al_consumers.labels import answered_requests, write_rows

    settings = read_settings(config, log)
    with closing(open_log(settings)) as source:
        rows = answered_requests(source, settings)
        count = write_rows(rows, to)
    if to is not None and json:
        print_json({"exported": count, "file": str(to)})
    elif to is not None:
        out.print(f"{count} answered requests written to {to}", markup=False)
