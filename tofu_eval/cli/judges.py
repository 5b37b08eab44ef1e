"""`tofu-eval judges`."""

from __future__ import annotations

import click


@click.group("judges")
def command() -> None:
    """List what says how good a response is."""


@command.command("list")
def list_() -> None:
    """Reward models, rubrics and judges that have a name; any other model goes by its path or id.

    Reward models are for --reward-model, rubrics for --judge-template, judges for --judge-model.
    """
    from tofu_eval.cli.console import note
    from tofu_eval.core.escape import printable
    from tofu_eval.features.calibration import presets
    from tofu_eval.features.custom import JUDGES, REWARD_MODELS
    from tofu_eval.features.rubric import HARM, RATINGS, TOTAL

    rows = [("kind", "name", "what it is")]
    for name, made in presets().items():
        calibrated = f"calibrated: {made.signature}" if made else "no calibration: calibrate-reward"
        rows.append(("reward model", name, calibrated))
    rows += [("rubric", name, "a rating from 0 to 5") for name in RATINGS]
    rows.append(("rubric", TOTAL, "a total rating, for judge_rating@2605.00195"))
    rows.append(("rubric", HARM, "yes or no, for attack_success_rate_judged"))
    for kind, registry in (("reward model", REWARD_MODELS), ("judge", JUDGES)):
        for entry in registry.entries():
            if entry.item is None:
                note(f"{entry.name} is broken: {entry.error}")
            else:
                rows.append((kind, entry.name, f"version {entry.item.identity['version']}"))
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    for kind, name, calibrated in rows:
        click.echo(printable(f"{kind:{widths[0]}}  {name:{widths[1]}}  {calibrated}"))
