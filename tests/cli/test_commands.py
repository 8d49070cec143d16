"""The commands one after another, as a newcomer types them."""

from __future__ import annotations

import csv
import io
import json
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from stream_al.build import build_learner
from stream_al.log.memory import MemoryLog
from stream_al.log.protocol import EVENTS, LABEL_REPLIES, LABEL_REQUESTS, PREDICTIONS
from stream_al.settings import load_settings
from stream_al_consumers.labels import answered_requests

from .conftest import Run, decide, reading


def first_run(run: Run, points: Path) -> None:
    """Configuration, events, decisions, answers."""
    assert run("init", "--from", points, "--label", "side").code == 0
    assert run("produce", points, "--label", "side").code == 0
    decide()
    answered = run("annotator", "--answers", points, "--label", "side", "--once", "--no-answer", 0)
    assert answered.code == 0
    decide()


def test_init_writes_a_configuration_that_loads(run: Run, points: Path) -> None:
    ran = run("init", "--from", points, "--label", "side", "--budget", 0.02, "--json")
    assert ran.code == 0
    assert ran.json["bound"] == "at most 2 % of events + 25 labels, 1 partition"
    settings = load_settings(Path("stream-al.toml"), serving=True)
    assert set(settings.task.labels) == {"left", "right"}
    assert settings.task.positive is None
    assert settings.model.class_weight == "none"
    assert settings.query.budget == 0.02
    assert any("stream-al serve" in command for command in ran.json["next"])


def test_init_notices_a_rare_class_and_strange_names(run: Run, tmp_path: Path) -> None:
    rare = '"Ünüsual ""one"""'
    rows = "".join(f"{i},{rare if i == 7 else 'usual'}\n" for i in range(100))
    (tmp_path / "my täble.csv").write_text("a,y\n" + rows)
    ran = run("init", "--from", "my täble.csv", "--label", "y", "--json")
    assert ran.json["positive"] == 'Ünüsual "one"'
    settings = load_settings(Path("stream-al.toml"))
    assert settings.task.name == "my-t-ble"
    assert settings.model.class_weight == "sqrt"


def test_init_does_not_overwrite(run: Run, points: Path) -> None:
    Path("stream-al.toml").write_text("# mine\n")
    ran = run("init", "--from", points, "--label", "side")
    assert (ran.code, "--force" in ran.err) == (2, True)
    assert Path("stream-al.toml").read_text() == "# mine\n"
    assert run("init", "--from", points, "--label", "side", "--force").code == 0


def test_check_says_what_is_wrong_and_exits_1(run: Run, points: Path) -> None:
    run("init", "--from", points, "--label", "side")
    file = Path("stream-al.toml")  # any free port: the default one may be somebody's on this machine
    file.write_text(re.sub(r"(?m)^#? ?port = \d+", "port = 0", file.read_text()))
    good = run("check", "--data", points, "--label", "side", "--json")
    assert good.code == 0
    looked_at = {finding["what"] for finding in good.json["findings"]}
    assert looked_at == {"settings", "budget", "model", "state", "tickets", "log", "port", "data"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        Path("stream-al.toml").write_text(
            f'[task]\nlabels = ["left"]\n[http]\nport = {taken.getsockname()[1]}\n[model]\nname = "nothing"\n'
        )
        bad = run("check", "--data", points, "--label", "side", "--json")
    assert bad.code == 1
    wrong = {finding["what"] for finding in bad.json["findings"] if finding["level"] == "error"}
    assert wrong == {"model", "port", "data"}
    Path("stream-al.toml").write_text("[query]\nbudget = 2\nbugdet = 1\n")
    assert run("check").code == 1


def test_produce_wants_to_know_which_column_is_the_answer(run: Run, tmp_path: Path) -> None:
    (tmp_path / "unlabelled.csv").write_text("a,b\n1,x\n2,y\n")
    refused = run("produce", "unlabelled.csv")
    assert (refused.code, "--no-label" in refused.err) == (2, True)
    assert run("produce", "unlabelled.csv", "--no-label", "--json").json["appended"] == 2


def test_check_finds_repeated_ids(run: Run, points: Path) -> None:
    for _ in range(2):
        run("produce", points, "--label", "side", "--head", 3, "--again")
    ran = run("check", "--json")
    messages = {finding["what"]: finding for finding in ran.json["findings"]}
    assert messages["event ids"]["level"] == "warning"
    assert messages["event ids"]["message"].startswith("3 ids stand more than once")
    assert messages["owner"]["message"] == "no service runs on it"


def test_produce_leaves_the_label_out_and_can_go_on(run: Run, points: Path) -> None:
    assert (
        run("produce", points, "--label", "side", "--head", 200, "--skip", 100, "--json").json["appended"]
        == 100
    )
    with reading() as log:
        records = log.tail(EVENTS, 0, 0, 1_000)
    assert len(records) == 100
    first = json.loads(records[0].value)
    assert records[0].key == first["event_id"].encode() == b"points-100"
    assert set(first["features"]) == {"a", "b"}


def test_produce_goes_on_where_it_was_stopped(run: Run, points: Path) -> None:
    command = ["produce", points, "--label", "side", "--json"]
    assert run(*command, "--head", 120).json["appended"] == 120
    assert run(*command).json["appended"] == 180
    assert run(*command).json["appended"] == 0
    assert run(*command, "--again").json["appended"] == 300


@pytest.mark.parametrize("head", [1, 2, 3, 4])
def test_produce_goes_on_where_lines_repeat(run: Run, tmp_path: Path, head: int) -> None:
    lines = [b'{"event_id": "%b", "text": "hi"}' % name for name in (b"a", b"b", b"a", b"c")]
    (tmp_path / "mine.ndjson").write_bytes(b"\n".join(lines))
    assert run("produce", "mine.ndjson", "--head", head, "--json").json["appended"] == head
    assert run("produce", "mine.ndjson", "--json").json == {
        "appended": 4 - head,
        "already_there": head,
        "log": "stream-al.db",
    }
    with reading() as log:
        assert [record.value for record in log.tail(EVENTS, 0, 0, 10)] == lines


def test_produce_of_lines_skips_and_goes_on(run: Run, tmp_path: Path) -> None:
    lines = [b'{"event_id": "%d", "text": "hi"}' % i for i in (0, 1, 2, 3, 2, 5)]
    (tmp_path / "mine.ndjson").write_bytes(b"\n".join(lines))
    run("produce", "mine.ndjson", "--skip", 2, "--head", 4)
    assert run("produce", "mine.ndjson", "--skip", 2, "--json").json["appended"] == 2
    with reading() as log:
        assert [record.value for record in log.tail(EVENTS, 0, 0, 10)] == lines[2:]
        log._lanes[EVENTS, 0].forget(3)
    assert run("produce", "mine.ndjson", "--json").json["appended"] == 0


def test_produce_takes_lines_as_they_are(run: Run, tmp_path: Path) -> None:
    lines = b'{"event_id": "x", "text": "hi"}\nnot json\n'
    (tmp_path / "mine.ndjson").write_bytes(lines)
    assert run("produce", "mine.ndjson", "--rate", 10_000).code == 0
    with reading() as log:
        records = log.tail(EVENTS, 0, 0, 10)
    assert [record.value for record in records] == lines.splitlines()
    assert [record.key for record in records] == [b"x", None]


def test_a_table_needs_its_label_named(run: Run, points: Path) -> None:
    ran = run("produce", points)
    assert (ran.code, "--label" in ran.err) == (2, True)


def test_annotator_answers_each_request_once_however_often_it_runs(run: Run, points: Path) -> None:
    run("init", "--from", points, "--label", "side")
    run("produce", points, "--label", "side")
    decide()
    with reading() as log:
        asked = log.bounds(LABEL_REQUESTS, 0)[1]
    command = ["annotator", "--answers", points, "--label", "side", "--once", "--no-answer", 0.3, "--json"]
    first = run(*command).json
    assert first["answered"] + first["unanswered"] == asked > 10
    assert run(*command).json == {"answered": 0, "unanswered": 0, "unknown": 0}
    second = run(*command, "--annotator-id", "second", "--delay", "fixed:50ms").json
    assert second["answered"] + second["unanswered"] == asked


def test_a_killed_annotator_answers_again_with_the_same_ids(run: Run, points: Path) -> None:
    run("init", "--from", points, "--label", "side")
    run("produce", points, "--label", "side")
    decide()
    command = ["annotator", "--answers", points, "--label", "side", "--once", "--json"]
    run(*command)
    with reading() as log:  # as if it had been killed before the acknowledgement
        log._connection.execute("DELETE FROM acknowledged")
    run(*command)
    decide()
    with reading() as log:
        replies = [json.loads(record.value) for record in log.tail(LABEL_REPLIES, 0, 0, 10_000)]
    ids = [reply["reply_id"] for reply in replies if reply["kind"] == "reply"]
    assert len(ids) == 2 * len(set(ids))
    found = run("labels", "export")
    assert len(found.out.splitlines()) == len(set(ids))


def test_tail(run: Run, points: Path) -> None:
    first_run(run, points)
    newest = run("tail", PREDICTIONS, "--json").out.splitlines()
    assert [json.loads(line)["offset"] for line in newest] == list(range(290, 300))
    some = run("tail", PREDICTIONS, "--from", 5, "--max", 2, "--json").out.splitlines()
    assert [json.loads(line)["offset"] for line in some] == [5, 6]
    assert json.loads(some[0])["value"]["event_id"] == "points-5"
    assert run("tail", "dead-letters").out == ""
    assert run("tail", EVENTS, "--max", 1).out.startswith("0/290 ")


def test_tail_shows_no_control_characters(run: Run, tmp_path: Path) -> None:
    (tmp_path / "evil.ndjson").write_bytes(b"\x1b]0;owned\x07\n")
    run("produce", "evil.ndjson")
    ran = run("tail", EVENTS)
    assert "\x1b" not in ran.out
    assert "\x07" not in ran.out
    assert json.loads(run("tail", EVENTS, "--json").out)["base64"]


def test_labels_import_teaches_once(run: Run, points: Path) -> None:
    run("init", "--from", points, "--label", "side")
    for _ in range(2):
        ran = run("labels", "import", points, "--label", "side", "--head", 50, "--json")
        assert ran.json["imported"] == 50
    run("produce", points, "--label", "side", "--head", 1)
    decide()
    with reading() as log:
        prediction = json.loads(log.tail(PREDICTIONS, 0, 0, 1)[0].value)
    assert prediction["label"] in ("left", "right")
    assert prediction["model_version"] == 100


def test_forty_classes_that_nobody_declared_are_imported_and_predicted(run: Run) -> None:
    rows = [f"{i % 40 % 7},{i % 40 // 7},class-{i % 40}" for i in range(160)]  # points of a grid
    Path("forty.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    Path("stream-al.toml").write_text('[task]\nopen_labels = true\n[query]\ncold_start = "coverage"\n')
    assert run("labels", "import", "forty.csv", "--label", "y", "--json").json["imported"] == 160
    run("produce", "forty.csv", "--label", "y", "--head", 40)
    decide()
    with reading() as log:
        said = [json.loads(record.value) for record in log.tail(PREDICTIONS, 0, 0, 40)]
        asked = [json.loads(record.value) for record in log.tail("label-requests", 0, 0, 40)]
    assert {len(prediction["probabilities"]) for prediction in said} == {40}
    assert sum(prediction["label"] == f"class-{i}" for i, prediction in enumerate(said)) >= 20
    assert all(request["labels"] == [f"class-{i}" for i in range(40)] for request in asked)
    assert len(asked) >= 10


def test_labels_export_has_propensities(run: Run, points: Path) -> None:
    first_run(run, points)
    rows = [json.loads(line) for line in run("labels", "export").out.splitlines()]
    assert len(rows) > 10
    assert all(0 < row["propensity"] <= 1 and row["label"] in ("left", "right") for row in rows)
    assert set(rows[0]["input"]["numbers"]) == {"a", "b"}
    ran = run("labels", "export", "--out", "answers.csv", "--json")
    assert ran.json["exported"] == len(rows)
    table = list(csv.DictReader(io.StringIO(Path("answers.csv").read_text())))
    assert [row["request_id"] for row in table] == [row["request_id"] for row in rows]
    assert float(table[0]["feature.a"]) == rows[0]["input"]["numbers"]["a"]
    assert run("labels", "export", "--out", "answers.xlsx").code == 3


def test_labels_export_is_what_was_learned(run: Run, points: Path) -> None:
    Path("stream-al.toml").write_text(
        '[task]\nlabels = ["left", "right"]\n[query]\nbudget = 1.0\noverlap = 2\n[labels]\nttl_seconds = 60\n'
    )
    run("produce", points, "--label", "side", "--head", 4)
    decide()
    with closing(MemoryLog(clock=lambda: clock)) as log, reading() as asked:
        requests = [json.loads(record.value) for record in asked.tail(LABEL_REQUESTS, 0, 0, 10)]
        start = requests[0]["asked_at"]
        for seconds, request, person, label in (
            (1, 0, "ann", "up"),  # was not offered
            (2, 0, "ann", "left"),
            (3, 0, "ann", "right"),  # has voted
            (4, 0, "bob", "left"),
            (5, 1, "ann", "left"),
            (6, 1, "bob", "right"),  # a tie
            (7, 2, "ann", "right"),
            (8, 3, "ann", "left"),
            (90, 3, "bob", "right"),  # its time was up
        ):
            clock = start + 1000 * seconds
            reply = {"reply_id": "r", "ticket": requests[request]["ticket"], "label": label}
            log.append(LABEL_REPLIES, None, json.dumps(reply | {"annotator_id": person}).encode())
        settings = load_settings(Path("stream-al.toml"))
        rows = list(answered_requests(log, settings))
        learner = build_learner(settings)
        learner.fold(log.tail(LABEL_REPLIES, 0, 0, 100))
    names = ("event_id", "label", "votes", "answered_at")
    assert sorted(tuple(row[name] for name in names) for row in rows) == [
        ("points-0", "left", 2, start + 4000),
        ("points-2", "right", 1, start + 7000),
        ("points-3", "left", 1, start + 8000),
    ]
    assert learner.outcomes["learned"] == len(rows)


def test_replay_is_equal(run: Run, points: Path) -> None:
    first_run(run, points)
    ran = run("replay", "--json")
    assert ran.code == 0
    assert ran.json["equal"]
    assert ran.json["decisions"]["outputs"] > 300
    assert ran.json["decisions"]["difference"] is None
    earlier = run("replay", "--to", 5, "--no-decisions", "--json").json
    assert earlier["position"] == 5
    assert earlier["fingerprint"] != ran.json["fingerprint"]


def test_replay_tells_the_first_difference(run: Run, points: Path) -> None:
    first_run(run, points)
    with reading() as log:
        log._connection.execute(
            'UPDATE "predictions-0" SET value = CAST(replace(CAST(value AS TEXT), \'"asked":false\', '
            "'\"asked\":true') AS BLOB) WHERE offset >= 200"
        )
    ran = run("replay", "--json")
    assert ran.code == 1
    assert "asked = True, made now False" in ran.json["decisions"]["difference"]
    assert "different" in run("replay").out.lower()


def test_replay_says_when_events_are_gone(run: Run, points: Path) -> None:
    first_run(run, points)
    with reading() as log:
        log._lanes[EVENTS, 0].forget(10)
    ran = run("replay", "--json")
    assert ran.code == 0
    assert "events before offset 10" in ran.json["decisions"]["reason"]


def test_schemas_export(run: Run, tmp_path: Path) -> None:
    assert len(run("schemas", "export", tmp_path / "out", "--json").json) == 7
    assert json.loads((tmp_path / "out" / "event.json").read_text())["title"] == "Event"
    (tmp_path / "file").touch()
    assert run("schemas", "export", tmp_path / "file").code == 3


def test_config_show_masks_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, token = "ab" * 32, "a very long token"
    monkeypatch.setenv("STREAM_AL__TICKET_KEYS__K1", secret)
    monkeypatch.setenv("STREAM_AL__HTTP__TOKEN", token)
    for ran in (run("config", "show"), run("config", "show", "--json")):
        assert ran.code == 0
        assert secret not in ran.out + ran.err
        assert token not in ran.out + ran.err
        assert "**********" in ran.out


def test_config_show_is_a_configuration(run: Run, points: Path) -> None:
    run("init", "--from", points, "--label", "side")
    Path("shown.toml").write_text(run("config", "show").out)
    assert load_settings(Path("shown.toml")) == load_settings(Path("stream-al.toml"))


def test_version(run: Run) -> None:
    found = run("version", "--json").json
    assert {"stream-al", "python", "numpy", "river"} <= found.keys()
    assert "numpy" in run("version").out


def test_the_command_line_starts_without_heavy_imports() -> None:
    code = (
        "import sys, stream_al, stream_al_consumers.cli; "
        "print([m for m in ('numpy', 'scipy', 'sklearn', 'river', 'kafka', 'pyarrow', 'matplotlib', "
        "'starlette', 'uvicorn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_lists_exit_codes(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert "Exit codes" in ran.out


def test_class_weights_reach_the_model_of_a_simulation(run: Run, points: Path) -> None:
    """One class has a tenth of the answers, so weights move what is said of all."""
    header, *rows = points.read_text().splitlines()
    kept = [row for i, row in enumerate(rows) if row.endswith("left") or i % 10 == 0]
    Path("rare.csv").write_text("\n".join([header, *kept]) + "\n")
    common = ["rare.csv", "--label", "side", "--budget", "0.5", "--no-baseline", "--json", "-"]
    losses = {
        kind: run("simulate", *common, "--class-weight", kind).json["accuracy"]["log_loss"]
        for kind in ("none", "sqrt", "balanced")
    }
    assert len(set(losses.values())) == 3
    assert "class_weight" in run("simulate", *common, "--class-weight", "balance").err


def test_a_simulation_says_which_score_and_which_seeds(run: Run, points: Path) -> None:
    common = [points, "--label", "side", "--no-baseline"]
    assert "`risk` in place of 'margin'" in run("simulate", *common, "--positive", "left").err
    both = run("simulate", *common, "--seed", 7, "--seeds", 2)
    assert (both.code, "--seed 7 and --seeds 2" in both.err) == (2, True)


def test_check_says_which_score_looks_for_the_rare_class(run: Run, points: Path) -> None:
    run("init", "--from", points, "--label", "side")
    text = Path("stream-al.toml").read_text()
    Path("stream-al.toml").write_text(
        text.replace("[query]", 'positive = "left"\n\n[query]\nwindow = "5m"', 1)
    )
    assert "risk in place of margin (left is to be found), window 5m" in run("check").out


def test_a_simulation_prints_what_is_known_of_the_positive_class(run: Run, points: Path) -> None:
    common = ["simulate", str(points), "--label", "side", "--budget", "0.5", "--no-baseline"]
    line = next(
        line for line in run(*common, "--positive", "left").out.splitlines() if "estimated for" in line
    )
    assert line.startswith("estimated for 'left': precision ")
    assert ", recall " in line
    assert ", false positive " in line
    assert line.count("(truth ") == 3
    assert "estimated for" not in run(*common).out
