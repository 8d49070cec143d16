"""Our rules as they stand in ``grafana/prometheus``, and a real Prometheus that reads them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.pages import ROOT
from tests.support.promql import Labels, labels, parse, scraped, selectors

FOLDER = ROOT / "grafana" / "prometheus"
RULES = tuple(FOLDER / "rules" / f"{name}.yml" for name in ("targets", "recording", "alerts"))
"""Rule files; each uses what those before it record."""
PATIENCE = 30.0
"""Seconds after which a rule that has said nothing will say nothing."""

_told: set[str] = set()


def program(name: str) -> str:
    """Return the path of ``prometheus`` or ``promtool``; without it, skip aloud, and fail in CI."""
    found = shutil.which(name)
    if found is not None:
        return found
    reason = f"{name} is not installed (Debian: apt-get install prometheus; else prometheus.io/download)"
    if os.environ.get("CI"):
        pytest.fail(f"CI must test the alerts: {reason}", pytrace=False)
    if name not in _told:  # past pytest's capture, so that it is seen without -rs
        _told.add(name)
        print(f"\nMONITORING TESTS SKIPPED: {reason}\n", file=sys.__stderr__, flush=True)
    pytest.skip(reason)


def rules(name: str) -> list[dict[str, Any]]:
    """Return the rules of a file, in order."""
    read = yaml.safe_load((FOLDER / "rules" / f"{name}.yml").read_text(encoding="utf-8"))
    return [rule for group in read["groups"] for rule in group["rules"]]


@cache
def recorded() -> dict[str, Any]:
    """Return every recorded name with the tree of its expression, in an order in which they can be made."""
    return {rule["record"]: parse(rule["expr"]) for rule in [*rules("targets"), *rules("recording")]}


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Return every alert by its name."""
    return {rule["alert"]: rule for rule in rules("alerts")}


@cache
def known() -> dict[str, Labels]:
    """Return every series that an alert may use, with its labels."""
    found = scraped()
    for name, tree in recorded().items():
        kept = labels(tree, found)
        assert kept is not None, f"{name} is a number, without a job"
        found[name] = kept
    return found


def needs(tree: Any) -> set[str]:
    """Return the scraped series that an expression rests on, through what is recorded."""
    made = recorded()
    names = {each.name for each in selectors(tree)}
    return {raw for name in names for raw in (needs(made[name]) if name in made else {name})}


@contextmanager
def prometheus(directory: Path, targets: Sequence[str], token: str) -> Iterator[httpx.Client]:
    """Run Prometheus with our configuration: only addresses, paths and intervals are others."""
    binary = program("prometheus")
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "500ms")
    config["rule_files"] = [str(FOLDER / pattern) for pattern in config["rule_files"]]
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "stream-al"]
    secret = directory / "http-token"
    secret.write_text(token)
    job["authorization"]["credentials_file"] = str(secret)
    job["static_configs"] = [{"targets": list(targets)}]
    config["scrape_configs"] = [job]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    output = directory / "prometheus.log"
    command = [
        binary,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={address}",
    ]
    with output.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            with httpx.Client(base_url=f"http://{address}", timeout=10.0) as client:
                until(lambda: _ready(client, process, output), "Prometheus to start")
                yield client
        finally:
            process.kill()


def _ready(client: httpx.Client, process: subprocess.Popen[bytes], output: Path) -> bool:
    assert process.poll() is None, output.read_text()
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def until(condition: Callable[[], Any], what: str) -> Any:
    """Ask until something is true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain for {what}"
        time.sleep(0.05)
    return found


def query(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    """Return the series that an expression gives now."""
    answer = client.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def value(client: httpx.Client, expression: str) -> float | None:
    """Return the value of an expression that gives one series; None while it gives none."""
    found = query(client, expression)
    assert len(found) <= 1, found
    return float(found[0]["value"][1]) if found else None


def check_that_all_return(client: httpx.Client, without: Sequence[str] = ()) -> None:
    """Wait until all rules are healthy, and what they record and what alerts select gives series.

    Parameters
    ----------
    client : httpx.Client
        Of the running Prometheus.
    without : sequence of str
        Scraped series that this service cannot have: what rests on them must give nothing.
    """
    wanted = {name: name for name in recorded()}
    wanted |= {str(each): each.name for rule in alerts().values() for each in selectors(parse(rule["expr"]))}
    absent = {text for text, name in wanted.items() if needs(parse(name)) & set(without)}

    def unhealthy() -> list[str]:
        groups = client.get("/api/v1/rules").json()["data"]["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        assert len(found) == len(recorded()) + len(alerts())
        return [
            f"{rule['name']}: {rule['health']} {rule.get('lastError')}"
            for rule in found
            if rule["health"] != "ok"
        ]

    until(lambda: not unhealthy(), "healthy rules")
    waiting = set(wanted) - absent
    until(
        lambda: (
            not waiting.difference_update([text for text in waiting if query(client, text)]) and not waiting
        ),
        f"series of {waiting}",
    )
    assert [text for text in sorted(absent) if query(client, text)] == []
    assert unhealthy() == []
