"""Training rows drawn from a model: the classic way in which tuning narrows."""

from __future__ import annotations

import json
from pathlib import Path

from tofu_eval.core.errors import TrainingError
from tofu_eval.core.types import Report, no_report
from tofu_eval.pipeline.evaluate import evaluate
from tofu_eval.run.files import write_bytes
from tofu_eval.run.store import Run
from tofu_eval.tasks import load_task


def draw_rows(
    model: str,
    task: Path,
    output: Path,
    *,
    seed: int,
    samples: int,
    report: Report = no_report,
) -> Path:
    """Ask a model a task and keep what it answers as rows to train on.

    Args:
        model: a directory, a GGUF file or a Hub id.
        task: whose prompts are asked, at the task's own temperature.
        output: a run directory; the rows are `rows.jsonl` beside its tables.
        seed: of the sampling, >= 0.
        samples: responses a prompt; only those that ended by themselves are kept, since a model
            that learns from unfinished ones learns not to end.
        report: told about progress as (stage, done, total).
    Returns: a JSONL file of {"prompt", "completion"}, in the order of the prompts.

    Raises:
        TrainingError: no response ended by itself.
        TofuEvalError: as `evaluate`.
    """
    evaluate({"base": model}, task, output, samples=samples, seed=seed, report=report)
    run, loaded = Run.open(output), load_task(task)
    prompts = {prompt.id: prompt.text for prompt in loaded.load()}
    answered = run.responses("base", loaded.name).select(["prompt_id", "text", "state"])
    rows = [
        {"prompt": prompts[response["prompt_id"]], "completion": response["text"].strip()}
        for response in answered.to_pylist()
        if response["state"] == "finished" and response["text"].strip()
    ]
    if not rows:
        raise TrainingError(
            f"None of the responses in {output} ended by itself, so there is nothing to train on. "
            "Take another model, or give rows: --data FILE"
        )
    path = output / "rows.jsonl"
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_bytes(path, lines.encode())
    return path
