"""Where a real Apache Kafka comes from: its jars through Maven, else its Docker image; how to run a class.

Nothing is started here. ``find_kafka`` answers with something that can turn "the main class ``kafka.Kafka``
with these arguments" into a command line, and a signal to that process into what it really receives.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

VERSION = "4.3.0"
ENVIRONMENT = "STREAM_AL_TEST_KAFKA"
LEAST_JAVA = 17
POM = Path(__file__).with_name("pom.xml")


class NoKafka(Exception):
    """No Apache Kafka can be had here; the message says what was looked for and what to install."""


class Installation(Protocol):
    """One version of Apache Kafka that can be run here."""

    def command(self, name: str, folder: Path, options: list[str], main: str, *arguments: str) -> list[str]:
        """Return the command that runs the class ``main`` on ``folder``, known as ``name`` while it runs."""
        ...

    def send(self, name: str, pid: int, number: signal.Signals) -> None:
        """Send a signal to the running class (``pid``: the process that the command became)."""
        ...

    def last_rites(self, name: str, pid: int) -> str:
        """Return a shell command that ends the running class whatever its state."""
        ...


@dataclass(frozen=True)
class Jars:
    """Kafka's jars in a folder, run by this machine's Java."""

    version: str
    java: str
    libs: Path

    def command(self, name: str, folder: Path, options: list[str], main: str, *arguments: str) -> list[str]:
        return [self.java, *options, "-cp", f"{self.libs}/*", main, *arguments]

    def send(self, name: str, pid: int, number: signal.Signals) -> None:
        os.killpg(pid, number)

    def last_rites(self, name: str, pid: int) -> str:
        return f"kill -9 -{pid}"


@dataclass(frozen=True)
class Image:
    """Kafka's Docker image, on the host's network and paths, so that one configuration fits both."""

    version: str
    docker: str

    def command(self, name: str, folder: Path, options: list[str], main: str, *arguments: str) -> list[str]:
        run = [self.docker, "run", "--rm", "--name", name, "--network", "host", "--entrypoint", "java"]
        place = [
            "--user",
            f"{os.getuid()}:{os.getgid()}",
            "--volume",
            f"{folder}:{folder}",
            "--workdir",
            str(folder),
        ]
        image = f"apache/kafka:{self.version}"
        return [*run, *place, image, *options, "-cp", "/opt/kafka/libs/*", main, *arguments]

    def send(self, name: str, pid: int, number: signal.Signals) -> None:
        # SIGKILL and SIGSTOP would stay with the docker client, so the engine is asked instead.
        verbs = {signal.SIGSTOP: ["pause"], signal.SIGCONT: ["unpause"], signal.SIGKILL: ["rm", "--force"]}
        verb = verbs.get(number, ["kill", "--signal", number.name])
        subprocess.run([self.docker, *verb, name], capture_output=True, check=False)
        if number == signal.SIGKILL:
            with suppress(ProcessLookupError):
                os.killpg(pid, number)  # the client, should its container not be there yet

    def last_rites(self, name: str, pid: int) -> str:
        return f"{shlex.quote(self.docker)} rm --force {name}; kill -9 -{pid}"


def external_bootstrap() -> list[str]:
    """Return the addresses in ``STREAM_AL_TEST_KAFKA`` (``host:port[,host:port]``); empty when not set."""
    return [address.strip() for address in os.environ.get(ENVIRONMENT, "").split(",") if address.strip()]


def find_kafka(version: str = VERSION) -> Installation:
    """Find (or fetch, once) an Apache Kafka of this version.

    Raises
    ------
    NoKafka
        Neither Java with the jars (cached, or fetched by Maven) nor a Docker engine is there.
    """
    java, why_not = _find_java()
    if java is not None:
        try:
            return Jars(version, java, _cached_jars(version))
        except NoKafka as error:
            why_not = str(error)
    docker = shutil.which("docker")
    if docker is not None and _answers([docker, "info"]):
        return Image(version, docker)
    engine = (
        "docker is not installed"
        if docker is None
        else "the docker client has no engine (`docker info` fails)"
    )
    raise NoKafka(
        f"no Apache Kafka {version} for the tests: {ENVIRONMENT} is not set; {why_not}; {engine}. "
        f"Install Java {LEAST_JAVA} or newer and Maven (`apt-get install openjdk-17-jre-headless maven`), "
        f"or start Docker, or set {ENVIRONMENT}=host:port of a broker"
    )


def _find_java() -> tuple[str | None, str]:
    """Return the path of a Java that is new enough, or None and the reason."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if java is None:
        return None, "java is not installed"
    printed = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', printed)
    if found is None or int(found[1]) < LEAST_JAVA:
        return None, f"{java} is {printed.splitlines()[:1]}, older than Java {LEAST_JAVA}"
    return java, ""


def _cached_jars(version: str) -> Path:
    """Return the folder with the jars of this version, complete: fetched by Maven when it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stream-al"
    libs = cache / f"kafka-{version}"
    if libs.is_dir():
        return libs
    maven = shutil.which("mvn")
    if maven is None:
        raise NoKafka(f"Maven (mvn) is not installed and {libs} does not exist")
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"kafka-{version}.lock"):
        if not libs.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix=f"kafka-{version}-") as unfinished:
                _fetch(maven, version, Path(unfinished) / "libs")
                (Path(unfinished) / "libs").rename(libs)
    return libs


def _fetch(maven: str, version: str, libs: Path) -> None:
    """Let Maven copy the broker's jars into ``libs``."""
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
    command = [maven, "--quiet", "--batch-mode", "--file", str(POM), f"-Dkafka.version={version}", *goal]
    ran = subprocess.run(command, cwd=libs.parent, capture_output=True, text=True, check=False)
    if ran.returncode != 0 or not list(libs.glob("kafka_2.13-*.jar")):
        raise NoKafka(f"Maven did not fetch Kafka {version}: {(ran.stdout + ran.stderr)[-800:].strip()}")


def _answers(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path``; the kernel drops it if the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
