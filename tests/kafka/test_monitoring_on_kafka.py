"""A real Prometheus reads two replicas on a real broker: all rules return series, nothing counts twice."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from stream_al.metrics import FAMILIES
from tests.cli.conftest import serving
from tests.kafka.test_kafka_service import ROWS, TABLE, configure, partitions_of, run, status, until
from tests.support.prometheus import check_that_all_return, prometheus, query, value

TOKEN = "a7" * 32
EVENTS = "job:stream_al_events_total:sum"
LABELS = "job:stream_al_labels_learned_total:sum"
RATIOS = tuple(f"stream_al_estimated_{name}_" for name in ("precision", "recall", "false_positive"))
COMPARISON = ("stream_al_random_share_", "stream_al_advantage_")
NOT_CONFIGURED = tuple(family.name for family in FAMILIES if family.name.startswith((*RATIOS, *COMPARISON)))
"""No class is named positive and no second model learns; ``tests/monitoring/test_live.py`` has these."""


def address(http: httpx.Client) -> str:
    http.headers["Authorization"] = f"Bearer {TOKEN}"
    return f"{http.base_url.host}:{http.base_url.port}"


def produce_and_answer(directory: Path, *replicas: httpx.Client) -> int:
    """Send events in two waves, answer all questions of each; return the number of labels."""
    answers = ("--answers", TABLE[0], *TABLE[1:], "--no-answer", "0", "--noise", "0")
    learned = 0
    for head in (100, ROWS):
        run(directory, "produce", *TABLE, "--head", str(head))
        until("the questions", lambda head=head: sum(status(http)["events"] for http in replicas) == head)
        learned += run(directory, "annotator", *answers, "--once", "--json").json["answered"]
        until("the labels", lambda learned=learned: status(replicas[0])["model"]["learned"] == learned)
    return learned


@pytest.mark.slow
def test_two_replicas_are_one_in_every_rule(tmp_path: Path, bootstrap: list[str], prefix: str) -> None:
    configure(tmp_path, bootstrap[0], prefix, 4)
    run(tmp_path, "topics", "create")
    secret = {"STREAM_AL__HTTP__TOKEN": TOKEN}
    with serving(tmp_path, environment=secret) as first, serving(tmp_path, environment=secret) as second:
        targets = [address(each.http) for each in (first, second)]
        until("two and two", lambda: {len(partitions_of(s.http)) for s in (first, second)} == {2})
        with prometheus(tmp_path, targets, TOKEN) as seen:
            learned = produce_and_answer(tmp_path, first.http, second.http)
            until("all events, once", lambda: value(seen, EVENTS) == ROWS)
            until("all labels, once", lambda: value(seen, LABELS) == learned)
            check_that_all_return(seen, without=NOT_CONFIGURED)

            second.process.kill()
            until("one owner", lambda: len(partitions_of(first.http)) == 4)
            until("all events again", lambda: value(seen, EVENTS) == ROWS)
            assert value(seen, f"max_over_time({EVENTS}[5m])") == ROWS
            assert value(seen, f"max_over_time({LABELS}[5m])") == learned
            # a partition that was not there for a while comes back where it was
            assert query(seen, "resets(job_partition:stream_al_events_total:max[5m]) > 0") == []
            (missing,) = until("the alert", lambda: query(seen, 'ALERTS{alertname="StreamAlReplicaMissing"}'))
            assert missing["metric"]["instance"] == targets[1]
            assert query(seen, 'ALERTS{alertname="StreamAlDown"}') == []
            assert first.stop() == 0
