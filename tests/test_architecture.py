"""The house stands as docs/architecture.md draws it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tofu_eval

PACKAGE = Path(tofu_eval.__file__).parent

GROUND = {"core"}
MIDDLE = {*GROUND, "run", "importers", "tasks", "engines", "metrics"}
UPPER = {*MIDDLE, "features", "analysis"}
OUTER = {*UPPER, "leaderboard", "report"}
BELOW = {
    "core": set(),
    "run": GROUND,
    "importers": GROUND,
    "tasks": GROUND,
    "engines": GROUND,
    "metrics": GROUND,
    "features": {*GROUND, "importers", "engines", "metrics"},
    "analysis": {*GROUND, "run"},
    "leaderboard": {*GROUND, "run", "analysis", "metrics"},
    "report": {*GROUND, "run", "metrics", "features", "analysis", "leaderboard"},
    "pipeline": OUTER,
    "training": {*GROUND, "run", "importers", "tasks", "engines", "pipeline"},
    "lab": {*OUTER, "pipeline", "training"},
    "cli": {*OUTER, "pipeline", "training", "lab"},
}
"""A row a folder: which others it may import."""

HEAVY = ("torch", "transformers", "sentence_transformers", "scipy", "sklearn", "pandas")


def rooms_imported(file: Path) -> set[str]:
    """The rooms of the house that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        parts = [name.split(".") for name in names]
        found |= {p[1] for p in parts if p[0] == "tofu_eval" and len(p) > 1}
    return found & BELOW.keys()


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: f.name)
def test_imports_point_down(file: Path) -> None:
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    assert room in BELOW, f"{room} has no place in docs/architecture.md"
    assert rooms_imported(file) - {room} <= BELOW[room]


@pytest.mark.parametrize("module", ["tofu_eval", "tofu_eval.cli"])
def test_importing_is_light(module: str) -> None:
    code = f"import {module}, sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "module",
    [
        "tofu_eval.pipeline.evaluate",
        "tofu_eval.tasks",
        "tofu_eval.metrics",
        "tofu_eval.leaderboard",
    ],
)
def test_the_core_works_without_torch(module: str) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'sentence_transformers', 'datasets', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        f"import {module}\n"
        "from tofu_eval.metrics import METRICS\n"
        "METRICS.entries()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_module_lies_loose() -> None:
    inside = {entry.name for entry in PACKAGE.iterdir()} - {"__pycache__"}
    assert inside == {*BELOW, "__init__.py", "py.typed"}


def test_no_circle() -> None:
    ranks: dict[str, int] = {}
    while len(ranks) < len(BELOW):
        free = [r for r in BELOW if r not in ranks and BELOW[r] <= ranks.keys()]
        assert free, f"a circle among {sorted(BELOW.keys() - ranks.keys())}"
        ranks |= dict.fromkeys(free, len(ranks))


def test_every_public_name_exists() -> None:
    for name in tofu_eval.__all__:
        assert getattr(tofu_eval, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = tofu_eval.nothing


def test_no_benchmark_is_called_like_a_module_of_pythons() -> None:
    scripts = {path.stem for path in (PACKAGE.parent / "benchmarks").glob("*.py")}
    assert not scripts & sys.stdlib_module_names  # which it would shadow for those beside it
