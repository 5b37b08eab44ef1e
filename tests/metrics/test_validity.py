"""The table of what people see: whole, and shown."""

from __future__ import annotations

import json

from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.metrics import METRICS
from tofu_eval.metrics._validity import TABLE, describe_validity


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
