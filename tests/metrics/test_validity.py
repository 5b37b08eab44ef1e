"""The table of what people see: whole, and shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.metrics import METRICS, Metric
from tofu_eval.metrics._validity import TABLE, describe_validity, languages_of, trust_rows


def test_rows_are_of_metrics_and_in_range() -> None:
    content = json.loads(TABLE.read_text("utf-8"))
    for label, row in content["table"].items():
        name = label.partition(" | ")[0]
        assert name == "people" or name in METRICS
        assert 0.5 <= row[content["sets"]]["oca"] <= 1
        assert -1 <= row[content["sets"]]["rho_people"] <= 1


def test_what_leads_sees_most_by_default_and_declares_it() -> None:
    table = json.loads(TABLE.read_text("utf-8"))["table"]
    oca = round(table["cosine_distance_given_prompt"]["con_test"]["oca"], 3)  # as declared
    assert METRICS.get("cosine_distance_given_prompt").human == oca
    others = [e.item.human or 0 for e in METRICS.entries() if e.item]
    assert max(others) == oca


def test_shown() -> None:
    result = CliRunner().invoke(main, ["metrics", "show", "cosine_distance_given_prompt"])
    assert result.exit_code == 0, result.output
    assert "people     OCA 0.814" in result.output
    assert "people     both: OCA 0.849" in result.output
    assert describe_validity("mean_length") == []


def test_the_page_of_trust_is_what_was_measured() -> None:
    """Made again by: tofu-eval metrics trust --format markdown"""
    printed = CliRunner().invoke(main, ["metrics", "trust", "--format", "markdown"])
    assert printed.exit_code == 0, printed.output
    page = (Path(__file__).parents[2] / "docs" / "trust.md").read_text("utf-8")
    assert page.endswith(printed.output.strip() + "\n")
    names = [line.split("`")[1] for line in printed.output.splitlines() if line.startswith("| `")]
    built_in = [e.name for e in METRICS.entries() if is_built_in(e.item)]
    assert names[: len(built_in)] == built_in


def is_built_in(metric: Metric | None) -> bool:
    return metric is not None and metric.function.__module__.startswith("tofu_eval.metrics.")


def test_trust_in_words() -> None:
    find = METRICS.get
    assert languages_of(find("self_bleu")) == "any"
    assert languages_of(find("ead@2604.16027")) == "with spaces"
    assert "English" in languages_of(find("vendi"))
    rows = {row[0]: row for row in trust_rows(e.item for e in METRICS.entries() if e.item)}
    assert rows["cosine_distance_given_prompt"][1].startswith("0.814 ± 0.01")
    assert rows["vendi"][5:7] == ("grows", "yes")
    assert rows["distinct_at_5"][5] == "no"
    assert rows["distinct_at_10"][1] == "–"  # con_test has five responses a set
    assert rows["judge_rating"][1:5] == ("–",) * 4
    assert "classes" in rows["distinct_k"][8]
    result = CliRunner().invoke(main, ["metrics", "show", "vendi"])
    assert "languages  the encoder's (English)" in result.output
    assert "one thread" in result.output


def test_the_page_about_what_metrics_see_has_the_measured_figures() -> None:
    page = Path(__file__).parents[2] / "docs" / "explain" / "what-metrics-see.md"
    rows = re.findall(
        r"^\| (?:`(\S+)`[^|]*|people themselves) \| (\S+) \| (\S+) \| (\S+) \|$",
        page.read_text("utf-8"),
        re.MULTILINE,
    )
    assert len(rows) >= 10
    content = json.loads(TABLE.read_text("utf-8"))
    for name, *shown in rows:
        kept = content["table"][name or "people"][content["sets"]]
        wanted = [kept["oca"], kept["rho_people"], kept["rho_length"]]
        assert shown == [f"{wanted[0]:.3f}", f"{wanted[1]:.3f}", f"{wanted[2]:+.3f}"], name
