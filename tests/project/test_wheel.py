"""The built wheel works in an environment of its own, beside files of the user's with our folders' names."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import stream_al

ROOT = Path(__file__).parents[2]
SCRIPT = """\
import consumers.mine
import schemas

assert (schemas.OURS, consumers.mine.OURS) == (False, False)

from stream_al.build import build_engine
from stream_al.log.memory import MemoryLog
from stream_al.settings import Settings, TaskSettings
from stream_al_schemas import Event

import stream_al

log = MemoryLog()
engine = build_engine(Settings(task=TaskSettings(labels=("a", "b"))), log)
engine.tick()
log.append("events", None, Event(event_id="1", features={"x": 1.0}).to_json())
tick = engine.tick()
assert (tick.events, tick.asked, tick.committed) == (1, 1, True)
print(stream_al.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, without a network."""
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory), cwd=ROOT)
    (found,) = directory.glob("*.whl")
    return found


def run(*command: str, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "STREAM_AL"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_our_own_names_are_at_the_top(wheel):
    version = stream_al.__version__
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    assert top == {
        "stream_al",
        "stream_al_consumers",
        "stream_al_schemas",
        f"stream_al-{version}.dist-info",
    }
    for package in ("stream_al", "stream_al_consumers", "stream_al_schemas"):
        assert f"{package}/py.typed" in names
    assert f"stream_al-{version}.dist-info/licenses/LICENSE" in names


@pytest.mark.slow
def test_it_works_beside_a_users_own_modules_of_our_folders_names(wheel, tmp_path):
    environment, place = tmp_path / "venv", tmp_path / "project"
    run(sys.executable, "-m", "venv", "--without-pip", str(environment), cwd=tmp_path)
    python = environment / "bin/python"
    site = run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path)
    # the dependencies, from here; an editable install of ours is a .pth file there, which is not followed
    (Path(site.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel), cwd=tmp_path)

    (place / "consumers").mkdir(parents=True)
    (place / "schemas.py").write_text("OURS = False\n")
    (place / "consumers/__init__.py").write_text("")
    (place / "consumers/mine.py").write_text("OURS = False\n")
    (place / "tiny.py").write_text(SCRIPT)
    found = run(str(python), "tiny.py", cwd=place)
    assert environment in Path(found.strip()).parents, "the installed package, not this checkout"

    said = run(str(environment / "bin/stream-al"), "version", cwd=place)
    assert stream_al.__version__ in said
