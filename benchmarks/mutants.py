"""Mutants: one-line faults that the tests must notice, each by name.

A mutant is a replacement in one file of a copy of the package. The named test runs with that copy first on
the path; a mutant that no test kills is a hole in the specification: ``python -m benchmarks.mutants``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "stream_al"
SECONDS = 300


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault: in ``file``, ``old`` (found exactly once) becomes ``new``; ``test`` must fail then."""

    name: str
    file: str
    old: str
    new: str
    test: str


LEDGER = "tests/laws/test_ledger_laws.py"
MUTANTS = (
    Mutant(
        "score sign",
        "query/uncertainty.py",
        "return 1.0 - gap",
        "return gap",
        "tests/unit/test_scores.py::test_the_formulas",
    ),
    Mutant(
        "propensity always 1",
        "outputs.py",
        "propensity=decision.propensity or 1.0,",
        "propensity=1.0,",
        "tests/unit/test_engine.py::test_tickets_carry_what_the_partition_had_asked",
    ),
    Mutant(
        "learn twice",
        "learner.py",
        "        self.model.learn(",
        "        self.model.learn(self.columns.inputs([encoded], self.scaler, pad=False), y, weight)\n"
        "        self.model.learn(",
        "tests/unit/test_learner.py::test_an_answer_is_learned_once",
    ),
    Mutant(
        "ignore dedupe",
        "learner.py",
        "        if voter in ballot.voters:\n"
        '            self.outcomes["duplicate"] += 1\n            return\n'
        "        if ballot.closed:",
        "        if ballot.closed:",
        "tests/unit/test_learner.py::test_an_answer_is_learned_once",
    ),
    Mutant(
        "coin from random",
        "query/coin.py",
        "digests.append(digest.digest())",
        'digests.append(__import__("os").urandom(len(digest.digest())))',
        f"{LEDGER}::test_the_floor_coin_depends_on_the_id_alone",
    ),
    Mutant(
        "baseline with fewer labels",
        "comparison.py",
        "matched_random(simulation, rule.learned, progress=progress)",
        "matched_random(simulation, rule.learned * 9 // 10, progress=progress)",
        "tests/unit/test_comparison.py::test_the_baseline_learns_as_many_labels",
    ),
    Mutant(
        "accuracy over asked rows",
        "simulate.py",
        "self.run.confusion.add(truth, predicted)",
        "self.run.confusion.add(*([v for v, d in zip(vs, tick.decided) if d[2].asked] "
        "for vs in (truth, predicted)))",
        "tests/unit/test_simulate.py::test_accuracy_is_over_every_event_and_recomputes_from_the_decisions",
    ),
    Mutant(
        "adopt before commit",
        "engine.py",
        "        try:\n            self.log.commit(batch, outputs, progress)",
        "        self._memory.update(drafts)\n"
        "        try:\n            self.log.commit(batch, outputs, progress)",
        "tests/unit/test_engine.py::test_nothing_is_adopted_until_the_log_has_taken_it",
    ),
    Mutant(
        "wall clock",
        "engine.py",
        "times = [record.timestamp_ms for record, _ in part.valid]",
        "times = [int(time.time() * 1000) for record, _ in part.valid]",
        "tests/unit/test_engine.py::test_log_time_never_runs_backwards_and_an_hour_ahead_at_most",
    ),
    Mutant(
        "scaler peeking at labels",
        "learner.py",
        "        if self.model.fitted and",
        "        self.scaler.observe(self.columns.inputs([encoded], self.scaler, pad=False).dense[0], 1.0)\n"
        "        if self.model.fitted and",
        "tests/unit/test_learner.py::test_labels_do_not_move_the_scale",
    ),
    Mutant(
        "no full-bucket clause",
        "query/policy.py",
        "if able and tokens > terms.full:",
        "if tokens < 0:",
        f"{LEDGER}::test_a_full_bucket_asks_everything",
    ),
    Mutant(
        "charging on reply",
        "query/policy.py",
        "                ledger.pay(terms.cost)\n",
        "                ledger.spent = feedback.answers * terms.cost\n",
        f"{LEDGER}::test_no_reply_charges_or_refunds",
    ),
    Mutant(
        "refunding",
        "query/policy.py",
        "        s = state.copy()\n",
        "        s = state.copy()\n        s.ledger.tokens += TOKEN * (feedback.answers > s.asked // 2)\n",
        f"{LEDGER}::test_no_reply_charges_or_refunds",
    ),
)


def copied(directory: Path, mutant: Mutant | None = None) -> Path:
    """Copy the package into a directory, with the fault in it.

    Raises
    ------
    ValueError
        What the mutant replaces is not found exactly once: the code has moved on, so must the mutant.
    """
    shutil.copytree(ROOT / PACKAGE, directory / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        file = directory / PACKAGE / mutant.file
        text = file.read_text(encoding="utf-8")
        if (found := text.count(mutant.old)) != 1:
            raise ValueError(
                f"{mutant.name}: {mutant.old!r} stands {found} times in {mutant.file}; expected once"
            )
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    return directory


def passes(directory: Path, tests: list[str]) -> bool:
    """Return whether the tests pass with the package in this directory.

    Raises
    ------
    RuntimeError
        They could not be run at all, or met another copy of the package.
    """
    path = os.pathsep.join(filter(None, [str(directory), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P"]  # -P: the checkout must not come first
    where = "import stream_al; print(stream_al.__file__)"
    run = subprocess.run([*command, "-c", where], cwd=ROOT, env=environment, capture_output=True, text=True)
    if not run.stdout.startswith(str(directory)):
        raise RuntimeError(f"the tests would meet {run.stdout.strip()}, not the copy; {run.stderr}")
    command += ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)
    if run.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {run.returncode}:\n{run.stdout}{run.stderr}")
    return run.returncode == 0


def survives(mutant: Mutant) -> bool:
    """Return whether a mutant's test passes in spite of it."""
    with TemporaryDirectory() as directory:
        return passes(copied(Path(directory).resolve(), mutant), [mutant.test])


def healthy() -> bool:
    """Return whether all the tests pass on a copy without any fault."""
    with TemporaryDirectory() as directory:
        return passes(copied(Path(directory).resolve()), sorted({mutant.test for mutant in MUTANTS}))


def main() -> int:
    """Run every mutant and print what became of it; return how many survived."""
    if not healthy():
        print("the tests fail without any mutant; mend them first")
        return len(MUTANTS)
    survivors = 0
    for mutant in MUTANTS:
        survived = survives(mutant)
        survivors += survived
        print(f"{'SURVIVED' if survived else 'killed':8}  {mutant.name:28} {mutant.test}")
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} killed")
    return survivors


if __name__ == "__main__":
    sys.exit(main())
