"""A service starts while one broker of three has just died, and the others still name it as alive."""

from __future__ import annotations

from contextlib import closing

import pytest

from stream_al.log.kafka import KafkaLog
from stream_al.log.kafka_connection import KafkaOptions
from stream_al.log.kafka_topics import check_topics, create_topics
from stream_al.log.protocol import EVENTS
from tests.kafka.broker import Cluster


@pytest.mark.slow
def test_topics_are_checked_and_opened_although_a_broker_is_down(cluster: Cluster, prefix: str) -> None:
    options = KafkaOptions(tuple(cluster.bootstrap), prefix, prefix + "group", start="earliest")
    create_topics(options, 4, 3, 86_400)
    for node in cluster.nodes:
        node.kill()
        try:
            for _ in range(5):  # the client chooses whom it asks at random
                assert not [found for found in check_topics(options, 4) if found.severity == "error"]
                with closing(KafkaLog(options)) as log:
                    assert log.partitions(EVENTS) == 4
        finally:
            node.start()
            cluster.wait_until_in_sync()
