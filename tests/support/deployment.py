"""Reads what a deployment is made of: the Dockerfile, the compose file, the manifests, the unit."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from stream_al.settings import ENV_PREFIX, Settings
from stream_al_consumers.cli import app
from support.pages import ROOT

VARIABLE = re.compile(rf"\b{ENV_PREFIX}[A-Z0-9_]+\b")
_INTERPOLATED = re.compile(r"\$\{(\w+):-([^}]*)\}")


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile, continued lines joined, and the number of the stage it stands in."""

    stage: int
    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """The value as a list: JSON where it is some, else as a shell splits it."""
        found: list[str] = (
            json.loads(self.value) if self.value.startswith("[") else shlex.split(self.value, comments=False)
        )
        return found


@contextmanager
def environment(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> Iterator[None]:
    """Let these variables be the only ones that configure the program."""
    with monkeypatch.context() as patched:
        for name in [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]:
            patched.delenv(name)
        for name, value in variables.items():
            patched.setenv(name, value)
        yield


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever that is."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def dockerfile() -> list[Instruction]:
    """Return the project's Dockerfile."""
    lines = [line for line in text("Dockerfile").splitlines() if not line.lstrip().startswith("#")]
    found, stage = [], -1
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, value = line.strip().partition(" ")
            stage += name == "FROM"
            found.append(Instruction(stage, name, value.strip()))
    return found


def health_command() -> list[str]:
    """Return what the image runs to see whether it is well."""
    (line,) = [line for line in dockerfile() if line.name == "HEALTHCHECK"]
    found: list[str] = json.loads(line.value.partition(" CMD ")[2])
    return found


def compose() -> dict[str, Any]:
    """Return the compose file as YAML has it, variables with their defaults put in."""
    found: dict[str, Any] = yaml.safe_load(_INTERPOLATED.sub(r"\2", text("docker-compose.yml")))
    return found


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the Kubernetes objects by kind and name."""
    documents = yaml.safe_load_all(text("deploy/kubernetes.yaml"))
    return {(one["kind"], one["metadata"]["name"]): one for one in documents}


def unit() -> configparser.ConfigParser:
    """Return the systemd unit; of a key that is repeated, the last."""
    parser = configparser.ConfigParser(
        strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",)
    )
    parser.optionxform = str  # type: ignore[method-assign, assignment]  # as configparser documents it
    parser.read_string(text("deploy/stream-al.service"))
    return parser


def text(name: str) -> str:
    """Return a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def is_setting(variable: str) -> bool:
    """Return whether an environment variable names a key of the configuration."""
    model: Any = Settings
    path = variable.removeprefix(ENV_PREFIX).lower().split("__")
    while path:
        if path[0] not in model.model_fields:
            return False
        annotation = model.model_fields[path.pop(0)].annotation
        if hasattr(annotation, "model_fields"):
            model = annotation
        else:  # a value, or a table with keys of one's own
            return len(path) == (1 if getattr(annotation, "__origin__", None) is dict else 0)
    return False


def parse(words: list[str]) -> None:
    """Let the command line read these words, without running anything.

    Raises
    ------
    AssertionError, click.UsageError
        There is no such command, or it has no such option.
    """
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        assert rest, f"{words}: which command?"
        assert rest[0] in command.commands, f"{words}: there is no command {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    command.make_context(words[0], rest)


def context(directory: Path) -> Path:
    """Copy what an image is built from: what the Dockerfile copies and .dockerignore lets through."""
    lines = [line for line in text(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "everything stays out that is not named"
    named = {line[1:] for line in lines if line.startswith("!")}
    without = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    for line in dockerfile():
        if line.name == "COPY" and not line.value.startswith("--from"):
            *sources, _ = line.words
            for source in sources:
                assert source in named, f".dockerignore keeps {source} out, but the Dockerfile copies it"
                if (ROOT / source).is_dir():
                    shutil.copytree(
                        ROOT / source,
                        directory / source,
                        ignore=lambda _, names: {n for n in names for p in without if fnmatchcase(n, p)},
                    )
                else:
                    shutil.copy(ROOT / source, directory / source)
    return directory
