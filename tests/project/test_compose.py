"""The compose file starts what it means to: held against its specification, the settings, the command line.

No container is started here. The scripts and the data that services make at the first start are made.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.deployment import compose, dockerfile, environment, health_command, parse, run, text
from support.pages import ROOT, codes, page, rows
from typer.testing import CliRunner

from stream_al.datasets import read_table
from stream_al.settings import HttpSettings, Settings, load_settings
from stream_al_consumers.cli import app
from stream_al_consumers.door import access_token, is_loopback

COMPOSE = compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
IMAGE = "stream-al:0.1.0"
OURS = {name: service for name, service in SERVICES.items() if service["image"] == IMAGE}
COMMANDS = {name: service for name, service in OURS.items() if "entrypoint" not in service}
REPLICAS = {name: service for name, service in OURS.items() if service["command"] == ["serve"]}


def schema_errors(document: Mapping[str, Any]) -> list[str]:
    schema = json.loads((ROOT / "tests/project/compose-spec.json").read_text(encoding="utf-8"))
    found = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in found]


def test_compose_follows_its_specification():
    assert schema_errors(yaml.safe_load(text("docker-compose.yml"))) == []
    assert schema_errors({"services": {"a": {"image": "b:1.0", "restarts": "always"}}}) != []


def test_docker_accepts_the_compose_file():
    """Where there is the compose plugin; the schema above is held against the file everywhere."""
    docker = shutil.which("docker")
    if docker is None or run(docker, "compose", "version", cwd=ROOT).returncode != 0:
        pytest.skip("`docker compose` is not installed here: only the schema has judged docker-compose.yml")
    found = run(docker, "compose", "config", "--quiet", cwd=ROOT)
    assert found.returncode == 0, found.stderr
    assert "level=warning" not in found.stderr, found.stderr


def test_there_are_two_replicas_and_a_world_around_them():
    assert set(REPLICAS) == {"serve-1", "serve-2"}
    assert set(OURS) == {"token", "data", "topics", *REPLICAS, "produce", "annotators"}
    assert set(SERVICES) == {*OURS, "kafka", "prometheus"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_service_has_a_command_that_parses(name):
    parse(COMMANDS[name]["command"])


@pytest.mark.parametrize("name", OURS)
def test_every_service_has_an_environment_that_loads(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with environment(monkeypatch, OURS[name]["environment"]):
        settings = load_settings(serving=True)
    assert settings.log.kind == "kafka"
    assert settings.kafka.bootstrap == ("kafka:9092",)
    assert settings.secrets().keys() == {"k1"}


def test_the_replicas_differ_where_they_must_and_nowhere_else():
    one, two = (dict(service["environment"]) for service in REPLICAS.values())
    name = "STREAM_AL__KAFKA__INSTANCE_ID"
    assert (one.pop(name), two.pop(name)) == tuple(REPLICAS)
    assert one == two
    bases = [
        next(v for v in service["volumes"] if v.endswith("/bases")).partition(":")[0]
        for service in REPLICAS.values()
    ]
    assert len(set(bases)) == 2, "one writer a directory"


def test_the_topics_are_as_the_services_expect_them():
    words = OURS["topics"]["command"]
    shared = OURS["topics"]["environment"]
    assert words[words.index("--partitions") + 1] == shared["STREAM_AL__LOG__PARTITIONS"]
    assert words[words.index("--replication-factor") + 1] == shared["STREAM_AL__KAFKA__REPLICATION_FACTOR"]


def test_the_broker_is_set_for_transactions_on_one_node():
    broker = SERVICES["kafka"]["environment"]
    assert broker["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    for name in ("TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "TRANSACTION_STATE_LOG_MIN_ISR"):
        assert broker[f"KAFKA_{name}"] == "1"
    assert "INSIDE://kafka:9092" in broker["KAFKA_ADVERTISED_LISTENERS"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", broker["CLUSTER_ID"]), "a base64url UUID"


def test_the_token_is_made_once_and_admits_the_service(tmp_path):
    (script,) = SERVICES["token"]["command"]
    made_at = OURS["serve-1"]["environment"]["STREAM_AL__HTTP__TOKEN_FILE"]
    assert made_at in script
    file = tmp_path / "http-token"
    for _ in range(2):
        made = run(sys.executable, "-c", script.replace(made_at, str(file)), cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        token = file.read_text()
        assert len(token) == 64
        assert file.stat().st_mode & 0o777 == 0o440
        assert list(tmp_path.iterdir()) == [file]
    assert run(sys.executable, "-c", script.replace(made_at, str(file)), cwd=tmp_path).returncode == 0
    assert file.read_text() == token, "the second start keeps it"
    host = OURS["serve-1"]["environment"]["STREAM_AL__HTTP__HOST"]
    assert not is_loopback(host)
    assert access_token(HttpSettings(host=host, token_file=file)).admits(f"Bearer {token}")


def test_the_data_is_what_produce_and_the_annotators_read(tmp_path):
    exported = OURS["data"]["command"][-1]
    produced, answered = OURS["produce"]["command"], OURS["annotators"]["command"]
    assert produced[1] == answered[answered.index("--answers") + 1] == exported
    column = produced[produced.index("--label") + 1]
    assert answered[answered.index("--label") + 1] == column

    file = tmp_path / "shuttle.csv"
    words = [str(file) if word == exported else word for word in OURS["data"]["command"]]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert json.loads(done.stdout) == {"rows": 25_000, "path": str(file)}
    assert list(tmp_path.iterdir()) == [file]
    table = read_table(file, label=column)
    assert table.n == 25_000
    assert (table.label_codes >= 0).all()
    labels = json.loads(OURS["serve-1"]["environment"]["STREAM_AL__TASK__LABELS"])
    assert set(table.label_names) == set(labels)
    assert set(table.kinds.values()) == {"number"}


def test_data_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "nowhere" / "a.csv", tmp_path / "file" / "a.csv", tmp_path):
        done = CliRunner().invoke(app, ["demo", "--export-data", str(place)])
        assert done.exit_code == 1
        assert "cannot be written" in str(done.exception)
        assert "--export-data" in str(done.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_services_wait_for_what_can_happen():
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"], f"{name} waits for ever"
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert SERVICES[other]["restart"].startswith("on-failure:"), f"{other} has no end"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded_and_restarted_and_reached_from_here_alone(name):
    service = SERVICES[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert re.match(r"on-failure|unless-stopped", service["restart"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    if name in OURS:
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        checked = service["healthcheck"].get("test") == ["CMD", *health_command()]
        assert checked == (name in REPLICAS)
        assert checked != service["healthcheck"].get("disable", False)


def test_volumes_are_declared_used_and_written_where_the_image_has_a_directory():
    used = [volume.split(":") for service in SERVICES.values() for volume in service.get("volumes", ())]
    named = [volume for volume in used if not volume[0].startswith("./")]
    assert {volume[0] for volume in named} == set(COMPOSE["volumes"])
    assert all((ROOT / volume[0]).exists() for volume in used if volume not in named)
    made = next(
        line.value for line in dockerfile() if line.name == "RUN" and "install --directory" in line.value
    )
    for service in OURS.values():
        for volume in service.get("volumes", ()):
            assert volume.split(":")[1] in made.split(), "a volume elsewhere would belong to root"


def test_prometheus_reads_every_replica_with_the_token():
    config = SERVICES["prometheus"]["command"][0].removeprefix("--config.file=/etc/prometheus/")
    (folder,) = [
        volume.split(":")[0]
        for volume in SERVICES["prometheus"]["volumes"]
        if volume.endswith(":/etc/prometheus:ro")
    ]
    read = yaml.safe_load((ROOT / folder / config).read_text(encoding="utf-8"))
    assert all(list((ROOT / folder).glob(pattern)) for pattern in read["rule_files"])
    jobs = {job["job_name"]: job for job in read["scrape_configs"]}
    job = jobs["stream-al"]
    port = Settings().http.port
    assert job["static_configs"] == [{"targets": [f"{name}:{port}" for name in REPLICAS]}]
    token = Path(job["authorization"]["credentials_file"])
    secrets = next(v for v in SERVICES["prometheus"]["volumes"] if v.startswith("secrets:")).split(":")
    made_at = Path(OURS["serve-1"]["environment"]["STREAM_AL__HTTP__TOKEN_FILE"])
    assert token == Path(secrets[1]) / made_at.name
    assert secrets[2] == "ro"


def test_the_only_secret_in_the_file_is_the_development_key():
    written = re.findall(
        r"^.*(?:KEY|PASSWORD|SECRET|TOKEN)\w*: .*$", text("docker-compose.yml"), re.MULTILINE
    )
    values = [line.split(": ", 1)[1] for line in written if not line.strip().startswith("#")]
    key = b"development-only".hex()
    assert values == [f"${{STREAM_AL_TICKET_KEY:-{key}}}", "/var/lib/stream-al/secrets/http-token"]


def test_the_page_tells_of_every_service():
    told = [name for row in rows(page("docs/deployment.md"), "service") for name in codes(row[0])]
    assert told == list(SERVICES)
