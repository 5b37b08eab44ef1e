"""A package of somebody else's with an importer and an export, really installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import invoke, refused

from tofu_eval.importers.base import IMPORTERS
from tofu_eval.leaderboard.exports import EXPORTS

PLUGIN = Path(__file__).parents[1] / "plugins" / "tofu_eval_formats"


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package among those that are installed; afterwards gone without a trace."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--target", target, PLUGIN],
        check=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(target))
        yield
    for name in [name for name in sys.modules if name.startswith("tofu_eval_formats")]:
        del sys.modules[name]
    for registry, name in ((EXPORTS, "org-table"), (IMPORTERS, "quiz-log")):
        registry._items.pop(name, None)  # type: ignore[attr-defined]


def done(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("site")
def test_what_one_package_reads_and_writes(tmp_path: Path) -> None:
    log = tmp_path / "sft.jsonl"
    rows = [
        {"quiz_question": f"Question {i}?", "quiz_answers": [f"a {i}", "b", f"c d {i}"]}
        for i in range(3)
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "Quiz log" in done("score", log, "--output", tmp_path / "run", "--metric", "distinct_1")
    board = tmp_path / "run" / "leaderboard.json"
    told = done("leaderboard", "export", "--help")
    assert "org-table" in told
    assert "--caption" in told
    assert "For org-table: what stands above the table." in told
    export = ("leaderboard", "export", board, "--format", "org-table")
    assert "--format org-table needs --caption" in refused(*export)
    lines = done(*export, "--caption", "Mine").splitlines()
    assert lines[0] == "#+CAPTION: Mine"
    assert lines[3].startswith("| distinct_1 ↑")
    assert "| 1 | sft |" in lines[3]
    assert "--caption is no option of --format csv" in refused(
        "leaderboard", "export", board, "--format", "csv", "--caption", "Mine"
    )


def test_without_it_there_is_neither() -> None:
    assert "org-table" not in {entry.name for entry in EXPORTS.entries()}
    assert "quiz-log" not in {entry.name for entry in IMPORTERS.entries()}
