"""Kafka passes the public log suite unchanged, on a real broker."""

from __future__ import annotations

import secrets

import pytest

from stream_al.conformance.log import CHECKS, Check
from tests.kafka.under_test import KafkaUnderTest


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_log(check: Check, bootstrap: list[str]) -> None:
    check(lambda partitions: KafkaUnderTest(bootstrap, f"t{secrets.token_hex(4)}.", partitions))
