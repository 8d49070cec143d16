"""`compare`, as typed: the tables, the contract of its JSON, the picture, and names that do not exist."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from stream_al.datasets import bundled

from .conftest import Run


@pytest.fixture(scope="module")
def phishing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """River's phishing sites, 300 of them."""
    table = bundled("phishing", head=300)
    path = tmp_path_factory.mktemp("data") / "phishing.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*table.feature_names, "kind"])
        writer.writerows([*table.event(i)["features"].values(), table.label(i)] for i in range(table.n))
    return path


PEOPLE = ("--no-answer", 0, "--noise", 0, "--budget", 0.1)


def test_the_json_says_what_was_compared(run: Run, phishing: Path) -> None:
    ran = run(
        "compare",
        phishing,
        "--label",
        "kind",
        "--policy",
        "ranked,random",
        "--seeds",
        2,
        *PEOPLE,
        "--json",
        "-",
    )
    assert ran.code == 0
    found = ran.json
    assert [each["name"] for each in found["strategies"]] == ["ranked", "random"]
    assert (found["schema"], found["seeds"], found["events"]) == (1, [0, 1], 300)
    for each in found["strategies"]:
        learned = [row["labels"]["learned"] for row in each["per_seed"]]
        assert each["labels"]["learned"] == sum(learned) / 2
        assert each["labels"]["worst_excess"] <= 0
        assert {"kappa", "prequential", "balanced", "pr_auc", "log_loss", "ece"} <= each["accuracy"].keys()
    pairs = zip(
        *([row["labels"]["learned"] for row in each["per_seed"]] for each in found["strategies"]), strict=True
    )
    differences = [abs(a - b) for a, b in pairs]
    assert found["labels"]["difference"] == max(differences)
    if found["labels"]["equal"]:
        assert max(differences) <= max(1, 0.02 * found["labels"]["fewest"] + 1)
    assert found["strategies"][1]["difference"]["kappa"]["lower"] is not None


def test_the_tables_the_file_and_the_picture(run: Run, phishing: Path) -> None:
    ran = run(
        "compare", phishing, "--label", "kind", "--policy", "ranked", "--score", "margin,entropy",
        "--seeds", 1, *PEOPLE, "--json", "out.json", "--plot", "out.png",
    )  # fmt: skip
    assert ran.code == 0
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")
    assert len(json.loads(Path("out.json").read_text())["strategies"]) == 2
    for words in (
        "ranked, margin",
        "ranked, entropy",
        "kappa",
        "log-",
        "learned",
        "excess",
        "picture: out.png",
    ):
        assert words in ran.out
    assert "at most 10 % of events + 25 labels" in ran.out
    assert "--seeds 5" in ran.out


@pytest.mark.parametrize(
    ("option", "name", "near"),
    [("--policy", "ranked,spit", "split"), ("--score", "entrpy", "entropy"), ("--model", "pol", "pool")],
)
def test_an_unknown_name_gives_the_nearest(
    run: Run, phishing: Path, option: str, name: str, near: str
) -> None:
    ran = run("compare", phishing, "--label", "kind", option, name)
    assert (ran.code, f"did you mean {near!r}" in ran.err) == (2, True)


def test_mistakes_cost_nothing(run: Run, phishing: Path) -> None:
    for wrong in (("--plot", "gone/a.png"), ("--policy", ","), ("--delay", "5m"), ("--positive", "spam")):
        ran = run("compare", phishing, "--label", "kind", *wrong)
        assert ran.code == 2, wrong
        assert ran.err.startswith("error: ")
