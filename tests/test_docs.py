"""The pages that people read: their length, their links, and their code, which is run."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from support.doc_pages import (
    ROOT,
    Block,
    Reader,
    blocks_of,
    commands_of,
    make_stage,
    replace_models,
)
from support.fakes import FakeEngine

from tofu_eval.core import registry
from tofu_eval.core.registry import Registry
from tofu_eval.tasks import load_suite
from tofu_eval.training.settings import train_settings

PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
LANGUAGES = {"sh", "python", "text", "yaml", "json", "toml", "jinja", "js"}
"""What a block may be; `text` is what something prints, or a drawing."""

ELSEWHERE = {
    ("tasks.md", "yaml"): "tests/tasks/test_builtin.py",
    ("tasks.md", "jinja"): "tests/tasks/test_builtin.py",
    ("config.md", "yaml"): "tests/core/test_config.py",
    ("leaderboard.md", "js"): "tests/leaderboard/test_board.py",
    ("integrations.md", "python"): "tests/training/test_integrations.py",
}
"""Blocks that another test runs, which finds them in the page."""


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 150
    start = lines.index("tofu_eval/")
    assert lines.index("```", start) - start <= 16


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]*`", "", text)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("picture", sorted((ROOT / "docs").rglob("*.png")), ids=page_id)
def test_pictures_are_small_and_shown(picture: Path) -> None:
    assert picture.stat().st_size < 200_000
    assert any(picture.name in page.read_text("utf-8") for page in PAGES), "no page shows it"


def test_what_can_be_added_is_shown_in_at_most_25_lines() -> None:
    examples = [
        block.text
        for block in blocks_of(ROOT / "docs" / "extending.md")
        if block.file and block.language != "json"
    ]
    assert len(examples) == 7
    for text in examples:
        assert len(text.splitlines()) <= 25, text


# Code


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("stage")
    with pytest.MonkeyPatch.context() as monkeypatch:
        replace_models(monkeypatch)
        make_stage(folder)
    yield folder
    _forget_all(folder)


def _forget_all(folder: Path) -> None:
    """Take back what files and code in a folder have registered."""
    for known in Registry._all:
        for name, (_, origin) in list(known._items.items()):
            if registry.file_of(origin).startswith(str(folder)):
                del known._items[name]
    for path in registry.loaded_files():
        if path.startswith(str(folder)):
            del registry._digests[path]


@pytest.fixture
def reader(
    tmp_path: Path,
    stage: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    replace_models(monkeypatch)
    package = ModuleType("my_package")
    package.MyEngine = lambda spec: FakeEngine()
    monkeypatch.setitem(sys.modules, "my_package", package)
    yield Reader(tmp_path, stage, lambda: request.getfixturevalue("tiny_model"), monkeypatch)
    _forget_all(tmp_path)


WITH_CODE = [page for page in PAGES if any(b.language != "text" for b in blocks_of(page))]


@pytest.mark.parametrize("page", WITH_CODE, ids=page_id)
def test_the_code_of_a_page_runs(page: Path, reader: Reader) -> None:
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"line {block.line}: what is this block?"
        if block.language == "text":
            assert not re.match(r"(tofu-eval|make|pip|python) ", block.text), f"{block.line}: sh"
        elif (elsewhere := ELSEWHERE.get((page.name, block.language))) and not block.file:
            assert page.name in (ROOT / elsewhere).read_text("utf-8")
        else:
            reader.follow(block)
            check_data(block, reader)


def check_data(block: Block, reader: Reader) -> None:
    """What is neither code nor commands is what it says."""
    if block.language == "json":
        rows = [json.loads(line) for line in block.text.splitlines()]
        assert rows
        for i, row in enumerate(() if block.file else rows):  # each another form
            (reader.folder / f"form-{i}.jsonl").write_text(json.dumps(row))
            scored = ["score", f"form-{i}.jsonl", "--metric", "unique_rate"]
            reader.type(["tofu-eval", *scored, "--output", f"runs/form-{i}"])
    elif block.language == "toml":
        (group,) = tomllib.loads(block.text)["project"]["entry-points"]
        assert group in {known._group for known in Registry._all}
    elif block.language == "yaml" and block.file == "mine.yaml":
        assert load_suite(reader.folder / block.file)
    elif block.language == "yaml" and not block.file:
        content = yaml.safe_load(block.text)
        if isinstance(content, dict):
            train_settings(content)
            return
        for words in commands_of(block):
            reader.type(words)
