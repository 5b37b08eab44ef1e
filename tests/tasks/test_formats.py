"""The three prompt formats, and templates that must not reach beyond the prompt."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import Message, Prompt
from tofu_eval.tasks import Format, load_format, render

FRUIT = Prompt.of_text("fruit", "Name a fruit:")
TALK = Prompt(
    "talk",
    (
        Message("system", "Be brief."),
        Message("user", "Hello."),
        Message("assistant", "Hi."),
        Message("user", "Bye."),
    ),
)


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def write(source: str | bytes) -> str:
        data = source.encode() if isinstance(source, str) else source
        Path("t.jinja").write_bytes(data)
        return "t.jinja"

    return write


def test_base_is_the_text_as_it_stands() -> None:
    assert render(FRUIT, "base") == ("Name a fruit:", None)
    assert render(TALK, "base") == ("Be brief.\n\nHello.\n\nHi.\n\nBye.", None)


def test_chat_is_left_to_the_tokenizer() -> None:
    assert render(TALK, "chat") == (None, TALK.messages)


def test_sft_puts_delimiters_around_each_message() -> None:
    assert render(FRUIT, "sft") == ("[request]\nName a fruit:\n\n[answer]\n", None)
    assert render(TALK, load_format("sft")) == (
        "[setting]\nBe brief.\n\n[request]\nHello.\n\n[answer]\nHi.\n\n[request]\nBye.\n\n"
        "[answer]\n",
        None,
    )


def test_a_file_replaces_the_template(template) -> None:
    made = load_format(template("Q: {{ prompt }}\nA:"))
    assert (made.name, made.file) == ("sft", "t.jinja")
    assert render(FRUIT, made) == ("Q: Name a fruit:\nA:", None)
    assert render(FRUIT, "t.jinja") == ("Q: Name a fruit:\nA:", None)


def test_a_template_keeps_its_last_line_end_and_ignores_windows(template) -> None:
    text, _ = render(FRUIT, load_format(template(b"\xef\xbb\xbf{{ prompt }}\r\nA:\r\n")))
    assert text == "Name a fruit:\nA:\n"


def test_block_lines_leave_no_empty_lines(template) -> None:
    source = "{% for message in messages %}\n  {% if true %}\n{{ message.role }}\n  {% endif %}\n"
    text, _ = render(TALK, load_format(template(source + "{% endfor %}\n")))
    assert text == "system\nuser\nassistant\nuser\n"


def test_a_prompt_is_never_a_template() -> None:
    prompt = Prompt.of_text("x", "{{ 7 * 7 }} {% raw %} <b>")
    text, _ = render(prompt, "sft")
    assert text is not None
    assert "{{ 7 * 7 }} {% raw %} <b>" in text


def test_digests_tell_formats_apart_and_not_their_files(template) -> None:
    default = load_format("sft")
    assert default.template is not None
    copy = load_format(template(default.template))
    assert copy.digest == default.digest
    digests = {load_format(name).digest for name in ("base", "sft", "chat")}
    digests.add(load_format(template("{{ prompt }}")).digest)
    assert len(digests) == 4


def test_a_format_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_format("base").name = "chat"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "bse",
            "Unknown prompt format 'bse'. Did you mean 'base'? "
            "Give base, sft, chat, paper, paper-math or the path of a .jinja file.",
        ),
        (
            "nope.jinja",
            "nope.jinja: there is no such file. Give base, sft, chat, paper, paper-math or a "
            ".jinja file.",
        ),
        (
            f"{'a' * 300}.jinja",
            f"{'a' * 300}.jinja: cannot be read: File name too long. "
            "Give base, sft, chat, paper, paper-math or a .jinja file.",
        ),
    ],
)
def test_an_unknown_format_is_one_line(value: str, message: str) -> None:
    for call in (load_format, lambda value: render(FRUIT, value)):
        with pytest.raises(ConfigError) as caught:
            call(value)
        assert str(caught.value) == message


AT = "at prompt 'one message': "
UNSAFE = "of 'str' object is unsafe."
FAULTS = [
    ("a\n{{ promt }}", "2: template: unknown variable 'promt'. Did you mean 'prompt'? "
                       "Known: prompt, messages, input, problem"),
    ("hello\n", "1: template: it does not use the prompt. Known: prompt, messages, input, problem"),
    ("", "1: template: it does not use the prompt. Known: prompt, messages, input, problem"),
    ("{{ prompt }}\n{% if %}", "2: template: Expected an expression, got 'end of statement block'"),
    ("{{ prompt }}\n{% for m in messages %}", "2: template: Unexpected end of template. Jinja was "
     "looking for the following tags: 'endfor' or 'else'. The innermost block that needs to be "
     "closed is 'for'."),
    ("{{ prompt | shout }}", "1: template: No filter named 'shout'."),
    ("\n\n{{ messages[0].rol }}", f"3: template: {AT}UndefinedError: 'dict object' has no "
                                  "attribute 'rol'"),
    ("{{ prompt + 3 }}", f"1: template: {AT}TypeError: can only concatenate str "
                         '(not "int") to str'),
    ("{{ prompt }}{% include 'x' %}", f"1: template: {AT}TypeError: no loader for this environment "
                                      "specified"),
    # Reaching for Python.
    ("{{ prompt }}\n{{ ''.__class__.__mro__ }}", f"2: template: {AT}SecurityError: access to "
                                                 f"attribute '__class__' {UNSAFE}"),
    ("{{ prompt.__class__ }}", f"1: template: {AT}SecurityError: access to attribute '__class__' "
                               f"{UNSAFE}"),
    ("{{ prompt | attr('__class__') }}", f"1: template: {AT}SecurityError: access to attribute "
                                         f"'__class__' {UNSAFE}"),
    ("{{ '{0.__class__}'.format(prompt) }}", f"1: template: {AT}SecurityError: access to attribute "
                                             f"'__class__' {UNSAFE}"),
    ("{{ messages.append(1) }}", f"1: template: {AT}SecurityError: access to attribute 'append' "
                                 "of 'list' object is unsafe."),
    # What would be drawn without a seed, and Jinja's globals.
    ("{{ prompt }}{{ [1, 2] | random }}", "1: template: No filter named 'random'."),
    ("{{ prompt }}{{ lipsum() }}", "1: template: unknown variable 'lipsum'. "
                                   "Known: prompt, messages, input, problem"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "message"), FAULTS, ids=[source for source, _ in FAULTS])
def test_a_bad_template_is_refused_before_a_run(template, source: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_format(template(source))
    assert str(caught.value) == f"t.jinja:{message}"


def test_a_template_that_fails_on_one_kind_of_conversation_is_refused(template) -> None:
    path = template("{{ prompt }}\n{% if messages | length > 1 %}\n{{ prompt.foo }}\n{% endif %}")
    with pytest.raises(ConfigError, match=r"^t\.jinja:3: template: at prompt 'a conversation': "):
        load_format(path)


def test_a_template_that_fails_on_one_prompt_names_it() -> None:
    made = Format("sft", "{{ prompt }}\n{{ (9 / (prompt | length - 13)) }}", "mine.jinja")
    with pytest.raises(ConfigError) as caught:
        render(FRUIT, made)
    assert str(caught.value) == (
        "mine.jinja:2: template: at prompt 'fruit': ZeroDivisionError: division by zero"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
