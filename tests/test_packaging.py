"""What is shipped beside the code: packages, the site, the notebook, and what points to them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tofu_eval.core.version import __version__

ROOT = Path(__file__).parents[1]


def test_one_version_stands_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert project["version"] == cited["version"] == __version__
    assert project["license"] == cited["license"]
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=str)
def test_issue_templates_are_whole(form: Path) -> None:
    content = yaml.safe_load(form.read_text("utf-8"))
    if form.name == "config.yml":
        assert content == {"blank_issues_enabled": True}
        return
    assert set(content) == {"name", "description", "labels", "body"}
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)


def test_each_pinned_tool_of_the_site_is_an_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {re.split(r"[\[>=]", text)[0] for text in project["optional-dependencies"]["docs"]}
    pinned = (ROOT / "constraints.txt").read_text("utf-8")
    assert all(re.search(rf"^{name}==", pinned, re.MULTILINE) for name in wanted)


def test_the_site_leads_to_each_page() -> None:
    lines = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2].splitlines()
    led = {line.split()[-1] for line in lines if line.endswith(".md")}
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    generated = {page for page in led if page.startswith("reference/")}
    assert pages == led - generated


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "TOFU_EVAL_SITE": "https://docs.example/x/"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text("utf-8")
        assert "<p>```" not in text, f"{page}: a block that is none"
        assert not re.search(r'(?:src|href)="http[^"]+\.(?:js|css|woff2?)"', text), page
    assert "https://docs.example/x/start.html" in (tmp_path / "start.html").read_text("utf-8")
    assert "https://docs.example/x/start.html" in (tmp_path / "sitemap.xml").read_text("utf-8")
    metrics = (tmp_path / "reference" / "metrics.html").read_text("utf-8")
    assert 'id="vendi"' in metrics
    assert "arxiv.org/abs/2210.02410" in metrics
    assert 'id="tofu-eval-run"' in (tmp_path / "reference" / "cli.html").read_text("utf-8")
    assert "tofu_eval.pipeline.evaluate.evaluate" in (
        tmp_path / "reference" / "api.html"
    ).read_text("utf-8")


@pytest.mark.slow
def test_the_notebook_runs() -> None:
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    path = ROOT / "examples" / "first-look.ipynb"
    book = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in book.cells), "kept without outputs"
    nbclient.NotebookClient(
        book, timeout=240, resources={"metadata": {"path": path.parent}}
    ).execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", [])]
    pages = [
        output["data"]["text/html"] for output in shown if "text/html" in output.get("data", {})
    ]
    assert "3 models, 1 task, 3 metrics" in pages[0]
    assert "narrower" in pages[1]
    assert "asks_back" in pages[-1]


@pytest.mark.slow
def test_the_packages_are_checked_and_used_in_a_fresh_environment() -> None:
    """`make dist` with this Python."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    done = subprocess.run(
        ["sh", "tests/support/check_dist.sh"],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONS": version, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    if "Could not find a version" in done.stderr or "No matching distribution" in done.stderr:
        pytest.skip("no package index to install the dependencies from")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2
    assert f"Python {version}: installed, scored, compared" in done.stdout
