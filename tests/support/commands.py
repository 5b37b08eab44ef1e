"""Commands, called in this process."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from tofu_eval.cli import main
from tofu_eval.run.store import Run


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """The one line of a refusal."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def score(file: Path, output: Path, *options: str) -> Result:
    return invoke("score", file, "--output", output, *options)


def values(output: Path) -> dict[str, list[float | None]]:
    """The scores of a run, by metric."""
    found: dict[str, list[float | None]] = {}
    for row in Run.open(output).scores().to_pylist():
        found.setdefault(row["metric"], []).append(row["value"])
    return found
