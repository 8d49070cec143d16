"""A real Prometheus reads a real service with our configuration: every rule is healthy and returns series."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from stream_al.metrics import FAMILIES
from tests.cli.conftest import serving
from tests.support.pages import page
from tests.support.prometheus import alerts, check_that_all_return, needs, prometheus, query, until, value
from tests.support.promql import parse

TOKEN = "a7" * 32
CONFIGURATION = """\
[task]
labels = ["left", "right"]
positive = "right"
[model]
random_share = true
[query]
budget = 1.0
near_duplicates = false
[ticket_keys]
k1 = "00112233445566778899aabbccddeeff"
"""
ROUND = 100
KAFKA_ONLY = (
    "stream_al_consumer_lag_records",
    "stream_al_consumer_lag_seconds",
    "stream_al_consumer_rebalances_total",
    "stream_al_consumer_commits_total",
)
"""A group shares its events there: an embedded log has no lag, no rebalance, no commit that others may fence.
``tests/kafka/test_monitoring_on_kafka.py`` has them."""


def ask_and_answer(http: httpx.Client, rng: np.random.Generator) -> None:
    """Send events, wait for the questions, answer all of them."""
    values = {f"e{number}": rng.normal() for number in rng.integers(1 << 60, size=ROUND)}
    events = [{"event_id": name, "features": {"a": a, "b": rng.normal()}} for name, a in values.items()]
    assert http.post("/v1/events", json=events).status_code == 202
    found = until(
        lambda: (page := http.get("/v1/requests", params={"max": 1000}).json())["open"] >= ROUND and page,
        "the questions",
    )
    replies = [
        {
            "reply_id": request["request_id"],
            "ticket": request["ticket"],
            "label": "right" if request["event"]["features"]["a"] > 0 else "left",
            "annotator_id": "me",
        }
        for request in found["requests"]
    ]
    assert http.post("/v1/replies", json=replies).status_code == 202
    until(lambda: http.get("/status").json()["open_requests"] == 0, "the answers to be folded")


def status_paths() -> set[str]:
    """Return what the runbook reads off /status."""
    filters = re.findall(r"/status \| jq '([^']+)'", page("docs/alerts.md"))
    return {path for line in filters for path in re.findall(r"[\w.]+", line)}


def has(found: Any, path: str) -> bool:
    """Return whether JSON has a path like ``.lag.events``."""
    for key in path.strip(".").split("."):
        if key not in found:
            return False
        found = found[key]
    return True


def all_shown(estimate: dict[str, Any]) -> bool:
    """Return whether there are answers enough for the accuracy and for all ratios of the positive class."""
    positive = estimate.get("positive") or {}
    ratios = [positive.get(name, {}) for name in ("precision", "recall", "false_positive")]
    return all(found.get("shown") for found in [estimate, *ratios])


def test_every_rule_is_healthy_and_returns_series(tmp_path: Path):
    (tmp_path / "stream-al.toml").write_text(CONFIGURATION)
    rng = np.random.default_rng(0)
    with serving(tmp_path, environment={"STREAM_AL__HTTP__TOKEN": TOKEN}) as served:
        served.http.headers["Authorization"] = f"Bearer {TOKEN}"
        target = f"{served.http.base_url.host}:{served.http.base_url.port}"
        with prometheus(tmp_path, [target], TOKEN) as seen:
            for rounds in count(1):
                ask_and_answer(served.http, rng)
                if all_shown(served.http.get("/status").json()["estimate"]):
                    break
                assert rounds < 20, "no estimates after two thousand answers"
            check_that_all_return(seen, without=KAFKA_ONLY)
            events = ROUND * rounds
            until(lambda: value(seen, "job:stream_al_events_total:sum") == events, "all events")
            until(lambda: value(seen, "job:stream_al_labels_learned_total:sum") == events, "all labels")
            # what was asked before the first answer had no prediction, which counts as wrong
            others = 'ALERTS{alertname!="StreamAlAccuracyBelowTarget"}'
            until(lambda: not query(seen, others), "a healthy service without an alert, even a pending one")
            shown = status_paths()
            assert len(shown) > 15
            assert [path for path in sorted(shown) if not has(served.http.get("/status").json(), path)] == []
            served.process.kill()
            fired = until(lambda: query(seen, 'ALERTS{alertname="StreamAlDown"}'), "an alert to be pending")
            assert [each["metric"]["alertstate"] for each in fired] == ["pending"]


def test_only_alerts_about_kafka_need_kafka():
    assert set(KAFKA_ONLY) == {family.name for family in FAMILIES if "consumer" in family.name}
    found = {name for name, rule in alerts().items() if needs(parse(rule["expr"])) & set(KAFKA_ONLY)}
    assert found == {
        "StreamAlLagGrowing",
        "StreamAlPartitionStopped",
        "StreamAlCommitsFailing",
        "StreamAlRebalanceStorm",
    }
