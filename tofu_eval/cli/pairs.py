"""`tofu-eval pairs`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("pairs")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--quality", default="reward", show_default=True, help="reward or correct.")
@click.option("--rarity", default="words", show_default=True, help="words or embedding.")
@click.option(
    "--threshold", type=float, metavar="X", help="Chosen from this quality on, rejected below."
)
@click.option(
    "--share",
    type=float,
    default=0.25,
    show_default=True,
    help="Without a threshold: of a prompt's range of quality, next to its best and its worst.",
)
@click.option("--model", "models", multiple=True, help="Only of these models of the run.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option("--reward-model", metavar="MODEL", help="Default: the run's.")
@click.option("--reward-base-url", metavar="URL", help="Its server. Default: the run's.")
@click.option("--verifier", metavar="NAME", help="What is correct. Default: the run's.")
@click.option("--device", help="cpu, cuda, cuda:1, mps. Default: the best there is.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="A new JSONL file.")
def command(
    run: Path,
    quality: str,
    rarity: str,
    threshold: float | None,
    share: float,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    reward_model: str | None,
    reward_base_url: str | None,
    verifier: str | None,
    device: str | None,
    output: Path,
) -> None:
    """Preference data from a run: of the responses to a prompt, a rare good and a common bad one.

    The rows are in TRL's preference format (prompt, chosen, rejected, as messages), for DPO and its
    kin. Method: Diverse Preference Optimization, arXiv:2501.18101.

    \b
    tofu-eval pairs runs/x --quality reward --output pairs.jsonl
    """
    import json

    from tofu_eval.cli.console import note, progress
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.features.settings import check_settings, run_named_files, settings_in
    from tofu_eval.pipeline.lost_plugins import drop_lost_plugins, refuse_lost_plugins
    from tofu_eval.pipeline.preference_pairs import PairRule, make_pairs
    from tofu_eval.pipeline.stored_servers import withhold_from_stored
    from tofu_eval.run.files import atomic_write
    from tofu_eval.run.store import Run

    rule = PairRule(quality, rarity, threshold, share)
    if output.exists():
        raise ConfigError(f"{output} exists. Name another --output, or delete it first.")
    stored = Run.open(run)
    settings = settings_in(run / "run.json", stored.manifest.get("settings"))
    told = {
        "reward": {"model": reward_model, "base_url": reward_base_url},
        "verifier": {"name": verifier},
    }
    said = {name: {k: v for k, v in values.items() if v} for name, values in told.items()}
    asked = "verifier" if quality == "correct" else "reward"
    refuse_lost_plugins(stored, {asked: settings.get(asked)}, said)
    settings = drop_lost_plugins(stored, settings, said)
    withhold_from_stored(settings, said)
    for section, values in run_named_files(said).items():
        settings[section] = {**settings.get(section, {}), **values}
    if device:
        settings["device"] = device
    chosen = check_settings(settings)
    with Run.writing(run) as opened, progress() as report:
        made = make_pairs(opened, rule, chosen, models=models, tasks=tasks, report=report)
    for reason, count in made.left_out.items():
        note(f"{count} prompts have no pair: {reason}.")
    if not made.rows:
        raise ConfigError(f"{run} gives no pair. Ask for more responses, or another --quality.")
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made.rows)
    atomic_write(output, lambda file: file.write(text.encode()))
    click.echo(f"{len(made.rows)} pairs: {output}")
