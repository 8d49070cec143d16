"""Rules, alerts, their tests and their runbook are one set, and rest on metrics that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream_al.learner import OUTCOMES
from stream_al.metrics import FAMILIES
from stream_al_consumers.board import DEAD_LETTERED
from tests.support.pages import anchors, codes, page, rows, section
from tests.support.prometheus import FOLDER, RULES, alerts, known, program, recorded
from tests.support.promql import aggregated, exported, labels, parse, selectors

ALERTS = alerts()
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
CASES: list[dict[str, Any]] = [
    case for path in TESTS for case in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
]
SECTIONS = ("Symptom", "Check", "Act", "Verify")


# ---- what is written -----------------------------------------------------------------------------


def test_every_alert_is_shown_to_fire():
    shown = {
        check["alertname"]
        for case in CASES
        if re.search(r"\bfires\b", case["name"])
        for check in case["alert_rule_test"]
        if check["exp_alerts"]
    }
    assert shown == set(ALERTS)


def test_every_alert_is_shown_to_stay_silent():
    shown = set()
    for case in CASES:
        if case["name"].endswith(" stays silent"):
            (name,) = {check["alertname"] for check in case["alert_rule_test"]}
            assert case["name"] == f"{name} stays silent"
            assert len(case["alert_rule_test"]) > 1
            assert all(check["exp_alerts"] == [] for check in case["alert_rule_test"])
            shown.add(name)
    assert shown == set(ALERTS)


def test_every_alert_has_a_section_in_the_runbook():
    text = page("docs/alerts.md")
    headings = re.findall(r"^## (StreamAl\w+)$", text, re.MULTILINE)
    assert headings == list(ALERTS), "in the order of alerts.yml"
    for name in headings:
        found = re.findall(r"^\*\*(\w+)\.\*\*", section(text, name), re.MULTILINE)
        assert tuple(found) == SECTIONS, name


def test_the_page_lists_every_alert_with_its_severity():
    listed = {codes(row[0])[0]: (row[1], row[2]) for row in rows(page("docs/monitoring.md"), "alert")}
    assert listed == {name: (rule["labels"]["severity"], rule["for"]) for name, rule in ALERTS.items()}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_all_that_is_needed_at_night(name):
    rule = ALERTS[name]
    assert re.fullmatch(r"StreamAl[A-Z]\w+", name)
    assert rule["labels"] in [{"severity": severity} for severity in ("page", "ticket", "info")]
    assert rule["for"] != "0s"
    said = rule["annotations"]
    assert set(said) == {"summary", "description", "runbook_url"}
    assert "$value" in said["summary"]
    assert "\n" not in said["summary"]
    path, _, anchor = said["runbook_url"].partition("#")
    assert anchor in anchors(page(path))
    assert anchor == name.lower()


@pytest.mark.parametrize("name", ALERTS)
def test_a_threshold_has_its_reason_beside_it(name):
    text = (FOLDER / "rules" / "alerts.yml").read_text(encoding="utf-8")
    block = text.partition(f"- alert: {name}\n")[2].partition("annotations:")[0]
    targets = [rule for rule in recorded() if "_target:" in rule]
    assert len(targets) == 3
    assert re.search(r"^ +# ", block, re.MULTILINE) or any(target in block for target in targets)


# ---- what is computed ------------------------------------------------------------------------------


def test_rules_rest_on_series_and_labels_that_exist():
    there = known()  # raises where a recording rule does not
    for rule in ALERTS.values():
        labels(parse(rule["expr"]), there)


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("stream_al_nonsense", "does not exist"),
        ("stream_al_batch_seconds", "does not exist"),
        ('stream_al_ready{partition="1"}', "lacks"),
        ("sum by (partition) (stream_al_ready)", "not there"),
        ("sum without (job) (stream_al_ready)", "say what is kept"),
        ("stream_al_ready and stream_al_events_total", "never match"),
        ("stream_al_ready > on (partition) stream_al_events_total", "a side lacks"),
    ],
)
def test_a_rule_that_could_never_fire_is_found(expression, wrong):
    with pytest.raises(AssertionError, match=wrong):
        labels(parse(expression), known())


@pytest.mark.parametrize("name", recorded())
def test_a_recorded_name_says_its_labels(name):
    level, metric, operation = name.split(":")
    assert set(level.split("_")) == known()[name]
    assert "job" in known()[name]
    assert metric.startswith("stream_al_")
    assert operation


def test_every_recording_rule_keeps_to_the_scope_of_its_families():
    """``log`` is never summed, ``partition`` is first one series a partition."""
    for name, tree in recorded().items():
        for selector, above in aggregated(tree):
            family = exported().get(selector.name)
            if family is None:
                continue
            assert above is not None, name
            allowed = {"log": {"max"}, "partition": {"max"}, "process": {"max", "sum", "group"}}[family.scope]
            assert str(above.op) in allowed, name
            assert set(family.labels) - {"version", "python"} <= set(above.modifier.labels), name


def test_alerts_take_what_replicas_share_from_recording_rules():
    """Else each replica would fire, and two would count twice."""
    for name, rule in ALERTS.items():
        used = [exported().get(selector.name) for selector in selectors(parse(rule["expr"]))]
        assert {family.scope for family in used if family is not None} <= {"process"}, name


def test_every_shared_family_is_recorded():
    hidden = {
        exported()[each.name].name
        for tree in recorded().values()
        for each in selectors(tree)
        if each.name in exported()
    }
    assert {family.name for family in FAMILIES if family.scope != "process"} <= hidden


def test_outcomes_and_channels_in_rules_exist():
    exists = {
        "outcome": {*OUTCOMES, "committed", "fenced", "failed"},
        "channel": {"chosen", "floor"},
        "job": {"stream-al", "stream-al-fraud"},
    }
    for rule in ALERTS.values():
        for selector in selectors(parse(rule["expr"])):
            for matcher in selector.matchers.matchers:
                for choice in matcher.value.split("|"):
                    assert any(re.fullmatch(choice, one) for one in exists[matcher.name]), choice
    refused = ALERTS["StreamAlRepliesRefused"]["expr"]
    assert set(re.findall(r'outcome=~"([^"]*)"', refused)[0].split("|")) == set(DEAD_LETTERED)


# ---- what promtool says -----------------------------------------------------------------------------


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_rules_pass_every_lint():
    found = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert found.returncode == 0, found.stderr
    assert f"{len(ALERTS)} rules found" in found.stdout
    assert set(RULES) == set((FOLDER / "rules").glob("*.yml"))


def test_the_configuration_is_valid_with_everything_that_it_names(tmp_path: Path):
    folder = tmp_path / "prometheus"
    shutil.copytree(FOLDER, folder)
    config = folder / "prometheus.yml"
    token = tmp_path / "token"
    config.write_text(config.read_text().replace("/run/stream-al/http-token", str(token)))
    assert promtool("check", "config", config).returncode != 0, "the token is not there yet"
    token.write_text("secret")
    found = promtool("check", "config", "--lint=all", "--lint-fatal", config)
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{len(RULES)} rule files found" in found.stdout


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent(path: Path):
    found = promtool("test", "rules", path)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    "path", [path for path in TESTS if path.stem != "recording"], ids=lambda path: path.stem
)
def test_silence_is_close_to_an_alarm(path: Path, tmp_path: Path):
    """Without ``for`` every negative test fails: each comes as near as that to firing."""
    shutil.copytree(FOLDER / "rules", tmp_path / "rules")
    file = tmp_path / "rules" / "alerts.yml"
    file.write_text(re.sub(r"^( +for:) \w+$", r"\1 0s", file.read_text(), flags=re.MULTILINE))
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    read["tests"] = [case for case in read["tests"] if case["name"].endswith(" stays silent")]
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / path.name).write_text(yaml.safe_dump(read))
    said = promtool("test", "rules", tmp_path / "tests" / path.name)
    assert said.returncode != 0
    found = set(re.findall(r"name: (\w+ stays silent),", said.stdout + said.stderr))
    assert found == {case["name"] for case in read["tests"]}


def test_without_promtool_it_is_skipped_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install prometheus"):
        program("promtool")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI must test the alerts"):
        program("promtool")
