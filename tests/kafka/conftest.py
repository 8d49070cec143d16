"""Fixtures over a real Apache Kafka. Without one these tests are skipped aloud, and in CI they fail."""

from __future__ import annotations

import gc
import os
import secrets
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.kafka.broker import Broker, Cluster, NoKafka, external_bootstrap
from tests.kafka.shared import Addresses, shared_broker


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """The session's own broker with all its listeners, shared by the workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    session = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with shared_broker(session / "kafka") as addresses:
        yield addresses


@pytest.fixture(scope="session")
def bootstrap(request: pytest.FixtureRequest) -> list[str]:
    """Where this session's broker is: ``STREAM_AL_TEST_KAFKA``, or one of our own. Never stop or pause it."""
    external = external_bootstrap()
    if external:
        return external
    addresses: Addresses = request.getfixturevalue("shared")
    return addresses.bootstrap


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test has, for topics, consumer groups and transactional ids: ``t7f3a91c2.``."""
    return f"t{secrets.token_hex(4)}."


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for the tests of one module, which may pause it; let it go on afterwards."""
    with Broker(folder=tmp_path_factory.mktemp("own")) as broker:
        yield broker


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes for the tests of one module, which may kill and pause them; start them again afterwards."""
    folder: Path = tmp_path_factory.mktemp("cluster")
    with Cluster(folder=folder) as nodes:
        yield nodes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let kafka-python leave sockets open: it does when a connection is refused or a handshake fails."""
    here = Path(__file__).parent
    leak = r"ignore:unclosed <(ssl\.SSLSocket|socket\.socket):ResourceWarning"
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.filterwarnings(leak))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """Meet these leaks within the test that made them, and not in one that does not expect them.

    The outermost wrapper, since the log records that pytest keeps until here hold sockets as well.
    """
    try:
        return (yield)
    finally:
        gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    return (yield from _skip_without_kafka(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    return (yield from _skip_without_kafka(item))


def _skip_without_kafka(item: pytest.Item) -> Generator[None, None, None]:
    try:
        return (yield)
    except NoKafka as error:
        reason = str(error)
    if os.environ.get("CI"):
        pytest.fail(f"CI must run the Kafka tests: {reason}", pytrace=False)
    _say_once(item.config, f"KAFKA TESTS SKIPPED: {reason}")
    pytest.skip(reason)


_said = pytest.StashKey[bool]()


def _say_once(config: pytest.Config, text: str) -> None:
    """Write past pytest's capture, so that the reason is seen without ``-rs`` and from a worker too."""
    if config.stash.get(_said, False):
        return
    config.stash[_said] = True
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{text}\n", file=sys.stderr, flush=True)
