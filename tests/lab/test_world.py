"""The world is exact: probabilities, parsing, the tail, the seeds."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_eval.core.errors import ConfigError
from tofu_eval.lab.samples import SAMPLES, sft_options, stream
from tofu_eval.lab.world import (
    FAMILIES,
    HELD_OUT,
    PRETRAINING,
    SEEN,
    TARGET,
    TOPICS,
    joint,
    pick,
    rare,
    topic_of,
    zipf,
)

one_a_family = [next(t for t in TOPICS if t.family == family) for family in FAMILIES]
by_family = pytest.mark.parametrize("topic", one_a_family, ids=lambda topic: topic.name)
by_topic = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


def test_the_size_of_the_world() -> None:
    assert (len(TOPICS), len(SEEN), len(HELD_OUT)) == (35, 26, 9)
    assert [len(topic.mass()) for topic in one_a_family] == [24, 19**3, 14**4, 12**3]
    assert len({topic.name for topic in TOPICS}) == 35
    assert all(len(topic.wordings) == 4 for topic in TOPICS)


def test_zipf_by_hand() -> None:
    # python -c "w = [1, 2**-1.3, 3**-1.3]; print([x / sum(w) for x in w])"
    expected = [0.6075824235430991, 0.24675513975340574, 0.1456624367034952]
    assert zipf(3, 1.3) == pytest.approx(expected, rel=1e-12)


@by_family
@pytest.mark.parametrize("exponent", [TARGET, PRETRAINING])
def test_mass_sums_to_one_by_enumeration_and_by_factors(topic, exponent) -> None:
    mass = topic.mass(exponent)
    assert mass.sum() == pytest.approx(1, abs=1e-12)
    slots = [zipf(count, exponent) for count in topic.shape]
    for option in (0, 1, len(mass) // 2, len(mass) - 1):
        factors = [slot[rank] for slot, rank in zip(slots, topic.ranks([option])[0], strict=True)]
        assert mass[option] == pytest.approx(np.prod(factors), rel=1e-12)


def test_shared_arrays_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        joint((12, 12), TARGET)[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        rare(24)[0] = True


@by_topic
def test_every_option_is_another_text_and_parses_back(topic) -> None:
    # All options of a small topic, every 37th of a large one.
    step = 1 if len(topic.mass()) <= 2000 else 37
    options = range(0, len(topic.mass()), step)
    texts = [topic.text(option) for option in options]
    assert len(set(texts)) == len(texts)
    assert [topic.parse(text) for text in texts] == list(options)
    assert topic.parse(f"  {texts[0]}\n") == 0


@by_topic
def test_no_other_topic_accepts_its_answers(topic) -> None:
    text = topic.text(len(topic.mass()) // 2)
    assert [t.name for t in TOPICS if t.parse(text) is not None] == [topic.name]


@by_topic
def test_slots_do_not_repeat_words_and_articles_fit(topic) -> None:
    for slot in topic.slots:
        assert len(set(slot)) == len(slot)
        assert all(re.fullmatch("[a-z]+", word) for word in slot)
    answer = " ".join(topic.text(option) for option in range(0, len(topic.mass()), 7))
    assert not re.search(r"\b[Aa] [aeiou]", answer)
    assert not any(re.search(r"\b[Aa] [aeiou]", wording) for wording in topic.wordings)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.upper(),
        lambda text: text.rstrip("."),
        lambda text: text + ".",
        lambda text: text + " And more.",
        lambda text: text.replace(" ", "  ", 1),
        lambda text: text.replace(" ", "\n", 1),
        lambda text: text.replace("e", "е"),  # Cyrillic
        lambda text: text + "\ud800",
        lambda text: text.replace("The", "{0}"),
        lambda text: "",
        lambda text: " ",
        lambda text: text * 10_000,
    ],
)
def test_near_misses_and_hostile_texts_are_invalid(change) -> None:
    topic = topic_of("poem-sea")
    text = topic.text(1234)
    assert topic.parse(text) == 1234
    assert topic.parse(change(text)) is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text())
def test_any_text_is_no_answer_or_its_own_text(text) -> None:
    for topic in one_a_family:
        option = topic.parse(text)
        assert option is None or topic.text(option) == text.strip()


def test_rare_words_by_hand() -> None:
    # python -c "w=[r**-1.3 for r in range(1,13)]; print([sum(w[:i])/sum(w) for i in range(6)])"
    # -> 0, .422, .593, .695, .764, .816: the fifth word is the one that reaches 80%.
    assert rare(12).tolist() == [False] * 5 + [True] * 7
    mass = zipf(24, TARGET)
    assert mass[rare(24)].sum() <= 0.2 < mass[rare(24)].sum() + mass[~rare(24)][-1]


def test_draws_follow_the_mass() -> None:
    topic = topic_of("name-fruit")
    options = topic.draw(stream(0, "target").random(200_000))
    found = np.bincount(options, minlength=24) / 200_000
    # Five standard errors of the likeliest word: 5 * sqrt(.38 * .62 / 200000) = 0.0054.
    assert np.abs(found - topic.mass()).max() < 0.0055


def test_pick_reaches_the_ends_and_skips_what_has_no_mass() -> None:
    mass = np.array([0.0, 0.5, 0.0, 0.5, 0.0])
    uniforms = np.array([0.0, 0.4999, 0.5, np.nextafter(1, 0)])
    assert pick(mass, uniforms).tolist() == [1, 1, 3, 3]


def test_an_unknown_topic() -> None:
    with pytest.raises(ConfigError, match="The lab has no topic 'name-cheese'"):
        topic_of("name-cheese")


def test_streams_differ_by_seed_purpose_and_number_and_repeat() -> None:
    first = {
        stream(seed, purpose, number).random()
        for seed in (0, 1)
        for purpose in ("answers", "target")
        for number in (0, 1)
    }
    assert len(first) == 8
    assert stream(3, "answers", 2).random() == stream(3, "answers", 2).random()


def test_fine_tuning_answers_depend_on_the_seed_and_the_topic() -> None:
    sea, moon = topic_of("poem-sea"), topic_of("poem-moon")
    assert len(sft_options(0, sea)) == SAMPLES
    assert sft_options(0, sea) == sft_options(0, sea)
    assert sft_options(0, sea) != sft_options(1, sea)
    assert sft_options(0, sea) != sft_options(0, moon)
    # More samples extend the data, they do not replace it.
    assert sft_options(0, sea, 48)[:SAMPLES] == sft_options(0, sea)
