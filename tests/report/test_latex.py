"""The tables for papers, compiled by a real LaTeX."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import invoke
from support.large_board import run_source

from tofu_eval.leaderboard import Board
from tofu_eval.leaderboard.exports.latex import as_latex
from tofu_eval.leaderboard.exports.latex_ranks import as_latex_ranks

DOCUMENT = (
    "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n%s\\end{document}\n"
)
HOSTILE = r"\input{/etc/passwd} $x^2$ 50% #1 ~ & _ {} ^ < > | [a] é"


def compiled(text: str, folder: Path) -> str:
    """What LaTeX says of a document with this text."""
    latex = shutil.which("pdflatex")
    if latex is None:
        pytest.skip("no pdflatex here: apt-get install texlive-latex-recommended")
    (folder / "t.tex").write_text(DOCUMENT % text, "utf-8")
    command = [latex, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "t.pdf").stat().st_size > 1000
    return done.stdout


@pytest.fixture(scope="module")
def board() -> Board:
    names = ["plain", "b", "c"]
    metrics = ("vendi", "self_bleu", "accuracy", "mean_length")
    made = run_source("1" * 16, names, metrics=metrics, tasks={"open-prompts": 9}).board
    models = tuple(
        replace(model, name=HOSTILE) if model.name == "b" else model for model in made.models
    )
    rows = tuple(replace(row, signature=HOSTILE) for row in made.rows)
    return replace(made, models=models, rows=rows)


@pytest.mark.slow
@pytest.mark.parametrize("make", [as_latex, as_latex_ranks], ids=["values", "ranks"])
def test_boards_compile(board: Board, make: object, tmp_path: Path) -> None:
    assert callable(make)
    said = compiled(make(board), tmp_path)
    assert "passwd" not in said


@pytest.mark.slow
def test_differences_compile(run: Path, tmp_path: Path) -> None:
    told = invoke("compare", run, "--format", "latex")
    assert told.exit_code == 0, told.output
    assert told.stdout.count(r"\begin{table}") == 2
    compiled(told.stdout, tmp_path)


def test_the_table_of_differences_holds_every_difference(run: Path) -> None:
    told = invoke("compare", run, "--format", "latex", "--metric", "distinct_1")
    lines = told.stdout.split(r"\begin{table}")[2].splitlines()
    assert r"    metric & base & sft & tofu \\" in lines
    (line,) = (line for line in lines if line.startswith(r"    distinct\_1 $\uparrow$ & "))
    assert line.count(" & ") == 3
    assert "**" in line
    assert "the paired difference to base with its 95\\% interval" in told.stdout
