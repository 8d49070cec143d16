"""``make bench``: the benchmarks that take a minute; each also runs alone.

python -m benchmarks.bench_engine    the engine against river's and scikit-activeml's loops
python -m benchmarks.bench_pool      the default model: scoring and learning
python -m benchmarks.bench_scores    what each score and each policy costs an event
python -m benchmarks.bench_ratios    how often the intervals of precision, recall and the CBPE gap hold
python -m benchmarks.labels          what the same labels buy, against the field (--quick: half an hour)
python -m benchmarks.long_run        two million events on a bounded log (some minutes)
python -m benchmarks.kill_serve      a hundred kill -9 under traffic (some minutes)
python -m benchmarks.mutants         do the tests notice a changed line?
python -m benchmarks.bench_kafka     the engine on a real broker against bare loops (minutes; Java or Docker)
python -m benchmarks.bench_scaling   what a second replica costs; --long: memory over two million events
python -m benchmarks.bench_latency   from an event's append to its prediction in a reader's hands
python -m benchmarks.recovery        how long it takes to go on after a death
python -m benchmarks.chaos           `make chaos`
"""

from __future__ import annotations

import sys

from benchmarks import bench_engine, bench_pool


def main() -> None:
    """Run both."""
    for module in (bench_engine, bench_pool):
        print(f"== {module.__name__.rpartition('.')[2]}", flush=True)
        sys.argv = [module.__name__]
        module.main()


if __name__ == "__main__":
    main()
