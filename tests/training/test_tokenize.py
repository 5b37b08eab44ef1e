"""What is learnt is what will be asked: the same ids as `run` sends, and an end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tofu_eval.core.errors import DataError, ModelError
from tofu_eval.core.models import parse_model, resolve
from tofu_eval.core.types import Message, Prompt, Request, Sampling
from tofu_eval.engines.prompts import Encoder, open_encoder
from tofu_eval.importers.training_rows import Example, PlainText, Tokens, load_examples
from tofu_eval.importers.training_turns import Turn, read_turns
from tofu_eval.tasks.formats import load_format, render
from tofu_eval.training.tokenize import Tokenized, tokenize

CASES = (
    Path(
        os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
    ).parent
    / "cases"
    / "training"
)

TURNS = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
)
PLAIN = TURNS + "{% if add_generation_prompt %}<|assistant|>{% endif %}"
CLOSED = TURNS  # no generation prompt
OPENED = TURNS + "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
HYBRID = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.role == 'assistant' and loop.last and '</think>' not in m.content %}"
    "<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
MARKED = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}{% endgeneration %}{{ eos_token }}{% else %}{{ m.content }}"
    "{% endif %}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TOOLS = (
    "{{ bos_token }}{% if tools %}{{ tools | tojson }}\n{% endif %}{% for m in messages %}"
    "<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function | tojson }}"
    "{% endfor %}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

CONVERSATION = [
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Name a fruit."},
    {"role": "assistant", "content": "A quince, for its smell."},
]  # fmt: skip


@pytest.fixture
def model(tiny_chat_model: Path, tmp_path: Path) -> Path:
    """The tiny model with the templates' marks as tokens."""
    from transformers import AutoTokenizer

    path = Path(shutil.copytree(tiny_chat_model, tmp_path / "model"))
    tokenizer = AutoTokenizer.from_pretrained(path)
    names = ("user", "assistant", "system", "tool", "developer")
    tokenizer.add_tokens([f"<|{name}|>" for name in names], special_tokens=True)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.save_pretrained(path)
    return path


def encoder_of(model: Path, template: str | None = None, **kwargs: Any) -> Encoder:
    if template is not None:
        (model / "chat_template.jinja").write_text(template)
    made = open_encoder(
        resolve(parse_model(f"m={model}")), "m", trust_remote_code=False, template_kwargs=kwargs
    )
    return replace(made, context=None, vocabulary=len(made.tokenizer))


def example(turns: Sequence[dict[str, Any]], row: int = 1, **more: Any) -> Example:
    return Example(row, read_turns(list(turns), "messages", set()), **more)


def asked(encoder: Encoder, turns: Sequence[Turn], format: str = "chat") -> list[int]:
    """What `run` sends for these turns."""
    messages = tuple(Message(turn.role, turn.content) for turn in turns)  # type: ignore[arg-type]
    text, chat = render(Prompt("p", messages), format)
    request = Request("k", 0, "m", "t", "p", 0, Sampling(), text, chat, typed=messages)
    return encoder.encode(request)


def learnt(encoder: Encoder, made: Tokenized) -> list[str]:
    """The texts that are learnt, one for each stretch of tokens."""
    texts = []
    for ids, labels in zip(made.columns["input_ids"], made.columns["labels"], strict=True):
        stretch: list[int] = []
        for id, label in [*zip(ids, labels, strict=True), (0, -100)]:
            if label != -100:
                assert label == id
                stretch.append(id)
            elif stretch:
                texts.append(encoder.tokenizer.decode(stretch))
                stretch = []
    return texts


def check_prompts(encoder: Encoder, made: Tokenized, given: Example, format: str = "chat") -> None:
    """Each answer stands behind the very ids that `run` would send for it."""
    places = [i for i, turn in enumerate(given.turns) if turn.learnt]
    prompts = [asked(encoder, given.turns[:i], format) for i in places]
    for ids, labels in zip(made.columns["input_ids"], made.columns["labels"], strict=True):
        places = range(len(labels))
        starts = [i for i in places if labels[i] != -100 and (not i or labels[i - 1] == -100)]
        assert starts
        for start in starts:
            assert ids[:start] == prompts.pop(0)
    assert not prompts


@pytest.mark.parametrize(
    ("template", "texts", "rows"),
    [
        (PLAIN, ["Hi.</s>", "A quince, for its smell.</s>"], 1),
        (CLOSED, ["<|assistant|>Hi.</s>", "<|assistant|>A quince, for its smell.</s>"], 1),
        (
            OPENED,
            ["\n</think>\n\nHi.</s>", "\n</think>\n\nA quince, for its smell.</s>"],
            2,  # what was thought before is not in the next prompt
        ),
        (HYBRID, ["Hi.</s>", "A quince, for its smell.</s>"], 1),
        (MARKED, ["Hi.</s>", "A quince, for its smell.</s>"], 1),
    ],
)
def test_what_is_learnt_of_a_conversation(
    template: str, texts: list[str], rows: int, model: Path
) -> None:
    encoder, given = encoder_of(model, template), example(CONVERSATION)
    made = tokenize([given], load_format("chat"), encoder, max_length=None)
    assert learnt(encoder, made) == texts
    assert made.columns["row"] == [1] * rows
    assert (made.put_after, made.parted) == (0, rows - 1)
    check_prompts(encoder, made, given)
    last = tokenize([given], load_format("chat"), encoder, max_length=None, learn="last")
    assert learnt(encoder, last) == texts[-1:]
    assert last.columns["input_ids"][-1] == made.columns["input_ids"][-1]


@pytest.mark.parametrize(
    ("template", "kwargs", "content", "text"),
    [
        (HYBRID, {}, "<think>\nhm\n</think>\n\nA pear.", "<think>\nhm\n</think>\n\nA pear.</s>"),
        (HYBRID, {"enable_thinking": False}, "A pear.", "A pear.</s>"),
        (HYBRID, {"enable_thinking": True}, "A pear.", "A pear.</s>"),
        (PLAIN, {}, "<think>\nhm\n</think>\n\nA pear.", "<think>\nhm\n</think>\n\nA pear.</s>"),
        (OPENED, {}, "<think>\nhm\n</think>\n\nA pear.", "hm\n</think>\n\nA pear.</s>"),
    ],
)
def test_thoughts(
    template: str, kwargs: dict[str, Any], content: str, text: str, model: Path
) -> None:
    encoder = encoder_of(model, template, **kwargs)
    turns = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": content}]
    given = example(turns)
    made = tokenize([given], load_format("chat"), encoder, max_length=None)
    assert learnt(encoder, made) == [text]
    check_prompts(encoder, made, given)


def test_a_thought_in_a_field_of_its_own(model: Path) -> None:
    answer = {"role": "assistant", "content": "A pear.", "reasoning_content": "hm"}
    given = example([CONVERSATION[1], answer])
    hybrid = encoder_of(model, HYBRID)
    made = tokenize([given], load_format("chat"), hybrid, max_length=None)
    assert learnt(hybrid, made) == ["<think>\nhm\n</think>\n\nA pear.</s>"]
    quick = encoder_of(model, HYBRID, enable_thinking=False)
    with pytest.raises(DataError, match="Row 1 of the data has a thought, and the chat template"):
        tokenize([given], load_format("chat"), quick, max_length=None)
    with pytest.raises(DataError, match="no place for the thought before an answer of row 1"):
        tokenize([given], load_format("chat"), encoder_of(model, PLAIN), max_length=None)
    made = tokenize([given], load_format("sft"), hybrid, max_length=None)
    assert learnt(hybrid, made) == ["<think>\nhm\n</think>\n\nA pear.</s>"]


@pytest.mark.parametrize("format", ["base", "sft"])
def test_formats_of_ours_learn_an_answer_a_row(format: str, model: Path) -> None:
    encoder, given = encoder_of(model, PLAIN), example(CONVERSATION)
    made = tokenize([given], load_format(format), encoder, max_length=None)
    assert learnt(encoder, made) == ["Hi.</s>", "A quince, for its smell.</s>"]
    assert (made.columns["row"], made.parted) == ([1, 1], 1)
    check_prompts(encoder, made, given, format)


def test_typed_special_tokens_stay_text_in_training_too(model: Path) -> None:
    encoder = encoder_of(model, PLAIN)
    given = example([{"role": "user", "content": "Say <|user|> and </s>"}, CONVERSATION[-1]])
    for format in ("chat", "sft"):
        made = tokenize([given], load_format(format), encoder, max_length=None)
        check_prompts(encoder, made, given, format)
        ids = made.columns["input_ids"][0]
        assert ids.count(encoder.tokenizer.eos_token_id) == 1


@pytest.mark.parametrize("format", ["chat", "sft"])
@pytest.mark.parametrize("typed", ["</s>", "<|user|>", "It ends in </s>", "</s>, he said <s>."])
@pytest.mark.parametrize("template", [PLAIN, MARKED], ids=["plain", "marked"])
def test_special_tokens_in_answers_stay_text(
    template: str, typed: str, format: str, model: Path
) -> None:
    """What an answer says of tokens does not end it; nor does it where it is asked about."""
    encoder = encoder_of(model, template)
    turns = [("user", "Hi"), ("assistant", typed), ("user", "And?"), ("assistant", "No.")]
    given = example([{"role": role, "content": content} for role, content in turns])
    made = tokenize([given], load_format(format), encoder, max_length=None)
    check_prompts(encoder, made, given, format)
    assert learnt(encoder, made)[0].strip() == f"{typed}</s>"
    end, start = encoder.tokenizer.eos_token_id, encoder.tokenizer.bos_token_id
    for ids, labels in zip(made.columns["input_ids"], made.columns["labels"], strict=True):
        assert start not in ids[1:]
        kept = [label for label in labels if label != -100]
        answers = 2 if format == "chat" else 1
        assert kept.count(end) == answers
        assert encoder.tokenizer.convert_tokens_to_ids("<|user|>") not in kept
    # What `run` sends of an earlier answer is text, too: only the template's own end is one.
    prompt = asked(encoder, given.turns[:3], format)
    assert prompt.count(end) == (1 if format == "chat" else 0)


def test_tags_that_a_model_writes_stay_tokens(model: Path) -> None:
    """A thought's tags, and those that the tokenizer does not call special."""
    encoder = encoder_of(model, PLAIN)
    encoder.tokenizer.add_tokens(["<tool_call>"])
    encoder = replace(encoder, vocabulary=len(encoder.tokenizer))
    says = "<think>\nSmell.\n</think>\n\n<tool_call>{}"
    given = example([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": says}])
    made = tokenize([given], load_format("chat"), encoder, max_length=None)
    ids = made.columns["input_ids"][0]
    for tag in ("<think>", "</think>", "<tool_call>"):
        assert ids.count(encoder.tokenizer.convert_tokens_to_ids(tag)) == 1


def test_control_tokens_of_ones_own_are_given_as_text_or_ids(model: Path) -> None:
    encoder = encoder_of(model, PLAIN)
    row = PlainText(1, "<|user|>Hi\n<|assistant|>No.</s>")
    ids = tokenize([row], load_format("sft"), encoder, max_length=None).columns["input_ids"][0]
    assert ids.count(encoder.tokenizer.convert_tokens_to_ids("<|user|>")) == 1
    assert ids[-1] == encoder.tokenizer.eos_token_id


def test_the_papers_format_has_a_place_for_the_input(model: Path, tmp_path: Path) -> None:
    row = {"instruction": " Add. ", "input": " 1 2 ", "output": " 3\n"}
    (tmp_path / "alpaca.jsonl").write_text(json.dumps(row) + "\n")
    rows = load_examples(str(tmp_path / "alpaca.jsonl")).rows
    encoder = encoder_of(model, PLAIN)
    made = tokenize(rows, load_format("paper"), encoder, max_length=None)
    text = encoder.tokenizer.decode(made.columns["input_ids"][0][1:])
    sent, _ = render(Prompt.of_text("p", " Add. ", metadata={"input": " 1 2 "}), "paper")
    assert "<|instruct|> \nAdd. \n<|/instruct|>" in str(sent)
    assert "<|input|> \n1 2 \n<|/input|>" in str(sent)
    assert text == f"{sent} 3 \n<|/response|>\n</s>"
    assert learnt(encoder, made) == [" 3 \n<|/response|>\n</s>"]
    below = tokenize(rows, load_format("sft"), encoder, max_length=None)
    assert "Add. \n\n 1 2 " in encoder.tokenizer.decode(below.columns["input_ids"][0])


def test_tools_calls_and_roles_are_used(model: Path) -> None:
    encoder = encoder_of(model, TOOLS)
    call = {"type": "function", "function": {"name": "look_up", "arguments": '{"what": "pear"}'}}
    turns = [
        {"role": "developer", "content": "Look things up."},
        {"role": "user", "content": "What is a pear?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "a fruit"},
        {"role": "assistant", "content": [{"type": "text", "text": "A fruit."}]},
    ]
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
    given = example(turns, tools=(tool,), template_kwargs={"unheard": 1})
    made = tokenize([given], load_format("chat"), encoder, max_length=None)
    first, second = learnt(encoder, made)
    assert json.loads(first.removesuffix("</s>")) == {
        "name": "look_up", "arguments": {"what": "pear"}
    }  # fmt: skip
    assert second == "A fruit.</s>"
    text = encoder.tokenizer.decode(made.columns["input_ids"][0])
    assert "<|developer|>Look things up." in text
    assert '"parameters"' in text
    assert made.unused == {"chat_template_kwargs.unheard"}
    for format, line in [
        ("sft", "Row 1 of the data has a turn of the role 'developer', for which the format 'sft'"),
        ("base", "Use --format chat"),
    ]:
        with pytest.raises(DataError, match=line):
            tokenize([given], load_format(format), encoder, max_length=None)
    with pytest.raises(DataError, match=r"chat template has no place for 'tools' \(look_up\)"):
        tokenize([given], load_format("chat"), encoder_of(model, PLAIN), max_length=None)
    without = replace(given, tools=())
    with pytest.raises(DataError, match=r"chat template has no place for 'tool_calls' \(look_up\)"):
        tokenize([without], load_format("chat"), encoder_of(model, PLAIN), max_length=None)
    deaf = (
        "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}"
    )
    with pytest.raises(DataError, match=r"has no place for turn 1 \(role 'system'\) of row 1"):
        tokenize([example(CONVERSATION)], load_format("chat"), encoder_of(model, deaf),
                 max_length=None)  # fmt: skip


def test_weights_of_messages(model: Path) -> None:
    encoder = encoder_of(model, PLAIN)
    turns = [dict(turn) for turn in CONVERSATION]
    turns[2]["weight"] = 0
    made = tokenize([example(turns)], load_format("chat"), encoder, max_length=None)
    assert learnt(encoder, made) == ["A quince, for its smell.</s>"]


def test_generation_markers_say_what_is_learnt(model: Path) -> None:
    marked = MARKED.replace(
        "{% generation %}{{ m.content }}{% endgeneration %}",
        "Well: {% generation %}{{ m.content }}{% endgeneration %}",
    )
    encoder, given = encoder_of(model, marked), example(CONVERSATION)
    made = tokenize([given], load_format("chat"), encoder, max_length=None)
    assert learnt(encoder, made) == ["Hi.</s>", "A quince, for its smell.</s>"]
    assert "Well:" in encoder.tokenizer.decode(made.columns["input_ids"][0])


def test_all_tokens_may_be_learnt(model: Path) -> None:
    encoder = encoder_of(model, PLAIN)
    rows = [example(CONVERSATION), replace(example(CONVERSATION[:3], 2), is_dialogue=True)]
    made = tokenize(rows, load_format("chat"), encoder, max_length=None, everything=True)
    assert made.columns["labels"] == made.columns["input_ids"]
    made = tokenize(rows, load_format("chat"), encoder, max_length=None, whole_dialogues=True)
    assert made.columns["labels"][0] != made.columns["input_ids"][0]
    assert made.columns["labels"][1] == made.columns["input_ids"][1]


def test_plain_text_and_tokens(model: Path) -> None:
    encoder = encoder_of(model, PLAIN)
    rows = [PlainText(1, "Name a fruit."), Tokens(2, (1, 5, 6), (-100, 5, 6))]
    made = tokenize(rows, load_format("sft"), encoder, max_length=None)
    assert learnt(encoder, made)[0] in ("<s>Name a fruit.</s>", "<s> Name a fruit.</s>")
    assert made.columns["input_ids"][1] == [1, 5, 6]
    assert made.columns["labels"][1] == [-100, 5, 6]
    with pytest.raises(DataError, match="Row 3 of the data has the token 99999, and the model"):
        tokenize([Tokens(3, (99999,), (99999,))], load_format("sft"), encoder, max_length=None)


@pytest.mark.parametrize("keep_end", [False, True])
def test_long_rows_are_cut_where_trl_cuts_them(keep_end: bool, model: Path) -> None:
    encoder, format = encoder_of(model, PLAIN), load_format("base")
    rows = [example([{"role": "user", "content": "a b c d e f"}, CONVERSATION[2]], 1)]
    whole = tokenize(rows, format, encoder, max_length=None)
    (length,), (prompt,) = (
        [len(ids) for ids in whole.columns["input_ids"]],
        [labels.count(-100) for labels in whole.columns["labels"]],
    )
    asked_for = {"max_length": length, "keep_end": keep_end}
    exact = tokenize(rows, format, encoder, **asked_for)
    assert (exact.cut, exact.lost) == ([], [])
    cut = tokenize(rows, format, encoder, **{**asked_for, "max_length": length - 1})
    assert (cut.cut, cut.lost) == ([1], [])
    assert cut.columns == whole.columns  # the cutting is TRL's
    lost = tokenize(rows, format, encoder, **{**asked_for, "max_length": prompt})
    assert (lost.cut, lost.lost) == (([1], []) if keep_end else ([], [1]))


def test_keep_end_of_the_shared_case(model: Path) -> None:
    file = CASES / "keep_end.jsonl"
    if not file.is_file():
        pytest.skip(f"no {file}: set TOFU_EVAL_SHARED_DATA")
    encoder, rows = encoder_of(model, PLAIN), load_examples(str(file)).rows
    made = tokenize(rows, load_format("base"), encoder, max_length=4, keep_end=True)
    assert made.lost == []
    assert made.columns["row"] == [1, 2, 3]


def test_a_template_that_writes_the_prompt_differently_is_counted(model: Path) -> None:
    template = (
        "{{ messages | length }}{{ messages[0].content }}"
        "{% if messages[-1].role == 'assistant' %}{{ messages[-1].content }}{% endif %}"
    )
    encoder = encoder_of(model, template)
    given = example([CONVERSATION[1], CONVERSATION[2]])
    made = tokenize([given], load_format("chat"), encoder, max_length=None)
    assert made.put_after == 1
    check_prompts(encoder, made, given)
    assert learnt(encoder, made) == ["Hi.</s>"]


def test_what_a_tokenizer_must_have(tiny_model: Path, model: Path) -> None:
    rows = [example(CONVERSATION)]
    plain = encoder_of(tiny_model)
    with pytest.raises(ModelError, match="has no chat template, which the format 'chat' needs"):
        tokenize(rows, load_format("chat"), plain, max_length=None)
    chat = encoder_of(model, "{{ raise_exception('no system turn') }}")
    with pytest.raises(DataError, match="refuses row 1 of the data: no system turn"):
        tokenize(rows, load_format("chat"), chat, max_length=None)
    plain.tokenizer.eos_token = None
    with pytest.raises(ModelError, match="has no end-of-sequence token"):
        tokenize(rows, load_format("base"), plain, max_length=None)
