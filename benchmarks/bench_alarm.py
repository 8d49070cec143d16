"""How often the alarm on the error goes off without a rise, and how soon with one.

    python -m benchmarks.bench_alarm [--streams 1000]

Streams are of floor answers alone: where one event in a hundred is asked by the floor, 1,000 answers are 10^5
events. Without a rise the error stays, or falls as a model learns.
"""

from __future__ import annotations

import argparse

import numpy as np

from stream_al.monitor.alarm import ErrorAlarm

ANSWERS = 1_000
LONGEST = 4_000
ERRORS = (0.02, 0.05, 0.1, 0.2, 0.3)


def first_alarm(losses: np.ndarray, after: int = 0) -> int | None:
    """Return how many answers after the first ``after`` the alarm goes off; None if it does not."""
    alarm = ErrorAlarm()
    for i, loss in enumerate(losses.tolist()):
        alarm.observe(float(loss), i)
        if alarm.alarms and i >= after:
            return i + 1 - after
        if alarm.alarms:  # by chance, before the rise: not a find
            return None
    return None


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--streams", type=int, default=1_000)
    streams = parser.parse_args().streams
    rng = np.random.default_rng(1)
    print(f"false alarms in {streams} streams of {ANSWERS} floor answers")
    for error in ERRORS:
        false = sum(
            first_alarm(rng.random(ANSWERS) < error) is not None for _ in range(streams // len(ERRORS))
        )
        print(f"  error {error:.2f}: {false} of {streams // len(ERRORS)}")
    falling = np.linspace(0.5, 0.1, ANSWERS)
    false = sum(first_alarm(rng.random(ANSWERS) < falling) is not None for _ in range(streams // len(ERRORS)))
    print(f"  error falling from 0.50 to 0.10: {false} of {streams // len(ERRORS)}")
    print("\nfloor answers from a rise of 0.10 to the alarm: median, 90th percentile, share found")
    print("| error before | after 400 answers | after 800 | after 1,600 |\n|---|---|---|---|")
    for error in (0.05, 0.1, 0.2, 0.3):
        cells = []
        for before in (400, 800, 1_600):
            rates = np.where(np.arange(before + LONGEST) < before, error, error + 0.1)
            delays = [first_alarm(rng.random(len(rates)) < rates, before) for _ in range(streams // 20)]
            found = [LONGEST if delay is None else delay for delay in delays]
            share = sum(delay is not None for delay in delays) / len(delays)
            cells.append(f"{np.median(found):.0f}, {np.quantile(found, 0.9):.0f}, {share:.0%}")
        print(f"| {error:.2f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
