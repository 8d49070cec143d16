"""``topics create`` and ``topics check``: the five topics on Kafka, made and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_al_consumers.options import ConfigOption, JsonOption
from stream_al_consumers.output import out, print_json, say

if TYPE_CHECKING:
    from stream_al.log.kafka_topics import Finding
    from stream_al.settings import Settings

PartitionsOption = Annotated[
    int | None,
    typer.Option("--partitions", help="Of events, predictions and requests; log.partitions without."),
]


def topics_create(
    partitions: PartitionsOption = None,
    replication_factor: Annotated[
        int | None, typer.Option("--replication-factor", help="kafka.replication_factor without.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Create the topics that are missing, then check all; exit 4 if anything is wrong.

    Topics that exist stay as they are.
    """
    settings = _settings(config, partitions, replication_factor)

    from stream_al.log.kafka_topics import check_topics, create_topics
    from stream_al.log.protocol import TOPICS
    from stream_al_consumers.configuration import sign_of_life
    from stream_al_consumers.kafka_options import kafka_options

    options, terms = kafka_options(settings), settings.log
    with sign_of_life(settings):
        made = create_topics(
            options, terms.partitions, settings.kafka.replication_factor, terms.max_age_seconds
        )
    existed = [options.topic(name) for name in TOPICS if options.topic(name) not in made]
    if not json:
        for name in made:
            out.print(f"created {name}", markup=False)
        for name in existed:
            out.print(f"existed {name}", markup=False)
    _tell(check_topics(options, terms.partitions), json, {"created": made, "existed": existed})


def topics_check(
    partitions: PartitionsOption = None, config: ConfigOption = None, json: JsonOption = False
) -> None:
    """Look at topics and brokers; exit 4 if anything is wrong. Nothing is changed."""
    settings = _settings(config, partitions)

    from stream_al.log.kafka_topics import check_topics
    from stream_al_consumers.configuration import sign_of_life
    from stream_al_consumers.kafka_options import kafka_options

    with sign_of_life(settings):
        found = check_topics(kafka_options(settings), settings.log.partitions)
    _tell(found, json, {})


def _settings(config: Path | None, partitions: int | None, replication_factor: int | None = None) -> Settings:
    """Return the settings under the flags.

    Raises
    ------
    ConfigurationError
        A setting is wrong, or the log is none that has topics to be made.
    """
    from stream_al.errors import ConfigurationError
    from stream_al_consumers.configuration import read_settings

    configured = read_settings(config)
    if configured.log.kind != "kafka":
        raise ConfigurationError(
            f'log.kind is "{configured.log.kind}", which needs no topics to be made: they are for Kafka; '
            'set log.kind = "kafka" (`stream-al init --log kafka` writes such a configuration)'
        )
    flags: dict[str, dict[str, Any]] = {}
    if partitions is not None:
        flags["log"] = {"partitions": partitions}
    if replication_factor is not None:
        flags["kafka"] = {"replication_factor": replication_factor}
    if partitions is not None and partitions != configured.log.partitions:
        say(
            f"note: log.partitions is {configured.log.partitions}; "
            f"`stream-al serve` needs log.partitions = {partitions}"
        )
    return read_settings(config, None, flags)


def _tell(findings: list[Finding], json: bool, more: dict[str, Any]) -> None:
    """Print what was found.

    Raises
    ------
    typer.Exit
        There are errors.
    """
    from rich.text import Text

    from stream_al.errors import LogError

    wrong = any(finding.severity == "error" for finding in findings)
    if json:
        print_json({"ok": not wrong, **more, "findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            mark = Text(f"{finding.severity:8}", style="red" if finding.severity == "error" else "yellow")
            said = f"{finding.subject}: found {finding.found}; expected {finding.expected}"
            out.print(mark.append(said, style="default"))
            out.print(Text(f"        {finding.cure}", style="dim"))
        if not wrong:
            out.print(Text("ok      ", style="green").append("the topics can be used", style="default"))
    if wrong:
        raise typer.Exit(LogError.exit_code)
