"""Templates of anybody: within bounds of steps, sizes and time, and each refusal is one clause."""

from __future__ import annotations

import pytest

from tofu_eval.core import templates
from tofu_eval.core.templates import STEPS, TemplateLimitError, render_template

DOUBLED = "{% set x = x ~ x %}" * 40
KEPT = "{% set x %}{{ x }}{{ x }}{% endset %}" * 40


@pytest.mark.parametrize(
    "source",
    [
        "{{ 10**5000 }}",
        "{{ 10**4000 * 10**4000 }}",
        "{{ 'x' * 10**10 }}",
        "{{ [1] * 10**10 }}",
        "{{ 'x'|center(1000000000) }}",
        "{{ 'x'.ljust(10**9) }}",
        "{{ (1).to_bytes(10**10, 'big') }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{w}}'.format(1, w=10**9) }}",
        "{{ ('a' * 10**5)|replace('a', 'a' * 10**5) }}",
        "{{ ('a' * 10**5).replace('a', 'a' * 10**5) }}",
        "{{ ('a\n' * 10**5)|indent(10**5) }}",
        "{{ ('\t' * 10**5).expandtabs(10**6) }}",
        "{{ (['a' * 10**5] * 10**5)|join }}",
        "{{ (['a' * 10**5] * 10**5)|map('upper')|join }}",
        "{{ ''.join(['a' * 10**5] * 10**5) }}",
        "{{ ''.join((['a' * 10**5] * 10**5)|map('upper')) }}",
        "{{ ['a' * 10**5] * 10**5 }}",
        "{{ (['a' * 10**5] * 10**5) ~ 'x' }}",
        "{{ (['a' * 10**5] * 10**5)|string }}",
        "{{ (['a' * 10**5] * 10**5)|tojson }}",
        "{{ '%s' % [['a' * 10**5] * 10**5] }}",
        "{{ '{}'.format(['a' * 10**5] * 10**5) }}",
        "{% set x = [[[[[['abc'] * 99] * 99] * 99] * 99] * 99] %}{{ x }}",
        "{{ [1]|batch(10**9, 0)|list }}",
        "{% set x = 'abc' %}" + DOUBLED,
        "{% set x = 'abc' %}" + KEPT,
        "{% set x = 'a' * 10**6 %}{{ x }}{{ x }}",
        "{% macro f(x) %}{{ x }}{{ x }}{% endmacro %}{{ " + "f(" * 40 + "'a'" + ")" * 40 + " }}",
    ],
)
def test_what_would_grow_is_refused(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "LONGEST", 10**6)
    with pytest.raises(TemplateLimitError, match=r"digits|characters or items|too wide"):
        render_template(source, {})


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in 'x' * 10**7 %}{% endfor %}",
        "{% for a in x %}{% for b in x %}{% for c in x %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) ~ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    ],
)
def test_what_would_not_end_is_refused(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "STEPS", 2000)
    with pytest.raises(TemplateLimitError, match="more than 2,000 steps"):
        render_template(source, {"x": "x" * 1000})


def test_a_slow_template_is_stopped_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "SECONDS", 0.0)
    with pytest.raises(TemplateLimitError, match="longer than 0 s"):
        render_template("{% for a in 'xy' %}{% endfor %}", {})


def test_each_rendering_has_all_its_steps() -> None:
    source = "{% for a in x %}{{ loop.index0 }}{% endfor %}"
    half = "x" * (STEPS // 50)
    for _ in range(3):
        assert render_template(source, {"x": half}).startswith("0123")
    assert render_template("{{ p ~ '!' }} {{ 2**3 }} {{ ['a', 'b']|join('-') }}", {"p": 1}) == (
        "1! 8 a-b"
    )
