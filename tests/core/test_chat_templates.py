"""The chat templates that checkpoints bring: what transformers makes of them, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers.utils import chat_template_utils

from tofu_eval.core import templates
from tofu_eval.core.templates import TemplateLimitError, bound_chat_templates

TURNS = [{"role": "user", "content": "Hi\n"}, {"role": "assistant", "content": "<b>Ho</b>"}]
GOOD = [
    "{% for m in messages %}\n  {{- m.role ~ ': ' ~ m['content'] | trim }}\n{% endfor %}\n",
    "{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% if i == 1 %}"
    "{% break %}{% endif %}{% endfor %}{{ ns.n }}{{ nothing }}{{ messages | tojson(indent=2) }}",
    "{% macro f(m) %}[{{ m.content }}]{% endmacro %}{% for m in messages %}{{ f(m) }}{% endfor %}",
    "{{ '%s-%s' % ('a', 1) }}{{ messages[::-1][0].content.split('<')[1] * 2 }}{{ [1, none] }}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{% set x %}a{{ messages | length }}{% endset %}{{ x }}{{ dict(a=1).items() | list }}",
]
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
BAD = [
    "{{ 'x' * 10**9 }}",
    "{{ 10**100000 }}",
    "{{ 'a' | center(10**9) }}",
    "{{ messages | tojson(indent=10**9) }}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}"
    "{% endfor %}",
    ENDLESS,
]

Render = Callable[..., tuple[list[str], list[list[tuple[int, int]]]]]


@pytest.fixture
def rendering(monkeypatch: pytest.MonkeyPatch) -> Render:
    """transformers' rendering, which forgets what it compiled."""
    monkeypatch.setattr(
        chat_template_utils,
        "ImmutableSandboxedEnvironment",
        chat_template_utils.ImmutableSandboxedEnvironment,
    )
    compile_template = chat_template_utils._cached_compile_jinja_template
    monkeypatch.setattr(chat_template_utils, "_compile_jinja_template", compile_template)

    def render(template: str, **more: Any) -> Any:
        return chat_template_utils.render_jinja_template([TURNS], chat_template=template, **more)

    return render


@pytest.mark.parametrize("template", GOOD)
def test_a_good_template_gives_what_transformers_makes(template: str, rendering: Render) -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    more = {"return_assistant_tokens_mask": "generation" in template}
    chat_template_utils.ImmutableSandboxedEnvironment = ImmutableSandboxedEnvironment
    plain = rendering(template, **more)
    bound_chat_templates()
    assert chat_template_utils.ImmutableSandboxedEnvironment is not ImmutableSandboxedEnvironment
    assert rendering(template, **more) == plain


@pytest.mark.parametrize("template", BAD)
def test_one_without_end_is_refused(
    template: str, rendering: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "STEPS", 2000)
    bound_chat_templates()
    with pytest.raises(TemplateLimitError, match=r"steps|digits|characters or items"):
        rendering(template)
