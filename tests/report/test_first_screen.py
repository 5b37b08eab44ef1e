"""Five questions of a reader, each answered on the first screen or one press away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.reports import Looks

SCREEN = 800


@pytest.fixture(scope="module")
def phone(module_looks: Looks, fruit_page: Path) -> Any:
    return module_looks.open(fruit_page, width=390, height=844, is_mobile=True, has_touch=True)


def seen(page: Any, selector: str, text: str = "", screens: float = 1.0) -> Any:
    """What is shown of a selector within the first screens; its lower edge too."""
    place = page.locator(selector, has_text=text).first
    box = place.bounding_box()
    assert box is not None, f"{selector} is not shown"
    height = page.evaluate("innerHeight")
    assert box["y"] + box["height"] <= screens * height, f"{selector} ends at {box}"
    return place


def row(page: Any, model: str, screens: float = 1.0) -> Any:
    return seen(page, ".verdicts tbody tr", model, screens)


@pytest.mark.parametrize(("which", "screens"), [("fruit", 1.0), ("phone", 1.5)])
def test_the_five_questions(request: pytest.FixtureRequest, which: str, screens: float) -> None:
    page = request.getfixturevalue(which)
    page.evaluate("scrollTo(0, 0)")
    # Who narrowed?
    assert "narrower" in row(page, "sft", screens).inner_text()
    sides = page.locator(".verdicts .strip").evaluate_all(
        "all => all.map(s => s.querySelector('circle').getBoundingClientRect().right <"
        " s.querySelector('.zero').getBoundingClientRect().left)"
    )
    assert sides == [True, True]  # both left of no difference
    # By how much? Is it sure?
    told = row(page, "sft", screens).inner_text()
    assert "self_bleu +51.8 [+48.0, +55.5] BLEU points" in told
    assert "24 prompts at n = 8 · adjusted p < 0.001" in told
    assert seen(page, "#forest .forest tbody:last-of-type", screens=screens)
    # At what quality?
    assert "worse" in row(page, "tofu", screens).locator(".quality").inner_text()
    # Show me one prompt.
    prompt = seen(page, "#shown-most .asked", screens=screens).inner_text()
    assert prompt.startswith("Name two fruits, number ")
    assert seen(page, "#shown-most .shares >> nth=2", screens=screens).inner_text()
    button = seen(page, "#shown-most .open", screens=screens)
    assert button.inner_text() == "Open the 24 responses"
    button.click()
    panel = page.locator(".panel .prompt .text")
    assert panel.inner_text() == prompt
    assert page.locator(".panel .card").first.is_visible()
    page.evaluate("scrollTo(0, 0)")


def test_a_metric_filters_what_is_below(fresh: Any) -> None:
    metric = fresh.get_by_role("button", name="unique_rate")
    metric.press("Enter")
    assert metric.get_attribute("aria-pressed") == "true"
    assert metric.evaluate("node => node === document.activeElement")
    assert fresh.locator("#table .count").inner_text() == "3 of 18 rows"
    fresh.wait_for_selector("#chart-differences svg >> text=unique_rate minus base, wider →")
    assert "By how much unique_rate changed" in fresh.locator("#shown-most").inner_text()
    metric.press("Enter")
    assert fresh.locator("#table .count").inner_text() == "18 of 18 rows"


def test_a_model_filters_what_is_below(fresh: Any) -> None:
    name = fresh.locator(".verdicts").get_by_role("button", name="tofu")
    name.click()
    assert name.get_attribute("aria-pressed") == "true"
    assert fresh.locator("#table .count").inner_text() == "6 of 18 rows"
    assert fresh.locator("#forest .faint").count() == 5  # the other model's, a metric each


def test_the_prompts_stand_in_the_order_of_what_changed(fresh: Any) -> None:
    first = fresh.locator("#shown-most .asked").inner_text()
    assert fresh.locator(".prompts .name").first.inner_text() == first
    fresh.get_by_role("button", name="Next prompt").click()
    second = fresh.locator("#shown-most .asked").inner_text()
    assert fresh.locator(".prompts .name").nth(1).inner_text() == second != first
    assert fresh.locator("#shown-most [role=status]").inner_text() == "2 of 24"


def test_the_same_answer_has_the_same_colour_in_every_strip(fruit: Any) -> None:
    colours: dict[str, set[str]] = {}
    for share in fruit.locator(".panel .share").all():
        text = share.inner_text().rstrip("0123456789 ")
        if "more" in text or "different" in text:
            assert share.get_attribute("class") == "share"
            continue
        colour = share.evaluate("node => getComputedStyle(node).backgroundColor")
        colours.setdefault(text, set()).add(colour)
    assert len(colours) >= 2
    assert all(len(found) == 1 for found in colours.values())
    assert len(set.union(*colours.values())) == len(colours)
    widths = fruit.locator(".panel .shares").evaluate_all("all => all.map(s => s.clientWidth)")
    assert len(set(widths)) == 1


def test_the_sentence_is_copied_in_three_forms(fresh: Any) -> None:
    fresh.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sentence = fresh.locator(".answer").text_content()
    for form, underscore in (
        ("text", "self_bleu"),
        ("Markdown", "self_bleu"),
        ("LaTeX", "self\\_bleu"),
    ):
        fresh.locator("#copy").get_by_role("button", name=form).click()
        fresh.locator("#copy [role=status]", has_text="Copied.").wait_for()
        copied = fresh.evaluate("navigator.clipboard.readText()")
        assert underscore in copied
        assert (copied == sentence) == (form == "text") or form == "Markdown"
        fresh.locator("#copy [role=status]").evaluate("node => node.replaceChildren()")


def test_without_scripts_the_answer_stands(chromium: Any, fruit_page: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(fruit_page.as_uri())
    assert "narrower" in page.locator(".verdicts").inner_text()
    assert page.locator(".verdicts circle").count() == 2
    assert "need JavaScript" in page.locator("noscript").inner_text()
    context.close()
