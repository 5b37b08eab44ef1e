"""Equivalence as a feature: each method, the greedy partition, the cache, and the judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.types import Group, Prompt
from tofu_eval.features import base
from tofu_eval.features.equivalence import Equivalence
from tofu_eval.features.nli import Inference
from tofu_eval.features.open_group import is_short, words_shared, yes_or_no
from tofu_eval.features.pairs import PairClassifier
from tofu_eval.pipeline.evaluate import score_files
from tofu_eval.run.feature_cache import FeatureCache

LONG = [
    "The cat sat on the mat near the old river all day.",
    "A dog ran to the old river and the cat sat there.",
    "Name a fruit, please, and name another fruit as well.",
    "The cat sat on the mat near the old river all night.",
]


@pytest.fixture(scope="session")
def classifier(
    bert_config: Any, bert_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved BERT with two labels, random but the same in each session."""
    return saved(bert_config, bert_tokenizer, tmp_path_factory, ["different", "same"])


@pytest.fixture(scope="session")
def nli_model(
    bert_config: Any, bert_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    labels = ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"]  # as roberta-large-mnli has them
    return saved(bert_config, bert_tokenizer, tmp_path_factory, labels)


def saved(config: Any, tokenizer: Any, factory: Any, labels: list[str]) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    fields = config.to_dict() | {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    path = factory.mktemp("models") / f"tiny-bert-{len(labels)}"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertForSequenceClassification(BertConfig(**fields)).eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


class FakeJudge:
    """Says yes where both responses begin with the same letter; keeps what it was asked."""

    def __init__(self, answer: str = "") -> None:
        self.identity = {"kind": "fake"}
        self.signature = "fake"
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, questions: Sequence[str]) -> list[str]:
        self.asked += questions
        letters = [[part[0] for part in q.split("Response ")[1:]] for q in questions]
        assert all(len(pair) == 2 for pair in letters)
        firsts = [[p.split(": ")[1][0] for p in q.split("Response ")[1:]] for q in questions]
        return [self.answer or ("Yes." if a == b else "no") for a, b in firsts]


def group(*texts: str, references: tuple[str, ...] = (), **features: Any) -> Group:
    prompt = Prompt.of_text("p", "Name a fruit.", references=references)
    return Group(prompt, texts, features=features)


def partition(model: Equivalence, *groups: Group, cache: FeatureCache | None = None) -> list[Any]:
    made = model.compute(groups, cache or FeatureCache())
    return [features["equivalence"].tolist() for features in made]


def test_exact() -> None:
    assert partition(Equivalence("exact"), group("a", "b ", "\na", "b", "A")) == [[0, 1, 0, 1, 2]]


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ("do it", "do not do it", 2 / 4),  # {do, it} of four words
        ("Yes", "yes", 1.0),
        ("a a a", "a", 1 / 3),  # a set over a list, as published
        ("", " ", 1.0),
        ("a b", "c", 0.0),
    ],
)
def test_word_overlap(one: str, other: str, share: float) -> None:
    assert words_shared(one, other) == pytest.approx(share)
    assert words_shared(other, one) == words_shared(one, other)


def test_short_means_both() -> None:
    assert is_short("a b c d e", "a")
    assert not is_short("a b c d e f", "a")


def test_a_class_takes_what_is_equivalent_to_its_first_member() -> None:
    # b is near a and near c; c is not near a, so it opens a class of its own.
    near = group("w x", "x y", "y z", "w q")
    assert partition(Equivalence("word-overlap"), near) == [[0, 0, 1, 0]]


def test_embedding_threshold() -> None:
    vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [2.0, 0.0]])
    four = group("a", "b", "c", "a", embedding=vectors)
    model = Equivalence("embedding-plain", threshold=0.79)
    assert model.requires == ("embedding",)
    assert partition(model, four) == [[0, 0, 1, 0]]
    assert partition(Equivalence("embedding-plain", threshold=0.81), four) == [[0, 1, 2, 0]]
    # b is like a and c, which are not alike: a chain.
    chain = {"threshold": 0.59}
    for linkage, expected in (("greedy", 1), ("complete", 1), ("connected", 0)):
        model = Equivalence("embedding-plain", linkage=linkage, **chain)  # type: ignore[arg-type]
        assert partition(model, four) == [[0, 0, expected, 0]]
        assert linkage == "greedy" or linkage in model.signature


def test_classes_given_the_prompt() -> None:
    vectors = np.array([[1.0, 0.0, 3.0], [0.9, 0.1, 3.0], [0.0, 1.0, 3.0], [-1.0, 0.2, 3.0]])
    prompt = np.array([[0.0, 0.0, 1.0]])
    assert partition(Equivalence("embedding-plain"), group(*"abcd", embedding=vectors)) == [[0] * 4]
    for linkage in ("greedy", "complete"):
        model = Equivalence("embedding", linkage=linkage)  # type: ignore[arg-type]
        assert model.requires == ("embedding", "prompt_embedding")
        four = group(*"abcd", embedding=vectors, prompt_embedding=prompt)
        assert len(set(partition(model, four)[0])) > 1
        assert partition(model, group(*"abcd", embedding=vectors)) == [[-1] * 4]


def test_complete_linkage_takes_degrees() -> None:
    with pytest.raises(ConfigError, match=r"Use --equivalence-linkage connected or greedy\.$"):
        Equivalence("word-overlap", linkage="complete")
    texts = group("a b", "b c", "c d", "e")
    model = Equivalence("word-overlap", linkage="connected")
    assert partition(model, texts) == [[0, 0, 0, 1]]
    assert partition(Equivalence("word-overlap"), texts) == [[0, 0, 1, 2]]


def test_progress_is_reported_and_kept_in_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "CHUNK", 2)
    seen: list[tuple[str, int, int]] = []
    cache, judge = FeatureCache(), FakeJudge()
    model = Equivalence("judge", judge=judge)
    texts = group("apple", "avocado", "pear", "plum")

    def stop(stage: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.compute([texts], cache, stop)
    assert len(judge.asked) == 2
    (made,) = model.compute([texts], cache, lambda *row: seen.append(row))
    assert made["equivalence"].tolist() == [0, 0, 1, 1]
    # Two of the three pairs of the first round were known already; the second round has one.
    assert seen == [("equivalence pairs", done, 1) for done in (0, 1, 0, 1)]
    assert len(judge.asked) == len(set(judge.asked)) == 4


def test_references_come_last(classifier: Path) -> None:
    five = group("a", "b", references=("c", "b", "c"))
    (made,) = Equivalence("exact", references=True).compute([five], FeatureCache())
    assert made["equivalence"].tolist() == [0, 1]
    assert made["reference_equivalence"].tolist() == [2, 1, 2]
    assert "reference_equivalence" not in Equivalence("exact").compute([five], FeatureCache())[0]


def direct(path: Path, one: str, other: str, side: int = 128) -> float:
    """NoveltyBench's own way to a pair's probability, one pair at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    parts = [
        tokenizer.encode(text, truncation=True, max_length=side, add_special_tokens=False)
        for text in (one, other)
    ]
    sep = tokenizer.sep_token_id
    ids = [tokenizer.cls_token_id, *parts[0], sep, *parts[1], sep]
    types = [0] * (len(parts[0]) + 2) + [1] * (len(parts[1]) + 1)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])).logits
    return float(logits.softmax(-1)[0, 1])


def test_the_classifier_is_asked_as_published(classifier: Path) -> None:
    model = PairClassifier(str(classifier), "--equivalence-model", side=10)
    pairs = [(one, other) for one in LONG for other in [*LONG, "yes"]]
    found = model.probabilities(pairs)
    expected = [direct(classifier, *pair, side=10) for pair in pairs]
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-6)
    assert model.truncated == len(pairs)


def test_the_classifier_partitions_as_one_pair_at_a_time(classifier: Path) -> None:
    odds = {(a, b): direct(classifier, a, b, side=30) for a in LONG for b in LONG if a != b}
    threshold = float(np.median(list(odds.values())))
    classes: list[int] = [-1] * len(LONG)
    for i in range(len(LONG)):
        if classes[i] < 0:
            classes[i] = max(classes) + 1
            for j in range(i + 1, len(LONG)):
                if classes[j] < 0 and odds[LONG[i], LONG[j]] > threshold:
                    classes[j] = classes[i]
    model = Equivalence("classifier", model=str(classifier), threshold=threshold)
    assert 1 < len(set(classes)) < len(LONG), "a threshold that tells nothing"
    assert partition(model, group(*LONG)) == [classes]
    assert model.signature.startswith(f"classifier({threshold:g}):tiny-bert-2@")


def test_novelty_bench_asks_about_long_answers_only(classifier: Path) -> None:
    model = Equivalence("novelty-bench-1.0", model=str(classifier))
    cache = FeatureCache()
    short = group("do it", "do not do it", "Yes", "yes!", "yes")
    assert partition(model, short, cache=cache) == [[0, 0, 1, 2, 1]]
    assert cache.find_missing([model.key((short.prompt, "do it", "do not do it"))])  # never asked
    later = Equivalence("novelty-bench-1.0@2b29e9f", model=str(classifier))
    partition(later, group("do it", "do not do it"), cache=cache)
    assert not cache.find_missing([later.key((short.prompt, "do it", "do not do it"))])


def test_what_was_asked_is_kept(tmp_path: Path) -> None:
    first = FakeJudge()
    groups = (group("apple", "avocado", "pear"), group("pear", "plum", "apple"))
    expected = [[0, 0, 1], [0, 0, 1]]
    cached = FeatureCache(tmp_path)
    assert partition(Equivalence("judge", judge=first), *groups, cache=cached) == expected
    assert len(first.asked) == len(set(first.asked)) == 4
    second = FakeJudge()
    again = FeatureCache(tmp_path)
    assert partition(Equivalence("judge", judge=second), *groups, cache=again) == expected
    assert second.asked == []


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("yes", 1.0),
        (" No.\n", 0.0),
        ("YES", 1.0),
        ("yes, they are", None),
        ("", None),
        ("yesno", None),
    ],
)
def test_answers_are_read_strictly(answer: str, value: float | None) -> None:
    found = yes_or_no(answer)
    assert found == value if value is not None else np.isnan(found)


def test_an_answer_that_cannot_be_read_is_null_and_counted() -> None:
    judge = FakeJudge("Perhaps.")
    groups = [group("apple", "pear")]
    made = Equivalence("judge", judge=judge).compute(groups, FeatureCache())
    assert made[0]["equivalence"].tolist() == [-1, -1]
    result = te.score(
        [Group(groups[0].prompt, groups[0].texts, features=made[0])], metrics=["distinct_k"]
    )
    row = result.scores.to_pylist()[0]
    assert row["value"] is None
    assert row["reason"] == "the equivalence of 2 of 2 responses was not decided"
    assert result.estimates.to_pylist()[0]["undefined"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "exact", "threshold": 0.5}, "--equivalence exact has no threshold."),
        ({"method": "judge"}, "--equivalence judge and a judge go together."),
        ({"method": "exact", "judge": FakeJudge()}, "--equivalence judge and a judge go"),
    ],
)
def test_settings_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Equivalence(**options)
    assert str(caught.value).startswith(message)


def test_a_reward_model_is_no_classifier(tiny_bert_reward: Path) -> None:
    with pytest.raises(ModelError, match="has 1 output, expected at least 2"):
        Equivalence("classifier", model=str(tiny_bert_reward))


def nli_direct(path: Path, premise: str, hypothesis: str) -> float:
    """P(entailment) − P(contradiction)."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    batch = tokenizer(premise, hypothesis, truncation=True, max_length=64, return_tensors="pt")
    with torch.inference_mode():
        p = model(**batch).logits.softmax(-1)[0]
    return float(p[2] - p[0])


def test_nli_of_whole_responses(nli_model: Path) -> None:
    texts = ["The cat sat.", "A dog ran.", "Name a fruit."]
    seen: list[tuple[str, int, int]] = []
    (made,) = Inference("nli", str(nli_model)).compute(
        [group(*texts)], FeatureCache(), lambda *row: seen.append(row)
    )
    ordered = [-nli_direct(nli_model, a, b) for a in texts for b in texts if a is not b]
    assert made["nli"].shape == (3, 1)
    assert seen == [("nli pairs", 0, 6), ("nli pairs", 6, 6)]
    assert made["nli"].mean() == pytest.approx(np.mean(ordered), abs=1e-6)


def test_nli_of_aligned_sentences(nli_model: Path) -> None:
    texts = ["The cat sat. A dog ran.", "Name a fruit! Please?", "The mat.\nThe river."]
    sentences = [["The cat sat", "A dog ran."], ["Name a fruit", "Please?"]]
    sentences.append(["The mat", "The river."])  # the full stop goes with what splits
    both = [
        (nli_direct(nli_model, x, y) + nli_direct(nli_model, y, x)) / 2
        for a, b in ((0, 1), (0, 2), (1, 2))
        for x, y in zip(sentences[a], sentences[b], strict=True)
    ]
    (made,) = Inference("nli_sentences", str(nli_model)).compute([group(*texts)], FeatureCache())
    total, count = made["nli_sentences"].sum(axis=0)
    assert 1 - total / count == pytest.approx(1 - np.mean(both), abs=1e-6)


def test_nli_draws_three_of_many_sentences_alike_every_time(nli_model: Path) -> None:
    texts = [" ".join(f"{word} {i}." for i in range(9)) for word in ("Cat", "Mat")]
    model = Inference("nli_sentences", str(nli_model))
    one, other = (model.compute([group(*texts)], FeatureCache())[0] for _ in range(2))
    np.testing.assert_array_equal(one["nli_sentences"], other["nli_sentences"])
    assert one["nli_sentences"][:, 1].tolist() == [6.0, 6.0]


def test_nli_needs_its_labels(classifier: Path) -> None:
    with pytest.raises(ModelError, match="has the labels DIFFERENT, SAME, expected entailment"):
        Inference("nli", str(classifier))


def test_through_the_pipeline(classifier: Path, nli_model: Path, tmp_path: Path) -> None:
    rows = tmp_path / "base.jsonl"
    rows.write_text(
        '{"id": "a", "prompt": "Fruit?", "responses": ["apple", "apple", "a pear", "a mat"]}\n'
    )
    metrics = ["distinct_k", "collision_probability", "nli_diversity", "nli_diversity@2604.16027"]
    result = score_files(
        [("base", rows)],
        tmp_path / "run",
        metrics=metrics,
        equivalence={"method": "classifier", "model": str(classifier)},
        nli={"model": str(nli_model)},
    )
    found = {row["metric"]: row for row in result.estimates.to_pylist()}
    assert 1 <= found["distinct_k"]["value"] <= 3
    assert "|equivalence:classifier(0.102):tiny-bert-2@" in found["distinct_k"]["signature"]
    assert "|nli:tiny-bert-3@" in found["nli_diversity"]["signature"]
    assert all(row["undefined"] == 0 for row in found.values())


def test_a_run_is_scored_again_by_another_method_only(tmp_path: Path) -> None:
    rows = tmp_path / "base.jsonl"
    rows.write_text('{"prompt": "Fruit?", "responses": ["red apple", "green apple", "pear"]}\n')

    def scored(method: str) -> list[float]:
        made = score_files(
            [("base", rows)],
            tmp_path / "run",
            metrics=["distinct_k"],
            equivalence={"method": method},
        )
        return made.scores.column("value").to_pylist()

    assert scored("exact") == [3.0]
    parts = sorted((tmp_path / "run" / "scores").rglob("part-*"))
    before = [part.stat().st_mtime_ns for part in parts]
    assert scored("exact") == [3.0]
    assert [part.stat().st_mtime_ns for part in parts] == before
    assert scored("word-overlap") == [2.0]


def test_references_through_scores() -> None:
    prompt = Prompt.of_text("p", "Fruit?", references=("apple", "fig", "fig"))
    made = te.score(
        Group(prompt, ("apple", "apple", "pear")),
        metrics=["reference_coverage", "reference_coverage_exact", "collision_ratio"],
        equivalence={"method": "exact"},
    )
    values = {row["metric"]: row["value"] for row in made.scores.to_pylist()}
    assert values["reference_coverage"] == values["reference_coverage_exact"] == 0.5
    assert values["collision_ratio"] == pytest.approx(1.0)


def test_each_follows_from_the_other(nli_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes of entailment both ways, of a classifier that knows what follows from what."""
    model = Equivalence("nli", model=str(nli_model))
    assert model.asks_prompts
    entails, asked = model._entails, []
    follows = {("apple", "fruit"), ("apple", "an apple"), ("an apple", "apple"), ("pear", "fruit")}

    def answer(pairs: Any) -> Any:
        asked.extend(pairs)
        rows = np.zeros((len(pairs), 3))
        for place, pair in enumerate(pairs):
            one, other = (text.removeprefix("Name a fruit. ") for text in pair)
            rows[place, entails if (one, other) in follows else (entails + 1) % 3] = 1
        return rows

    monkeypatch.setattr(model._classifier, "probabilities", answer)
    four = group("apple", "fruit", "an apple", "pear")
    assert partition(model, four) == [[0, 1, 0, 2]]
    assert ("Name a fruit. apple", "Name a fruit. fruit") in asked
    assert ("Name a fruit. fruit", "Name a fruit. apple") in asked


def test_entailment_by_a_plain_pass(nli_model: Path) -> None:
    """Each verdict is that of transformers' own argmax, both ways."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(nli_model)
    network = AutoModelForSequenceClassification.from_pretrained(nli_model).eval()
    texts = ["an apple", "a pear", "the old river", "mat", "a cat", "plum"]
    model = Equivalence("nli", model=str(nli_model), linkage="connected")
    prompt = group(*texts).prompt

    def label(one: str, other: str) -> int:
        row = tokenizer(f"Name a fruit. {one}", f"Name a fruit. {other}", return_tensors="pt")
        with torch.inference_mode():
            return int(network(**row).logits.argmax())

    pairs = [(prompt, a, b) for a in texts for b in texts if a < b]
    both = [{label(a, b), label(b, a)} for _, a, b in pairs]
    assert model._entails == 2
    agreed = []
    for column in range(3):  # a random model has its favourite, whichever that is
        model._entails = column
        agreed += model._ask(pairs)[:, 0].tolist()
        assert agreed[-len(pairs) :] == [float(labels == {column}) for labels in both]
    assert 0 < sum(agreed) < len(agreed)


def test_a_classifier_without_entailment(classifier: Path) -> None:
    with pytest.raises(ModelError, match="expected entailment among them"):
        Equivalence("nli", model=str(classifier))
