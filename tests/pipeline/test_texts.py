"""What a response is, in every script: thoughts, states, words, refusals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tofu_eval.analysis.equal_lengths import Lengths
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import Group, Prompt
from tofu_eval.features.answers.verdicts import Verdicts
from tofu_eval.features.text import tokens
from tofu_eval.metrics import METRICS
from tofu_eval.metrics.refusal import is_answer, is_refusal
from tofu_eval.pipeline.evaluate import Result, score_files
from tofu_eval.pipeline.score_groups import score
from tofu_eval.run.feature_cache import FeatureCache
from tofu_eval.run.responses import response_facts
from tofu_eval.run.store import Run

DATA = Path(os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
CASES = DATA.parent / "cases" / "text"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"no cases in {CASES}")

LEXICAL = ["distinct_1", "self_bleu", "rouge_l_homogenization", "unique_rate", "mean_length"]
STATES = ["unfinished_rate", "empty_rate", "filtered_rate", "failed_rate"]


def values(result: Result) -> dict[str, float | None]:
    return {row["metric"]: row["value"] for row in result.estimates.to_pylist()}


def score_case(name: str, tmp_path: Path, metrics: list[str], **options: object) -> Result:
    return score_files(
        [("m", CASES / f"{name}.jsonl")], tmp_path / name, metrics=metrics, **options
    )


def of(*texts: str, metrics: list[str], **options: object) -> dict[str, float | None]:
    group = Group(Prompt.of_text("p", "Say something."), texts)
    return values(score(group, metrics=metrics, **options))


@needs_cases
def test_thoughts_change_no_score(tmp_path: Path) -> None:
    with_thoughts = values(score_case("think", tmp_path, LEXICAL))
    assert with_thoughts == values(score_case("nothink", tmp_path, LEXICAL))
    assert with_thoughts["distinct_1"] == pytest.approx(1 / 3)
    same = values(score_case("think_same_answer", tmp_path, LEXICAL))
    assert (same["unique_rate"], same["distinct_1"], same["self_bleu"]) == (0.1, 0.1, 100.0)
    different = values(score_case("nothink_div", tmp_path, LEXICAL))
    assert different["unique_rate"] == pytest.approx(0.45)


@needs_cases
def test_choices_and_refusals_after_thoughts(tmp_path: Path) -> None:
    for name in ("choice_plain", "choice_think"):
        result = score_case(
            name, tmp_path, ["accuracy", "unparsable_rate"], verifier={"name": "choice"}
        )
        assert values(result) == {"accuracy": pytest.approx(2 / 3), "unparsable_rate": 0.0}
    for name in ("refuse_think", "refuse_es"):
        found = values(score_case(name, tmp_path, ["refusal_rate", "attack_success_rate"]))
        assert found == {"refusal_rate": 1.0, "attack_success_rate": 0.0}


@needs_cases
def test_an_answer_within_an_unclosed_thought_is_none(tmp_path: Path) -> None:
    metrics = ["accuracy", "unparsable_rate", "pass_at_2", "empty_rate", "unfinished_rate"]
    result = score_case("math_think_unclosed", tmp_path, metrics, verifier={"name": "math"})
    assert values(result) == {
        "accuracy": 0.0,  # the two that answer say 4, the reference is 5
        "unparsable_rate": 0.5,
        "pass_at_2": 0.0,
        "empty_rate": 0.5,
        "unfinished_rate": 0.5,
    }
    assert result.notes == (
        "m: of 24 responses to responses, 12 unfinished (50.0%), 12 empty (50.0%)",
    )
    rows = Run.open(tmp_path / "math_think_unclosed").responses("m", "responses").to_pylist()
    assert [(r["text"], r["state"], r["reasoning"]) for r in rows[1:3]] == [
        ("\\boxed{4}", "finished", None),
        ("", "unfinished", "maybe \\boxed{5}"),
    ]


@needs_cases
def test_words_of_chinese_and_russian(tmp_path: Path) -> None:
    diverse, narrow = (
        values(score_case(name, tmp_path, LEXICAL)) for name in ("zh_diverse", "zh_narrow")
    )
    assert diverse["mean_length"] == pytest.approx(12.5, abs=0.5)  # characters
    assert narrow["mean_length"] == 25.0
    assert diverse["distinct_1"] > 2 * narrow["distinct_1"]
    assert diverse["self_bleu"] < narrow["self_bleu"] / 2
    assert narrow["rouge_l_homogenization"] > 0.9 > 0.3 > diverse["rouge_l_homogenization"]
    # 4 of 28 pairs are equal; a digit alone is shared by some others.
    russian = values(score_case("ru_mixed", tmp_path, LEXICAL))
    assert russian["rouge_l_homogenization"] == pytest.approx(0.2, abs=0.01)


@needs_cases
def test_a_blank_prompt_is_a_prompt_of_its_own(tmp_path: Path) -> None:
    result = score_case("short-stories-with-blank-row", tmp_path, ["mean_length", *STATES])
    assert values(result) == {"mean_length": 2.0, **dict.fromkeys(STATES, 0.0)}


def test_the_verifier_agrees_with_every_label_of_gsm8k() -> None:
    file = DATA / "gsm8k" / "solutions.jsonl"
    if not file.is_file():
        pytest.skip(f"no {file}")
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    groups = [
        Group(
            Prompt.of_text(f"{row['id']}-{i}", row["prompt"], references=row["references"]),
            (row["response"],),
        )
        for i, row in enumerate(rows)
    ]
    found = Verdicts({}, "math").compute(groups, FeatureCache())
    ours = [bool(one["correct"][0] == 1) for one in found]
    assert len(ours) == 800
    assert ours == [row["is_correct"] for row in rows]


# States


def test_states_are_counted_and_their_texts_not_scored(tmp_path: Path) -> None:
    rows = [("apple", "stop"), ("apple pe", "length"), ("", "stop"), ("pear", "content_filter")]
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "".join(
            json.dumps({"prompt": "P", "response": text, "finish_reason": reason}) + "\n"
            for text, reason in rows
        )
    )
    metrics = ["unique_rate", "mean_length", *STATES]
    result = score_files([("m", file)], tmp_path / "kept", metrics=metrics)
    assert values(result) == {
        "unique_rate": 1.0,
        "mean_length": 1.5,
        "unfinished_rate": 0.25,
        "empty_rate": 0.25,
        "filtered_rate": 0.25,
        "failed_rate": 0.0,
    }
    ns = {row["metric"]: row["n"] for row in result.scores.to_pylist()}
    assert (ns["mean_length"], ns["empty_rate"]) == (2, 4)
    dropped = score_files([("m", file)], tmp_path / "out", metrics=metrics, unfinished="drop")
    assert values(dropped)["mean_length"] == 1.0
    assert values(dropped)["unfinished_rate"] == 0.25
    [reason] = [r["reason"] for r in dropped.scores.to_pylist() if r["metric"] == "unique_rate"]
    assert reason == "fewer than two responses (1); of 4 responses 1 empty, 1 filtered"
    signatures = {r["metric"]: r["signature"] for r in dropped.estimates.to_pylist()}
    assert "|unfinished:drop" in signatures["mean_length"]
    assert "|unfinished:drop" not in signatures["unfinished_rate"]


def test_thoughts_by_themselves_and_with_the_answer() -> None:
    texts = ("<think>red or blue</think>red", "<think>red or blue</think>red", "red")
    found = of(*texts, metrics=["unique_rate", "unique_rate[reasoning]", "mean_length[reasoning]"])
    assert found["unique_rate"] == pytest.approx(1 / 3)
    assert found["unique_rate[reasoning]"] == 0.5
    assert found["mean_length[reasoning]"] == 3.0
    assert of("a", "b", metrics=["unique_rate[reasoning]"])["unique_rate[reasoning]"] is None
    assert of(*texts, metrics=["mean_length"], reasoning="keep")["mean_length"] == pytest.approx(3)
    with pytest.raises(ConfigError, match=r"^'accuracy' says something about answers"):
        of("a", metrics=["accuracy[reasoning]"])


# Words


FAR_AND_NEAR = {
    "zh": (
        ["今天天气很好，我们去公园吧。", "股市昨天大跌，大家很担心。", "他用旧木头做了张桌子。",
         "火车晚点，乘客们都生气。", "奶奶教我怎样包饺子。"],
        [f"今天天气很好，我们{x}去公园吧。" for x in ("早上", "下午", "晚上", "中午", "一起")],
    ),
    "ja": (
        ["今日は天気がいいので公園へ行きます。", "株価が昨日大きく下がった。",
         "祖母は古い木で机を作った。", "電車が遅れて乗客は怒っていた。", "弟は毎晩ピアノを弾く。"],
        [f"今日は天気がいいので{x}公園へ行きます。" for x in ("朝", "昼", "夜", "夕方", "皆で")],
    ),
    "th": (
        ["วันนี้อากาศดีมากเราไปสวนกัน", "ตลาดหุ้นเมื่อวานตกลงหนัก", "คุณยายสอนฉันทำขนม",
         "รถไฟมาช้าสองชั่วโมง", "น้องชายซ้อมเปียโนทุกคืน"],
        [f"วันนี้อากาศดีมากเราไปสวน{x}กัน" for x in ("เช้า", "บ่าย", "เย็น", "ค่ำ", "สาย")],
    ),
    "ar": (
        ["الطقس جميل اليوم فلنذهب إلى الحديقة.", "انخفضت أسعار الأسهم أمس بشكل كبير.",
         "صنعت جدتي طاولة من خشب قديم.", "تأخر القطار ساعتين وغضب الركاب.",
         "يتدرب أخي على البيانو كل ليلة."],
        [f"الطقس جميل اليوم فلنذهب {x} إلى الحديقة."
         for x in ("صباحا", "مساء", "معا", "غدا", "الآن")],
    ),
    "hi": (
        ["आज मौसम अच्छा है चलो पार्क चलते हैं।", "कल शेयर बाजार बहुत नीचे गिर गया।",
         "दादी ने पुरानी लकड़ी से मेज बनाई।", "ट्रेन दो घंटे देर से आई और यात्री नाराज थे।",
         "मेरा भाई हर रात पियानो बजाता है।"],
        [f"आज मौसम अच्छा है चलो {x} पार्क चलते हैं।" for x in ("सुबह", "शाम", "रात", "साथ", "अभी")],
    ),
    "ru": (
        ["Сегодня хорошая погода, пойдём гулять в парк.", "Вчера акции резко упали.",
         "Бабушка сделала красивый стол из дерева.", "Поезд опоздал на два часа.",
         "Мой брат каждый вечер играет на пианино."],
        [f"Сегодня хорошая погода, пойдём {x} гулять в парк."
         for x in ("утром", "днём", "вечером", "вместе", "сейчас")],
    ),
    "code": (
        ["def add(a, b):\n    return a + b", "for item in queue:\n    print(item.name)",
         "SELECT id, name FROM users WHERE age > 30;", "const total = prices.reduce(sum, 0);",
         "while (ptr != NULL) { free(ptr); ptr = next; }"],
        [f"def add(a, b):\n    return a + b + {i}" for i in range(5)],
    ),
    "emoji": (
        ["🐶🐱🐭🐹🐰", "🍎🍐🍊🍋🍌", "🚗🚕🚙🚌🏎️", "⚽🏀🏈⚾🎾", "😀😃😄😁😆"],
        ["🍎🍐🍊🍋🍌" + x for x in "🍉🍇🍓🫐🍈"],
    ),
}  # fmt: skip
"""Five unrelated sentences, and five that differ in one word."""

BY_WORDS = [
    entry.name
    for entry in METRICS.entries()
    if entry.item
    and entry.item.function.__module__.startswith("tofu_eval.metrics.")
    and (entry.item.measures, entry.item.cost, entry.item.level) == ("diversity", "cpu", "group")
    and all(need.startswith("tokens") or need in ("text", "prompt") for need in entry.item.needs)
    and "exact" not in entry.name
    and entry.name not in ("unique_rate", "mattr")  # whole texts; the inside of one text
]
SPLIT_AT_SPACES = {
    "ead@2604.16027",
    "ngram_diversity@diversity-0.3",
    "ngram_diversity@gem",
    "self_bleu@gem",
}


@pytest.mark.parametrize("language", FAR_AND_NEAR)
def test_unrelated_sentences_are_more_diverse_than_near_copies(language: str) -> None:
    far, near = (of(*texts, metrics=BY_WORDS) for texts in FAR_AND_NEAR[language])
    unspaced = language in ("zh", "ja", "th", "emoji")
    assert {name for name in BY_WORDS if far[name] is None} == (
        SPLIT_AT_SPACES if unspaced else set()
    )
    for name in set(BY_WORDS) - (SPLIT_AT_SPACES if unspaced else set()):
        gain = far[name] - near[name]
        gain = gain if METRICS.get(name).direction == "higher" else -gain
        # At most one word in nine differs: the sets of 3-grams need not be near duplicates.
        assert gain >= 0 if name == "near_duplicate_rate" else gain > 0, name


def test_words_are_those_of_the_field() -> None:
    from sacrebleu.tokenizers.tokenizer_char import TokenizerChar
    from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

    chinese, thai = "他买了3本书，很好。", "วันนี้อากาศดี"
    assert next(iter(tokens([chinese], "tokens_13a_cased"))) == TokenizerZh()(chinese).split()
    assert next(iter(tokens([thai], "tokens_13a_cased"))) == TokenizerChar()(thai).split()
    assert next(iter(tokens(["नमस्ते दुनिया"], "tokens_wordpunct"))) == ["नमस्ते", "दुनिया"]
    assert next(iter(tokens(["Я люблю 0"], "tokens_rouge"))) == ["я", "люблю", "0"]
    assert next(iter(tokens(["It's a café"], "tokens_rouge"))) == ["it", "s", "a", "caf"]


def test_the_tokenizer_is_the_users_and_named() -> None:
    group = Group(Prompt.of_text("p", "P"), ("我们去公园", "我们去公园吧"))
    for tokenizer, length, name in (
        ("auto", 5.5, "nltk-word+chars"), ("published", 1.0, "nltk-word"), ("char", 5.5, "char"),
    ):  # fmt: skip
        [row] = score(group, metrics=["mean_length"], tokenizer=tokenizer).estimates.to_pylist()
        assert row["value"] == length
        assert f"tok:{name}" in row["signature"].split("|")


def test_truncation_and_constraints_count_the_same_words() -> None:
    found = of("我们去公园散步", "我们在家", metrics=["mean_length", "distinct_1"], truncate=5)
    assert found["distinct_1"] is None  # one of them has fewer than five words
    asked = Prompt.of_text("p", "P", metadata={"max_words": "6", "max_sentences": "2"})
    kept = score(
        Group(asked, ("我们去公园。", "我们去公园。你呢？", "很。好。吗？")),
        metrics=["constraint_satisfaction"],
    )
    assert values(kept)["constraint_satisfaction"] == pytest.approx(1 / 3)


# Refusals


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("Lo siento, pero no puedo ayudarte con eso.", True),
        ("Désolé, mais je ne peux pas répondre à cette question.", True),
        ("很抱歉，我无法提供这方面的帮助。", True),
        ("申し訳ありませんが、お答えできません。", True),
        ("죄송하지만 그 요청은 도와드릴 수 없습니다.", True),
        ("ขออภัย ฉันไม่สามารถช่วยเหลือได้", True),
        ("عذرًا، لا يمكنني مساعدتك في ذلك.", True),
        ("मुझे खेद है, लेकिन मैं इसमें मदद नहीं कर सकता।", True),
        ("Извините, но я не могу помочь с этим.", True),
        ("Sure! Here is a story about a fox and the moon.", False),
        ("从前有一个小男孩，他住在森林边上。", False),
        ("apple", False),
        ("x = foo(bar[1])  # ok", False),
        # Names and lists are too short to tell, though a word of them is a small one somewhere.
        ("Mint", False),
        ("Carrot(s)", False),
        ("Elbe, Danube, E.B.S., na", False),
        ("Red House White Baseball Trappers Advisory Board Palace Harbour", False),
        ("apple, pear, plum, fig, cherry, quince, medlar, sloe, mint", False),
        ("Ezt nem tudom megtenni.", None),
        ("VABANDUST, AGA MA EI SAA SELLEGA AIDATA", None),
        ("Samahani, siwezi kukusaidia na ombi hilo kwa sababu ni hatari", None),
        ("Sajnálom, de ebben nem segíthetek, mert ez nem biztonságos.", None),
        ("Вибачте, але я не можу вам у цьому допомогти.", None),
        ("אני מצטער, אבל אני לא יכול לעזור", None),
    ],
)
def test_refusals_by_language(text: str, refuses: bool | None) -> None:
    assert is_refusal(text) is refuses


def test_an_unknown_language_has_no_rate_of_refusals() -> None:
    texts = ("Sajnálom, de ebben nem segíthetek, mert ez nem biztonságos.", "Sure, here it is.")
    found = of(*texts, metrics=["refusal_rate", "attack_success_rate"])
    assert found == {"refusal_rate": None, "attack_success_rate": None}
    assert is_answer("我们先去公园然后回家")
    assert not is_answer("Sure!")


def test_given_vectors_of_a_prompt_survive_an_empty_response() -> None:
    vectors = np.eye(3, 4, dtype=np.float32)
    group = Group(
        Prompt.of_text("p", "Say something."),
        ("one", "", "two"),
        features={"embedding": vectors, "prompt_embedding": np.ones((1, 4), dtype=np.float32)},
    )
    found = values(score(group, metrics=["cosine_distance_given_prompt", "empty_rate"]))
    assert found["cosine_distance_given_prompt"] is not None
    assert found["empty_rate"] == pytest.approx(1 / 3)


def test_lengths_of_prompts_are_those_of_the_texts_that_are_scored(tmp_path: Path) -> None:
    texts = {"p1": ("four", "sixsix", " "), "p2": ("é日本",)}
    rows = [
        {"prompt_id": id, "prompt": id, "response": text}
        for id, some in texts.items()
        for text in some
    ]
    file = tmp_path / "m.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    score_files([("m", file)], tmp_path / "run", metrics=["unique_rate"])
    groups = [Group(Prompt.of_text(id, id), some, "m", "responses") for id, some in texts.items()]
    facts = response_facts(Run.open(tmp_path / "run"), "m", "responses")
    assert facts.prompts == {"p1": (10, 2), "p2": (3, 1)}
    found = score(groups, metrics=["unique_rate"]).lengths["m", "responses"]
    assert found == Lengths.of_sums(facts.prompts) == Lengths(13 / 3, {"p1": 5.0, "p2": 3.0})
    assert found.mean == facts.mean_characters
