"""The house stands as docs/architecture.md draws it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tofu_eval

PACKAGE = Path(tofu_eval.__file__).parent

BELOW = {
    "errors": set(),
    "types": {"errors"},
    "registry": {"errors", "types"},
    "hub": {"errors"},
    "child": {"errors"},
    "files": {"errors"},
    "remote": {"errors", "child"},
    "servers": {"errors"},
    "models": {"errors", "types", "hub"},
    "kernels": set(),
    "tokens": {"kernels"},
    "sandbox": set(),
    "manifest": {"types"},
    "provenance": {"errors"},
    "config": {"errors", "types"},
    **{
        room: {"errors", "types", "registry", "hub", "models", "tokens"}
        for room in ("tasks", "engines", "features", "metrics", "store", "stats")
    },
    "ingest": {"errors", "types"},
    "verify": {"errors", "types", "store"},
    "leaderboard": {"errors", "types", "store", "stats"},
    "inputs": {
        *("errors", "types", "registry", "hub", "models", "tokens"),
        *("tasks", "engines", "features", "metrics", "store", "stats"),
    },
}
for room in ("engines", "features"):
    BELOW[room] = {*BELOW[room], "child", "remote", "servers"}
for room in ("tasks", "features"):
    BELOW[room] = {*BELOW[room], "sandbox"}
BELOW["reading"] = {"errors", "types", "store"}
BELOW["stages"] = {*BELOW["inputs"], "inputs"}
BELOW["estimates"] = {"errors", "types", "registry", "tokens", "metrics", "stats"}
BELOW["workers"] = {*BELOW["stages"], "stages"}
BELOW["store"] = {"errors", "types", "files", "manifest"}
BELOW["training"] = {
    *("errors", "types", "registry", "hub", "models", "provenance", "config"),
    *("ingest", "tasks", "store"),
}
BELOW["processes"] = {"errors", "types"}
BELOW["similarity"] = {*BELOW["inputs"], "inputs", "reading"}
BELOW["scoring"] = {
    *BELOW["workers"],
    *("workers", "estimates", "reading", "provenance", "config", "leaderboard"),
}
BELOW["auditing"] = {"errors", "types", "config", "models", "engines", "tasks"}
BELOW["judges"] = {"errors", "types", "engines"}
BELOW["quality"] = {"errors", "types", "config", "features"}
BELOW["answers"] = {"errors", "types", "registry", "features", "child", "remote"}
BELOW["assembly"] = {*BELOW["stages"], *("stages", "config", "judges", "quality", "answers")}
BELOW["featuring"] = {*BELOW["assembly"], "assembly"}
BELOW["temperatures"] = {"errors", "types", "engines", "stages"}
BELOW["bookkeeping"] = {*BELOW["scoring"], "scoring", "assembly", "temperatures"}
BELOW["pipeline"] = {*BELOW["bookkeeping"], *("bookkeeping", "featuring", "ingest")}
BELOW["noise"] = {*BELOW["featuring"], *BELOW["scoring"], "featuring", "scoring"}
BELOW["calibrating"] = {*BELOW["pipeline"], *("pipeline", "quality")}
BELOW["sweep"] = {*BELOW["pipeline"], "pipeline", "training", "processes"}
BELOW["lab"] = {*BELOW["sweep"], "sweep"}
BELOW["report"] = {
    *("errors", "types", "store", "features", "metrics", "reading", "leaderboard"),
}
BELOW["cli"] = {
    *BELOW["lab"],
    *("lab", "verify", "auditing", "noise", "report", "answers", "calibrating", "similarity"),
}
for below in BELOW.values():
    if "store" in below:
        below.add("files")

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
    ["tofu_eval.pipeline", "tofu_eval.tasks", "tofu_eval.metrics", "tofu_eval.leaderboard"],
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


def test_every_public_name_exists() -> None:
    for name in tofu_eval.__all__:
        assert getattr(tofu_eval, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = tofu_eval.nothing
