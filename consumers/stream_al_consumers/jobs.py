"""From the options of `simulate` and `compare` to a job, and what must hold before it runs."""

from __future__ import annotations

from collections.abc import Callable
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from stream_al_consumers.options import listed
from stream_al_consumers.output import out, print_json, say

if TYPE_CHECKING:
    from stream_al.comparison import Job
    from stream_al.table import Table

MOST_CLASSES = 1_000


def make_job(
    file: Path,
    reading: dict[str, Any],
    *,
    labels: str,
    positive: str | None,
    query: dict[str, Any],
    model: dict[str, Any],
    people: tuple[str, float, float],
    plan: tuple[int, float, int | None],
    baseline: bool,
) -> Job:
    """Return the job that options describe.

    Parameters
    ----------
    file : Path
    reading : dict
        Options of the table as they were typed: lists are still separated by commas.
    labels : str
        Declared labels, separated by commas; open when empty.
    positive : str or None
    query : dict
        Settings of the query.
    model : dict
        Settings of the model.
    people : (delay, no_answer, noise)
    plan : (initial, holdout, tick)
    baseline : bool
        Whether random sampling runs beside.
    """
    from stream_al.comparison import Job
    from stream_al.simulate import Plan

    declared = listed(labels)
    lists = {name: listed(reading[name]) for name in ("categorical", "drop")}
    return Job(
        source=str(file),
        reading={**reading, **lists, "labels": declared or None},
        overrides={
            "query": query,
            "model": model,
            "task": {"labels": declared, "open_labels": not declared, "positive": positive},
            "outputs": {"predictions": "none"},
        },
        delay=people[0],
        no_answer=people[1],
        noise=people[2],
        plan=Plan(*plan),
        baseline=baseline,
    )


def check_job(job: Job, seed: int) -> Table:
    """Return the job's table after the checks that cost nothing; doubts are told, mistakes are errors.

    Raises
    ------
    ConfigurationError
        The label column holds no classes, ``--positive`` is none of them, or a duration has no clock.
    """
    from stream_al.errors import ConfigurationError
    from stream_al.table import doubtful_columns, infer_labels, require_two_labels

    table = job.table(seed)
    require_two_labels(table)
    labels = infer_labels(table)
    for doubt in doubtful_columns(table):
        say(f"warning: {doubt}")
    if len(labels) > MOST_CLASSES:
        raise ConfigurationError(
            f"the label column holds {len(labels)} different values; expected classes, at most "
            f"{MOST_CLASSES}; name another column with --label"
        )
    positive = job.overrides.get("task", {}).get("positive")
    if positive is not None and positive not in labels:
        raise ConfigurationError(f"--positive is {positive!r}; expected one of {', '.join(labels)}")
    if job.people(seed).delay.unit == "ms" and table.timestamps_ms is None:
        raise ConfigurationError(
            f"the delay {job.delay!r} is a duration, but the file has no clock; name its column with --time, "
            "or give the delay in events"
        )
    return table


def check_targets(*targets: Path | str | None) -> None:
    """Raise ConfigurationError where a result's directory is not there; ``-`` and None are no files."""
    from stream_al.errors import ConfigurationError

    for target in targets:
        if target not in (None, "-") and not Path(str(target)).parent.is_dir():
            raise ConfigurationError(
                f"there is no directory {Path(str(target)).parent}; make it, or name another file"
            )


def present(
    result: dict[str, Any], json: str | None, plot: Path | None, show: Callable[[dict[str, Any]], None]
) -> None:
    """Print the result as JSON (``-``); or write it, if a file is named, and show it to a person."""
    if json == "-":
        print_json(result)
        return
    if json is not None:
        with open_for_writing(Path(json)) as file:
            file.write(dumps(result, indent=2).encode())
    show(result)
    if plot is not None:
        out.print(f"picture: {plot}", markup=False)


def unscored(figures: dict[str, Any]) -> str:
    """Return on how many events the score failed, a mean over seeds.

    >>> unscored({"labels": {"unscored": 1142.0}}), unscored({"labels": {"unscored": 1 / 3}})
    ('1,142 events', '0.3 events')
    """
    return f"{figures['labels']['unscored']:,.1f}".removesuffix(".0") + " events"


def open_for_writing(path: Path) -> BinaryIO:
    """Open a result's file, or say why that is not possible."""
    from stream_al.errors import DataError

    try:
        return path.open("wb")
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); name another file") from error
