"""tofu-eval: did fine-tuning narrow your language model?

    import tofu_eval as te

    models = {"base": "path/or/hub-id", "sft": "path"}
    result = te.evaluate(models, ["open-prompts"], "runs/x")
    te.compare(result)
    te.write_report(result)

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tofu_eval.core.version import __version__

if TYPE_CHECKING:
    from tofu_eval.core.errors import TofuEvalError
    from tofu_eval.core.sections import section, setting
    from tofu_eval.core.types import (
        Group,
        Message,
        ModelSpec,
        Prompt,
        Request,
        Response,
        Sampling,
        Task,
    )
    from tofu_eval.engines.methods.base import Ask, method
    from tofu_eval.engines.open import engine
    from tofu_eval.features.answers.base import verifier
    from tofu_eval.features.base import feature
    from tofu_eval.features.custom import judge, reward_model
    from tofu_eval.metrics import metric
    from tofu_eval.pipeline.evaluate import Result, evaluate, score_files
    from tofu_eval.pipeline.finished import (
        build_board,
        compare,
        frontier,
        merge_boards,
        open_run,
        publish_board,
        write_report,
    )
    from tofu_eval.pipeline.score_groups import score
    from tofu_eval.tasks import load_task, task
    from tofu_eval.training.job import train_model as train
    from tofu_eval.training.losses import loss

_HOMES = {
    "core.errors": ("TofuEvalError",),
    "core.sections": ("section", "setting"),
    "core.types": (
        *("Group", "Message", "ModelSpec", "Prompt", "Request", "Response", "Sampling", "Task"),
    ),
    "engines.methods.base": ("Ask", "method"),
    "engines.open": ("engine",),
    "features.answers.base": ("verifier",),
    "features.base": ("feature",),
    "features.custom": ("judge", "reward_model"),
    "metrics": ("metric",),
    "pipeline.evaluate": ("Result", "evaluate", "score_files"),
    "pipeline.finished": (
        *("build_board", "compare", "frontier", "merge_boards", "open_run", "publish_board"),
        "write_report",
    ),
    "pipeline.score_groups": ("score",),
    "tasks": ("load_task", "task"),
    "training.losses": ("loss",),
}
_HOME_OF = {name: (home, name) for home, names in _HOMES.items() for name in names}
_HOME_OF["train"] = ("training.job", "train_model")

__all__ = [
    "Ask",
    "Group",
    "Message",
    "ModelSpec",
    "Prompt",
    "Request",
    "Response",
    "Result",
    "Sampling",
    "Task",
    "TofuEvalError",
    "__version__",
    "build_board",
    "compare",
    "engine",
    "evaluate",
    "feature",
    "frontier",
    "judge",
    "load_task",
    "loss",
    "merge_boards",
    "method",
    "metric",
    "open_run",
    "publish_board",
    "reward_model",
    "score",
    "score_files",
    "section",
    "setting",
    "task",
    "train",
    "verifier",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tofu_eval' has no attribute '{name}'")
    home, own_name = _HOME_OF[name]
    return getattr(importlib.import_module(f"tofu_eval.{home}"), own_name)


def __dir__() -> list[str]:
    return sorted(__all__)
