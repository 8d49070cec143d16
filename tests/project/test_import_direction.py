"""Imports point one way, and what is optional or slow is not imported by looking at the library."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "stream_al_schemas": ROOT / "schemas/stream_al_schemas",
    "stream_al": ROOT / "stream_al",
    "stream_al_consumers": ROOT / "consumers/stream_al_consumers",
}
ABOVE = {
    "stream_al_schemas": {"stream_al", "stream_al_consumers"},
    "stream_al": {"stream_al_consumers"},
    "stream_al_consumers": set(),
}
LIBRARY_KNOWS_NOT = {"kafka", "typer", "rich", "starlette", "uvicorn", "httpx"}
KAFKA = ROOT / "stream_al/log"
"""Only ``kafka*.py`` there may import the client."""
HEAVY = ("kafka", "pyarrow", "matplotlib")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", SOURCES)
def test_imports_point_one_way(package):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted(SOURCES[package].rglob("*.py"))
        for name in imports(path)
        if name in ABOVE[package]
        or (package != "stream_al_consumers" and name in LIBRARY_KNOWS_NOT and not is_adapter(path, name))
        or (package == "stream_al_consumers" and name == "kafka")
    ]
    assert not wrong


def is_adapter(path: Path, name: str) -> bool:
    """Return whether this is Kafka's adapter importing its client."""
    return name == "kafka" and path.parent == KAFKA and path.name.startswith("kafka")


def test_the_tests_help_nobody_else():
    """What ships must not need what does not."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for source in SOURCES.values()
        for path in sorted(source.rglob("*.py"))
        for name in imports(path)
        if name in {"tests", "support", "pytest", "hypothesis", "benchmarks"}
    ]
    assert not wrong


@pytest.mark.parametrize("module", ["stream_al", "stream_al.engine", "stream_al.build"])
def test_nothing_heavy_is_imported(module):
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.split(".")[0] for name in json.loads(found)}
    assert loaded.isdisjoint(HEAVY)


def test_importing_takes_less_than_a_second_and_a_half():
    """The best of three, since a busy machine says nothing about the code."""
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import stream_al"], check=True)
        taken.append(time.perf_counter() - started)
    assert min(taken) < 1.5
