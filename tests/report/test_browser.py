"""The page in a real browser: it works, it stays quiet, it obeys nothing that a model wrote."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.reports import FRUIT, HOSTILE, Look, Looks, score, written

from tofu_eval.report.themes import THEMES
from tofu_eval.run.store import Run


def field(page: Any, section: str, label: str) -> Any:
    """The control that a visible label belongs to."""
    return page.locator(f"#{section} label:has(> span:text-is('{label}')) :is(select, input)")


TEXTS = "document.querySelector('#responses .columns').innerText"


def column(page: Any, number: int) -> list[str]:
    return page.locator(f"#table tbody tr > :nth-child({number})").all_inner_texts()


def test_it_loads_and_draws_every_chart(fruit: Any) -> None:
    assert fruit.locator(".answer").text_content().startswith("Compared with base, sft is ")
    assert fruit.locator("#charts figure .chart svg").count() == 6
    assert fruit.locator("#charts .folded").is_hidden()
    labels = fruit.locator("#charts .chart").evaluate_all("all => all.map(c => c.ariaLabel)")
    assert all("The table below it has the numbers." in label for label in labels)
    for figure in fruit.locator("#charts figure").all():
        figure.locator("summary").click()
        figure.locator("tbody tr").nth(1).wait_for()
        figure.locator("summary").click()


def test_the_table_sorts_and_filters(fresh: Any) -> None:
    field(fresh, "table", "Model").select_option("sft")
    field(fresh, "table", "Metric").select_option("unique_rate")
    assert column(fresh, 3) == ["sft"]
    field(fresh, "table", "Model").select_option("")
    assert column(fresh, 3) == ["base", "sft", "tofu"]
    assert fresh.locator("#table .count").inner_text() == "3 of 18 rows"
    sort = fresh.get_by_role("button", name="mean")
    sort.click()
    assert column(fresh, 3)[0] == "sft"
    head = fresh.locator("#table th", has_text="mean")
    assert head.get_attribute("aria-sort") == "ascending"
    sort.click()
    assert column(fresh, 3)[-1] == "sft"
    assert head.get_attribute("aria-sort") == "descending"
    field(fresh, "table", "clear differences only").check()
    assert "sft" in column(fresh, 3)
    assert "base" not in column(fresh, 3)
    assert set(column(fresh, 7)) <= {"narrower", "wider", "worse", "better", "higher", "lower"}


def test_the_charts_follow_the_choice(fresh: Any) -> None:
    assert "self_bleu minus base" in fresh.locator("#chart-differences svg").inner_html()
    figure = fresh.locator("figure", has=fresh.locator("#chart-differences"))
    figure.locator("summary").click()
    before = figure.locator("tbody").inner_text()
    figure.locator("summary").click()
    field(fresh, "charts", "Metric").select_option("distinct_1")
    fresh.wait_for_selector("#chart-differences svg >> text=distinct_1 minus base")
    fresh.wait_for_selector("#chart-prompts svg >> text=distinct_1 minus base")
    figure.locator("details > summary").click()
    figure.locator("tbody tr").nth(1).wait_for()
    assert figure.locator("tbody").inner_text() != before


def test_a_point_leads_to_its_responses(fresh: Any) -> None:
    fresh.locator("#chart-prompts").scroll_into_view_if_needed()
    point = fresh.locator("#chart-prompts .mark-symbol path[transform]").nth(4)
    point.hover(force=True)
    assert "Name two fruits" in fresh.locator("#tooltip:not([hidden])").inner_text()
    point.click(force=True)
    fresh.locator(".prompts [aria-current]:focus").wait_for()
    # The same for a keyboard: the table behind the chart.
    figure = fresh.locator("figure", has=fresh.locator("#chart-prompts"))
    figure.locator("summary").press("Enter")
    figure.get_by_role("button", name="Name two fruits, number 7.").first.press("Enter")
    assert fresh.locator(".panel h3").inner_text() == "Prompt 8 of 24"


def run_of(page: Path, model: str) -> list[dict[str, Any]]:
    """The responses of a model in the run behind a page."""
    return Run.open(page.with_name("fruit")).responses(model, "responses").to_pylist()


def test_the_explorer_finds_a_response(fresh: Any, fruit_page: Path) -> None:
    section = fresh.locator("#responses")
    assert section.locator(".column").count() == 3
    search = section.get_by_label("Search the responses")
    rows = [row for m in ("base", "sft", "tofu") for row in run_of(fruit_page, m)]
    words = "pear and plum"
    found = [row for row in rows if words in row["text"]]
    assert 0 < len({row["prompt_id"] for row in found}) < 24
    search.fill(words.upper())
    fresh.wait_for_selector("#responses mark")
    assert set(section.locator("mark").all_inner_texts()) == {words}
    prompts = {row["prompt_id"] for row in found}
    expected = f"{len(found)} responses to {len(prompts)} of 24 prompts match"
    assert section.locator(".count").inner_text() == expected
    assert section.locator(".prompts li").count() == len(prompts)
    search.fill("no such words")
    section.get_by_text("Nothing matches.").wait_for()
    search.fill("")
    section.get_by_text("24 prompts", exact=True).wait_for()


def test_duplicates_and_classes_are_marked(fresh: Any) -> None:
    sft = fresh.locator(".column").nth(1)
    assert "different of 8" in sft.locator("h4").inner_text()
    assert sft.locator(".card .class").first.inner_text().startswith("A ×")
    assert sft.locator(".card .copies").first.inner_text().startswith("same text")
    merged = sft.locator(".card").count()
    field(fresh, "responses", "Order").select_option("samples")
    assert sft.locator(".card").count() == 8 > merged
    assert sft.get_by_text("same text as #").count() > 0
    fresh.locator(".prompts button").nth(5).click()
    colours = fresh.locator(".column .card").evaluate_all(
        "all => all.map(card => getComputedStyle(card).borderLeftColor)"
    )
    assert len(set(colours)) >= 2


def test_the_keyboard_is_enough(fresh: Any) -> None:
    fresh.keyboard.press("Tab")
    assert fresh.evaluate("document.activeElement.textContent") == "Skip to the report"
    fresh.get_by_role("button", name="p (adjusted)").focus()
    fresh.keyboard.press("Enter")
    assert fresh.locator("th[aria-sort=ascending]").count() == 1
    first = fresh.locator(".prompts button").first
    first.focus()
    fresh.keyboard.press("ArrowDown")
    fresh.keyboard.press("Enter")
    second = fresh.locator(".prompts .name").nth(1).inner_text()
    assert fresh.locator(".panel .prompt .text").inner_text() == second
    # Whatever scrolls can be reached, and nothing is without a name.
    assert fresh.locator(".scroll:not([tabindex]), .columns:not([tabindex])").count() == 0
    nameless = fresh.locator("button, select, input").evaluate_all(
        "all => all.filter(c => !(c.ariaLabel || c.textContent.trim() || c.labels?.length)).length"
    )
    assert nameless == 0


@pytest.fixture(scope="module")
def phone(module_looks: Looks, fruit_page: Path) -> Any:
    return module_looks.open(fruit_page, width=390, height=844, is_mobile=True, has_touch=True)


def test_it_fits_a_phone(phone: Any, module_looks: Looks) -> None:
    page = phone
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("figure summary").first.click()
    page.locator(".panel .card").first.scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    widths = page.locator("#charts svg").evaluate_all("all => all.map(s => s.clientWidth)")
    assert all(200 < width <= 390 for width in widths)
    assert module_looks.complaints == []


CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const bytes = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (rgb) => {
    const [r, g, b] = [...rgb].slice(0, 3).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const rgb = bytes(getComputedStyle(at).backgroundColor);
      if (rgb[3] === 255) return rgb;
    }
    return [255, 255, 255];
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || node.closest('script, style, noscript, [hidden], :disabled')) continue;
    const style = getComputedStyle(node);
    const colour = node.closest('svg') ? style.fill : style.color;
    if (colour === 'none' || !node.getClientRects().length) continue;
    const [a, b] = [light(bytes(colour)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${node.className} ${text.data.slice(0, 40)}`);
  }
  return bad;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(fresh: Any, scheme: str) -> None:
    fresh.emulate_media(color_scheme=scheme)
    ink = THEMES[scheme]["ink"]
    fresh.wait_for_selector(f"#chart-lengths svg text[fill='{ink}']")
    fresh.locator("#forest button").first.click()
    fresh.get_by_label("Search the responses").fill("apple")
    fresh.wait_for_selector("#responses mark")
    contrasts = fresh.evaluate(CONTRASTS)
    fresh.emulate_media(color_scheme="light")
    assert contrasts == []


PEOPLE = """(ink) => {
  const shapes = [...document.querySelectorAll('#charts svg path, #charts svg line')];
  return shapes.filter((s) => [s.getAttribute('stroke'), s.getAttribute('fill')].includes(ink))
    .filter((s) => !s.closest('.role-axis, .role-legend'))
    .map((s) => [s.closest('figure').id || s.closest('.chart').id, s.getBoundingClientRect()])
    .filter(([, box]) => box.width + box.height > 5).map(([id]) => id);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_line_of_people_is_drawn_in_the_ink_of_the_page(
    look: Look, tmp_path_factory: pytest.TempPathFactory, scheme: str
) -> None:
    page = look(_people_page(tmp_path_factory.getbasetemp() / "people"), color_scheme=scheme)
    ink, other = (
        THEMES[name]["ink"] for name in (scheme, "dark" if scheme == "light" else "light")
    )
    page.wait_for_selector("#chart-means svg")
    drawn = page.evaluate(PEOPLE, ink)
    assert len(drawn) >= 2, drawn  # a band and a line at least
    assert page.evaluate(PEOPLE, other) == []
    assert page.evaluate(CONTRASTS) == []
    assert "where answers of people stand" in page.locator("#charts").inner_text()


def _people_page(folder: Path) -> Path:
    """The report of a run with answers of people; made once."""
    if not folder.exists():
        folder.mkdir()
        people = folder / "people.jsonl"
        asked = [f"Name two fruits, number {i}." for i in range(12)]
        people.write_text(
            "\n".join(
                json.dumps({"prompt": p, "responses": [f"{f} and {FRUIT[i % 5]}" for f in FRUIT]})
                for i, p in enumerate(asked)
            )
        )
        rows = [
            {
                "prompt": p,
                "model": m,
                "responses": [f"{FRUIT[j % w]} and {p[-3]}" for j in range(8)],
            }
            for m, w in (("base", 8), ("sft", 2))
            for p in asked
        ]
        score(folder / "run", rows, "--human", str(people))
    return written(folder / "run")


def test_the_switch_wins_over_the_system(fresh: Any) -> None:
    page = fresh
    page.emulate_media(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_label("Theme").select_option("light")
    light = page.evaluate(ground)
    assert light != dark
    page.wait_for_selector("#chart-means svg text[fill='#44505c']")
    page.get_by_label("Theme").select_option("")
    assert page.evaluate(ground) == dark
    page.emulate_media(color_scheme="light")


def test_nothing_that_a_model_wrote_runs(look: Look, hostile_page: Path) -> None:
    page = look(hostile_page)
    field(page, "responses", "Order").select_option("samples")
    assert page.evaluate("typeof window.owned") == "undefined"
    made = "#main img, #main a[href^='javascript'], #main svg[onload], #main style, #main script"
    assert page.locator(made).count() == 0
    shown = page.evaluate(TEXTS)
    for text in HOSTILE[:6]:
        assert text in shown
    # Overrides and controls are shown by their number, and turn nothing around.
    assert "right U+202Egnp.exe" in shown
    assert "two lines\nof Windows, a tag U+E0041" in shown
    assert "nul U+0000 bell U+0007 escape U+001B[31mred" in shown
    assert not set("\u202e\u2066\u2069\u200b\x00\x07\x1b") & set(
        page.evaluate("document.body.innerText")
    )
    isolated = page.locator(".card .text").evaluate_all(
        "all => all.every(t => t.dir === 'auto' && getComputedStyle(t).unicodeBidi === 'isolate')"
    )
    assert isolated
    # A megabyte in one line: cut, said so, and within its column.
    page.locator(".card", has_text="mmmm").first.get_by_role("button", name="Show all").click()
    assert "Cut: the first 20,000 of 1,000,000 characters." in page.evaluate(TEXTS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_an_injected_script_is_refused(chromium: Any, fruit_page: Path, tmp_path: Path) -> None:
    """The policy itself: what gets into the file by another way does not run either."""
    evil = tmp_path / "evil.html"
    handler = '<img src="x" onerror="window.owned = 1"><script>window.owned = 2</script>'
    text = fruit_page.read_text("utf-8")
    evil.write_text(text.replace("<footer>", f"{handler}<footer>"), "utf-8")
    complaints: list[str] = []
    context = chromium.new_context()
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text))
    page.goto(evil.as_uri())
    page.wait_for_selector("html[data-ready=true]")
    assert page.evaluate("typeof window.owned") == "undefined"
    assert any("Content Security Policy" in said for said in complaints)
    with pytest.raises(Exception, match=r"Trusted(HTML|Script)|makes no HTML"):
        page.evaluate("() => { document.body.innerHTML = '<b>x</b>' }")
    context.close()


@pytest.mark.slow
def test_ten_thousand_responses_stay_usable(
    look: Look, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [
        {
            "id": f"p{i}",
            "prompt": f"Prompt {i}: {FRUIT[i % 8]}?",
            "model": model,
            "responses": [
                f"{FRUIT[(i * j + len(model)) % 8]} {i} {j} " + "and so it goes on, " * 20
                for j in range(10)
            ],
            "references": [FRUIT[i % 8]],
        }
        for model in ("base", "tuned")
        for i in range(500)
    ]
    run = score(
        tmp_path_factory.mktemp("large") / "large", rows, metrics=("unique_rate", "distinct_1")
    )
    path = written(run)
    assert path.stat().st_size < 20_000_000
    begun = time.perf_counter()
    page = look(path)
    assert time.perf_counter() - begun < 10
    section = page.locator("#responses")
    assert section.locator(".prompts li").count() == 25  # the rest by page
    assert page.locator("*").count() < 6000
    begun = time.perf_counter()
    section.get_by_label("Search the responses").fill("407 3 and")
    section.get_by_text("2 responses to 1 of 500 prompts match").wait_for()
    assert time.perf_counter() - begun < 3
    shown = json.loads(page.locator("#data").evaluate("node => node.textContent"))
    assert sum(len(one["samples"][0]) for one in shown["explorer"]["responses"]) == 5000


@pytest.mark.parametrize("which", ["fruit", "phone"])
def test_no_column_is_clipped(request: pytest.FixtureRequest, which: str) -> None:
    page = request.getfixturevalue(which)
    for summary in page.locator("#about summary").all():
        if summary.locator("xpath=..").get_attribute("open") is None:
            summary.click()
    clipped = page.locator(".scroll").evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)"
    )
    assert clipped == []
