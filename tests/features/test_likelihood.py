"""Log-probabilities of texts against a plain pass through transformers; metrics on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_server import FakeServer

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, MetricInputError, ModelError
from tofu_eval.core.types import Group, Prompt
from tofu_eval.features.likelihood import Likelihood, Redundancy, Surprise
from tofu_eval.features.likelihood_reader import (
    CausalReader,
    IsolatedReader,
    ServedReader,
    _windows,
    label_of,
    lay_out,
)
from tofu_eval.metrics import find
from tofu_eval.metrics._likelihood import surprise_curve
from tofu_eval.run.feature_cache import FeatureCache

PROMPT = Prompt.of_text("p", "Name a fruit.")
TEXTS = ("an apple", "plum 🍑, or two", "an apple", "the old clock\n\nin the hall")
GROUP = Group(PROMPT, TEXTS)

CURVE = [8.97907, 7.14977, 7.24853, 7.70456]
COHERENCE = 0.004090430680529496


@pytest.fixture(scope="module")
def reader(tiny_model: Path) -> CausalReader:
    return CausalReader(str(tiny_model), window=4096, device="cpu")


def nats_by_hand(model: Path, before: str, text: str) -> float:
    """The sum over the tokens from the one that has the text's first character."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    ids = tokenizer(before + text, return_tensors="pt")["input_ids"]
    some = tokenizer(before)["input_ids"]
    if ids[0, : len(some)].tolist() != some:  # its blank is in the text's first token
        some = tokenizer(before.rstrip(" "))["input_ids"]
    start = len(some)
    with torch.inference_mode():
        logprobs = network(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return float(logprobs.gather(1, ids[0, 1:, None])[start - 1 :].sum())


def test_what_is_read() -> None:
    whole, spans = lay_out("Name a fruit.", ["one", "two"])
    assert whole == "Name a fruit.\n\nResponse A: one\n\nResponse B: two"
    assert [whole[start:end] for start, end in spans] == ["one", "two"]
    assert lay_out("", ["one"])[0] == "Response A: one"
    assert [label_of(n) for n in (0, 25, 26, 701, 702)] == ["A", "Z", "AA", "ZZ", "AAA"]


def test_a_text_after_its_prompt(tiny_model: Path, reader: CausalReader) -> None:
    rows = Likelihood(reader).compute([(PROMPT, text) for text in TEXTS])
    before = "Name a fruit.\n\nResponse A: "
    by_hand = [nats_by_hand(tiny_model, before, text) for text in TEXTS]
    np.testing.assert_allclose(rows[:, 0], by_hand, rtol=1e-4)
    assert rows[:, 2].tolist() == [len(text.encode()) for text in TEXTS]


def test_perplexity_is_that_of_transformers_own_loss(
    tiny_model: Path, reader: CausalReader
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    network = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    ids = tokenizer("Name a fruit.\n\nResponse A: an apple", return_tensors="pt")["input_ids"]
    asked = len(tokenizer("Name a fruit.\n\nResponse A:")["input_ids"])
    labels = torch.where(torch.arange(ids.shape[1]) < asked, -100, ids)
    with torch.inference_mode():
        loss = float(network(input_ids=ids, labels=labels).loss)
    row = Likelihood(reader).compute([(PROMPT, "an apple")])
    assert find("perplexity")(row) == pytest.approx(np.exp(loss), rel=1e-4)


def test_the_published_curve(tiny_model: Path, tmp_path: Path) -> None:
    """a_k in bits a byte, mean over our three orders, and C.

    Source: github.com/AMindToThink/icl-diversity, src/icl_diversity/core.py:
    compute_icl_diversity_metrics(model, tokenizer, prompt, [TEXTS in an order]), whose
    "a_k_curve_per_byte" was averaged over the orders; it adds no token before the text.
    """
    from tokenizers import processors
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.save_pretrained(tmp_path)
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(tmp_path)
    own = CausalReader(str(tmp_path), window=4096, device="cpu")
    (features,) = Surprise(own, 3, 0).compute([GROUP], FeatureCache())
    curve = surprise_curve(features["surprise"])
    np.testing.assert_allclose(curve, CURVE, rtol=1e-4)
    likelihood = Likelihood(own).compute([(PROMPT, text) for text in TEXTS])
    assert find("coherence")(likelihood) == pytest.approx(COHERENCE, rel=1e-4)
    assert find("decan")(likelihood, features["surprise"]) == pytest.approx(
        COHERENCE * CURVE[-1], rel=1e-4
    )
    assert find("excess_entropy")(features["surprise"]) == pytest.approx(
        sum(CURVE) - 4 * CURVE[-1], rel=1e-3
    )


def test_a_response_after_another(tiny_model: Path, reader: CausalReader) -> None:
    own = Redundancy(reader, 9, 0)
    (features,) = own.compute([GROUP], FeatureCache())
    rows = features["redundancy"]
    assert rows.shape == (4, 3)  # all others
    before = "Name a fruit.\n\nResponse A: {}\n\nResponse B: "
    told = sorted(nats_by_hand(tiny_model, before.format(TEXTS[i]), TEXTS[3]) for i in range(3))
    np.testing.assert_allclose(sorted(rows[3]), told, rtol=1e-4)
    likelihood = Likelihood(reader).compute([(PROMPT, text) for text in TEXTS])
    alone = likelihood[:, :1].astype(float)
    assert find("pairwise_redundancy")(likelihood, rows) == pytest.approx((1 - rows / alone).mean())


def test_nothing_depends_on_the_order_of_the_responses(reader: CausalReader) -> None:
    turned = Group(PROMPT, TEXTS[::-1])
    for feature in (Surprise(reader, 2, 0), Redundancy(reader, 1, 0)):
        one, other = feature.compute([GROUP, turned], FeatureCache())
        name = feature.name
        # Of the two equal texts, either may be the one that stands first.
        np.testing.assert_array_equal(
            sorted(one[name].tolist()), sorted(other[name].tolist()), err_msg=name
        )


def test_what_was_read_is_not_read_again(reader: CausalReader, tmp_path: Path) -> None:
    cache, seen = FeatureCache(tmp_path), []
    feature = Surprise(reader, 2, 0)
    (first,) = feature.compute([GROUP], cache)
    (again,) = feature.compute([GROUP], FeatureCache(tmp_path), lambda *told: seen.append(told))
    assert not seen
    np.testing.assert_array_equal(first["surprise"], again["surprise"])


def test_long_texts_are_read_in_windows_and_long_passes_are_not(tiny_model: Path) -> None:
    narrow = CausalReader(str(tiny_model), window=64, device="cpu")
    text = "a river and a tree " * 12
    rows = Likelihood(narrow).compute([(PROMPT, text), (PROMPT, "an apple")])
    assert narrow.windowed == 1
    wide = CausalReader(str(tiny_model), window=4096, device="cpu")
    whole = Likelihood(wide).compute([(PROMPT, text), (PROMPT, "an apple")])
    np.testing.assert_array_equal(rows[:, 1:], whole[:, 1:])
    np.testing.assert_allclose(rows[1], whole[1], rtol=1e-5)
    assert rows[0, 0] != whole[0, 0]
    assert rows[0, 0] == pytest.approx(whole[0, 0], rel=0.2)
    (features,) = Surprise(narrow, 1, 0).compute([Group(PROMPT, (text, "plum"))], FeatureCache())
    with pytest.raises(MetricInputError, match="longer than the language model reads at once"):
        find("conditional_surprise")(features["surprise"])


def test_windows_count_each_token_once() -> None:
    for length in (2, 64, 65, 100, 129, 1000):
        pieces = _windows(length, 64)
        assert sum(count for _, count in pieces) == length - 1
        assert all(0 <= start <= length - min(length, 64) for start, _ in pieces)


def test_the_metrics_of_a_run(tiny_model: Path) -> None:
    names = ["perplexity", "decan", "coherence", "pairwise_redundancy", "perplexity[reward>=0]"]
    group = Group(PROMPT, TEXTS, features={"reward": [1.0, -1.0, -1.0, 1.0]})
    made = te.score([group], metrics=names, likelihood={"model": str(tiny_model), "orders": 1})
    values = {row["metric"]: row["value"] for row in made.estimates.to_pylist()}
    assert all(values[name] is not None for name in names)
    assert 1 < values["perplexity"] != values["perplexity[reward>=0]"]
    assert 0 < values["coherence"] < 1
    (one,) = [row for row in made.estimates.to_pylist() if row["metric"] == "decan"]
    assert f"{tiny_model.name}@" in one["signature"]
    assert ",1x" in one["signature"]
    with pytest.raises(ConfigError, match=r"no conditional form"):
        te.score([group], metrics=["decan[reward>=0]"], likelihood={"model": str(tiny_model)})


def test_fewer_responses_are_the_beginning_of_the_curve(reader: CausalReader) -> None:
    (features,) = Surprise(reader, 3, 0).compute([GROUP], FeatureCache())
    curve = surprise_curve(features["surprise"])
    at = find("conditional_surprise").at_count
    assert at is not None
    assert at(features["surprise"], k=2) == curve[1]
    excess = find("excess_entropy").at_count
    assert excess is not None
    assert excess(features["surprise"], k=2) == pytest.approx(curve[0] - curve[1])


@pytest.mark.slow
def test_a_process_of_its_own(tiny_model: Path, reader: CausalReader) -> None:
    apart = IsolatedReader(str(tiny_model), window=4096, device="cpu")
    asked = [("Name a fruit.", TEXTS)]
    try:
        np.testing.assert_allclose(apart.read(asked)[0], reader.read(asked)[0], rtol=1e-5)
    finally:
        apart.close()
    assert apart.signature == reader.signature


@pytest.fixture
def server() -> Any:
    with FakeServer() as running:
        yield running


def test_a_server_that_echoes(server: Any) -> None:
    own = ServedReader("any", server.url)
    (rows,) = own.read([("Name a fruit.", ("an apple", "plum"))])
    # The fake's tokens are words with the white space before them, -1 nat a character.
    assert rows.tolist() == [[-9.0, 2.0], [-5.0, 1.0]]


def test_a_server_that_does_not(server: Any) -> None:
    server.deaf = True
    with pytest.raises(ModelError, match=r"no log-probabilities of a given text"):
        ServedReader("any", server.url).read([("Name a fruit.", ("an apple",))])


def test_an_address_without_its_engine(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="Add --likelihood-engine openai"):
        te.score(
            [GROUP],
            metrics=["perplexity"],
            likelihood={"model": str(tiny_model), "base_url": "http://127.0.0.1:9/v1"},
        )
