"""``init --log kafka``: a configuration for brokers; and topics where the log is a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_al.settings import load_settings

from .conftest import Run

# the client reads its own schemas in a way that Python 3.11 and 3.12 warn of
pytestmark = pytest.mark.filterwarnings("ignore:(open|read)_text is deprecated:DeprecationWarning")


def test_the_written_file_loads_and_says_what_comes_next(run: Run, points: Path) -> None:
    ran = run("init", "--from", points, "--label", "side", "--log", "kafka", "--json")
    assert ran.code == 0
    assert ran.json["bound"] == "at most 5 % of events + 80 labels, 12 partitions"
    settings = load_settings(Path("stream-al.toml"), serving=True)
    assert (settings.log.kind, settings.log.partitions, settings.log.prefix) == ("kafka", 12, "stream-al.")
    assert settings.kafka.bootstrap == ("localhost:9092",)
    assert (settings.kafka.group, settings.kafka.instance_id) == ("stream-al", None)
    assert settings.kafka.start == "earliest"
    assert settings.engine.max_batch == 2000
    following = [command.partition("#")[0].strip() for command in ran.json["next"]]
    create = following.index("stream-al topics create --partitions 12")
    assert create < following.index("stream-al serve")


def test_what_is_commented_out_can_be_used(run: Run, points: Path) -> None:
    run("init", "--from", points, "--label", "side", "--log", "kafka")
    file = Path("stream-al.toml")
    for key in ("instance_id", "security_protocol"):
        assert f"\n# {key} = " in file.read_text()
        file.write_text(file.read_text().replace(f"# {key} = ", f"{key} = "))
    settings = load_settings(file, serving=True)
    assert settings.kafka.instance_id == "stream-al-0"
    assert settings.kafka.security_protocol == "SASL_SSL"


def test_the_log_may_be_another_file(run: Run, points: Path) -> None:
    ran = run("init", "--from", points, "--label", "side", "--log", 'my "events".db', "--json")
    settings = load_settings(Path("stream-al.toml"), serving=True)
    assert (settings.log.kind, settings.log.path) == ("sqlite", Path('my "events".db'))
    assert settings.engine.max_batch == 500
    assert not any("topics" in command for command in ran.json["next"])


@pytest.mark.parametrize("command", ["create", "check"])
def test_a_file_needs_no_topics(run: Run, command: str) -> None:
    ran = run("topics", command)
    assert ran.code == 2
    assert 'log.kind is "sqlite", which needs no topics' in ran.err
    assert 'set log.kind = "kafka"' in ran.err


def test_numbers_of_partitions_are_bounded_like_the_setting(run: Run) -> None:
    Path("stream-al.toml").write_text('[log]\nkind = "kafka"\n')
    ran = run("topics", "create", "--partitions", 1000)
    assert (ran.code, "log.partitions" in ran.err) == (2, True)


def test_contradictions_are_told_before_anybody_connects(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_AL__LOG__KIND", "kafka")
    monkeypatch.setenv("STREAM_AL__KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    ran = run("topics", "check")
    assert (ran.code, "kafka.sasl_username is not set" in ran.err) == (2, True)
