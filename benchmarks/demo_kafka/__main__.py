"""Run the demo: ``make demo-kafka``, or ``python -m benchmarks.demo_kafka``.

A real broker is started here (Java and Maven, or Docker; or set STREAM_AL_TEST_KAFKA=host:port), two replicas
of the service share the partitions of a stream, and one of them is killed while it runs. At the end the
topics are read from their beginning and compared with what is promised. Exit code 1: a promise was broken.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks.demo_kafka.processes import CommandFailed
from benchmarks.demo_kafka.show import Plan, Show
from tests.kafka.broker import Broker, BrokerFailed, NoKafka, external_bootstrap

EVENTS, RATE = 12_000, 400.0
NO_BROKER, INTERRUPTED = 4, 130


@contextmanager
def broker() -> Iterator[list[str]]:
    """Yield the addresses of the broker that the environment names, or of one of our own."""
    if external := external_bootstrap():
        yield external
        return
    with Broker() as own:
        yield own.bootstrap


def main() -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=EVENTS, help="of 25,000 that there are")
    parser.add_argument("--rate", type=float, default=RATE, help="events a second")
    options = parser.parse_args()
    out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    began = time.monotonic()
    out.print(
        f"stream-al on Kafka: {options.events:,} events of NASA's Shuttle log, two replicas, budget 1 %"
    )
    try:
        with broker() as bootstrap, tempfile.TemporaryDirectory(prefix="stream-al-demo-") as folder:
            prefix = f"demo{secrets.token_hex(3)}."
            with Show(bootstrap, Path(folder), prefix, Plan(options.events, options.rate), out) as show:
                checks, right = show.play()
    except NoKafka as error:
        err.rule("[red]NO KAFKA, NO DEMO[/]", style="red")
        err.print(f"{error}.", markup=False)
        return NO_BROKER
    except KeyboardInterrupt:
        err.print("stopped; nothing is left behind")
        return INTERRUPTED
    except (BrokerFailed, CommandFailed) as error:
        err.print(f"the demo failed: {error}", markup=False)
        return 1
    for check in checks:
        mark = "[green]kept  [/]" if check.kept else "[red]BROKEN[/]"
        out.print(f"{mark} {check.promise}: {check.found}")
    kept = all(check.kept for check in checks)
    verdict = "[green]VERIFIED[/]" if kept else "[red]NOT VERIFIED[/]"
    out.print(
        f"{verdict}, one replica killed on the way; {right:.1%} of all predictions right, "
        f"told before their label; {time.monotonic() - began:.0f} s"
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
