"""What the pages say of the code is compared with the code."""

from __future__ import annotations

import json
import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from pydantic import BaseModel
from support.pages import PAGES, ROOT, anchors, codes, commands, fences, links, page, rows, section

import stream_al
from stream_al import errors
from stream_al.build import build_engine
from stream_al.comparison import Job, report
from stream_al.learner import OUTCOMES
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import TOPICS
from stream_al.mapping import EventMap
from stream_al.metrics import FAMILIES
from stream_al.models.registry import make_model
from stream_al.query.policies import POLICIES
from stream_al.query.scores import SCORES
from stream_al.settings import Settings, TaskSettings
from stream_al.simulate import Plan
from stream_al.strategies import compare, cross, run_strategies
from stream_al_consumers.api import Api
from stream_al_consumers.board import Board
from stream_al_consumers.cli import app
from stream_al_schemas import MESSAGES
from stream_al_schemas.export import kebab_name

IDS = [str(path.relative_to(ROOT)) for path in PAGES]


# ---- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_links_lead_somewhere(path):
    broken = []
    for link in links(path.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert not broken


def test_every_page_is_listed():
    listed = {link for link in links(page("docs/README.md")) if link.endswith(".md")}
    assert listed == {path.name for path in PAGES if path.parent.name == "docs"} - {"README.md"}


@pytest.mark.parametrize(("name", "head"), [("where-is-it.md", "what"), ("guarantees.md", "guarantee")])
def test_paths_exist(name, head):
    found = [code for row in rows(page(f"docs/{name}"), head) for code in codes(row[1])]
    assert len(found) > 10
    assert [code for code in found if not (ROOT / code).exists()] == []


def test_the_changelog_knows_this_version():
    versions = re.findall(r"^## \[(\d[^\]]*)\]", page("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == stream_al.__version__


# ---- code ---------------------------------------------------------------------------------------


def test_the_readmes_lines_run(tmp_path, monkeypatch, capsys):
    (code,) = fences(page("README.md"), "python")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert float(first.split()[0]) > 0.6
    assert int(second.split()[0]) > 100
    assert list(tmp_path.iterdir()) == []
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 12


def test_the_own_score_on_the_page_is_one():
    (code,) = fences(page("docs/query-rule.md"), "python")
    names: dict[str, Any] = {}
    exec(compile(code, "query-rule.md", "exec"), names)

    class Context:
        probabilities = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])

    assert names["second_best"](Context()).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name", ["docs/models.md", "CONTRIBUTING.md"])
def test_other_code_compiles_and_its_imports_work(name):
    for code in fences(page(name), "python"):
        compile(code, name, "exec")
        exec("\n".join(line for line in code.splitlines() if line.startswith("from")), {})


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_commands_exist_with_their_options(path):
    for words in commands(path.read_text(encoding="utf-8"), "stream-al"):
        command: Any = typer.main.get_command(app)
        rest = words[1:]
        while hasattr(command, "commands"):
            assert rest, f"{words}: which command?"
            assert rest[0] in command.commands, f"{words}: there is no command {rest[0]}"
            command = command.commands[rest.pop(0)]
        known = {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        unknown = [word for word in rest if word.startswith("-") and word != "-" and word not in known]
        assert not unknown, f"{words}: {unknown}"


def test_models_named_in_commands_can_be_made():
    named = [words[words.index("--model") + 1] for words in commands(page("docs/models.md"), "stream-al")]
    assert len(named) == 3
    for name in named:
        assert make_model(name, 2, 0).classes == 2


def test_files_of_configuration_are_read():
    for code in fences(page("docs/configuration.md"), "toml"):
        assert Settings(**tomllib.loads(code))


# ---- tables -------------------------------------------------------------------------------------


def defaults(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Return every key with its default, as the page writes it."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True)
        if isinstance(value, BaseModel):
            found |= defaults(type(value), f"{prefix}{name}.")
        elif value is None:
            found[prefix + name] = "not set"
        else:
            plain = str(value) if isinstance(value, Path) else value
            found[prefix + name] = f"`{json.dumps(list(plain) if isinstance(plain, tuple) else plain)}`"
    return found


@pytest.mark.parametrize(("head", "model"), [("key", Settings), ("key in `[events.map]`", EventMap)])
def test_every_key_stands_there_with_its_default(head, model):
    written = {codes(key)[0]: default for key, default, _ in rows(page("docs/configuration.md"), head)}
    assert written == defaults(model)


def test_every_metric_stands_there():
    written = {
        codes(name)[0]: (kind, scope, tuple(codes(labels)), meaning)
        for name, kind, scope, labels, meaning in rows(page("docs/operating.md"), "metric")
    }
    assert written == {f.name: (f.kind, f.scope, f.labels, f.help) for f in FAMILIES}


def test_every_error_has_its_exit_code():
    written = {
        name: int(code) for code, names, _ in rows(page("docs/operating.md"), "code") for name in codes(names)
    }
    tree = [errors.StreamALError, *_below(errors.StreamALError)]
    assert written == {error.__name__: error.exit_code for error in tree}


def _below(error: type[errors.StreamALError]) -> list[type[errors.StreamALError]]:
    return [
        e
        for direct in error.__subclasses__()
        for e in (direct, *_below(direct))
        if e.__module__ == errors.__name__
    ]


def test_every_route_stands_there():
    log = MemoryLog()
    settings = Settings(task=TaskSettings(open_labels=True))
    with ThreadPoolExecutor(1) as worker:
        routes = Api(settings, log, Board(build_engine(settings, log), log), worker).routes()
    served = {(route.path, "POST" if "POST" in (route.methods or ()) else "GET") for route in routes}
    assert {(codes(path)[0], method) for path, method, _ in rows(page("docs/http.md"), "route")} == served


def test_every_policy_score_and_topic_stands_there():
    assert {codes(row[0])[0] for row in rows(page("docs/strategies.md"), "policy")} == set(POLICIES)
    assert {codes(row[0])[0] for row in rows(page("docs/strategies.md"), "score")} == set(SCORES)
    assert [codes(row[0])[0] for row in rows(page("docs/concepts.md"), "topic")] == list(TOPICS)


def test_every_outcome_of_a_reply_stands_there():
    assert [codes(row[0])[0] for row in rows(page("docs/messages.md"), "outcome")] == [
        "learned",
        "late",
        *(o for o in OUTCOMES if o not in ("learned", "late")),
    ]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_message_stands_there_with_its_example(message):
    (example,) = fences(section(page("docs/messages.md"), message.__name__), "json")
    kept = (ROOT / "schemas/examples" / f"{kebab_name(message)}.full.json").read_bytes()
    assert json.loads(example) == json.loads(kept)
    message.model_validate_json(example)


@pytest.mark.parametrize("name", ["simulate", "compare"])
def test_every_option_stands_there(name):
    command: Any = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]  # a group
    options = {p.opts[0] for p in command.params if p.param_type_name == "option" and p.name != "help"}
    assert {codes(row[0])[0] for row in rows(page(f"docs/{name}.md"), "option")} == options


# ---- the contract of simulate --json -------------------------------------------------------------

ALIKE = (
    "baseline.random",
    "baseline.random_same_ledger",
    "efficiency.same_ledger",
    "people",
    "standard_error",
    "per_seed",
    "config",
    "seeds",
)
"""Fields of which the page says only what they are."""


def paths(value: Any, prefix: str = "") -> set[str]:
    """Return the dotted paths of a JSON value's leaves."""
    if prefix in ALIKE:
        return {prefix}
    if isinstance(value, dict):
        return {path for key, below in value.items() for path in paths(below, f"{prefix}.{key}".strip("."))}
    if isinstance(value, list):
        return {path for below in value for path in paths(below, f"{prefix}[]")}
    return {prefix}


def test_every_field_of_the_result_stands_there(tmp_path):
    x = np.random.default_rng(0).normal(size=(120, 2))
    lines = [f"{a},{b},{'yes' if a > b else 'no'}" for a, b in x]
    file = tmp_path / "made.csv"
    file.write_text("\n".join(["a,b,y", *lines]) + "\n")
    job = Job(
        source=str(file),
        reading={"label": "y"},
        overrides={"task": {"open_labels": True, "positive": "yes"}, "outputs": {"predictions": "none"}},
        plan=Plan(holdout=0.2),
    )
    result = report([job.run(0), job.run(1)], job.settings(0), job.people(0))
    written = {codes(row[0])[0] for row in rows(section(page("docs/simulate.md"), "The result"), "field")}
    assert written == paths(json.loads(json.dumps(result)))


def test_every_field_of_a_comparison_stands_there():
    strategies = cross(["ranked", "random"], ["margin"], ["pool"])
    common = Job("phishing", None, {"task": {"open_labels": True}}, head=150)
    runs: dict[str, list[Any]] = {each.name: [] for each in strategies}
    for name, pair in run_strategies({each.name: each.job(common) for each in strategies}, [0, 1]):
        runs[name].append(pair.rule)
    result = json.loads(json.dumps(compare(strategies, runs, [0, 1], common)))
    found = {
        path
        for path in paths(result)
        if path.split(".")[1:2] not in (["standard_error"], ["per_seed"], ["per_seed[]"])
    }
    written = {codes(row[0])[0] for row in rows(section(page("docs/compare.md"), "The result"), "field")}
    kept = {"strategies[].per_seed", "strategies[].standard_error"}
    shared = {path.removeprefix("strategies[].") for path in found if path.startswith("strategies[].")}
    simulated = {codes(row[0])[0] for row in rows(section(page("docs/simulate.md"), "The result"), "field")}
    assert {path for path in found if path.removeprefix("strategies[].") not in simulated} | kept == written
    assert {"labels.learned", "accuracy.kappa", "accuracy.ece", "curve[].labels"} <= shared
