"""tofu-eval: did fine-tuning narrow your language model?

    import tofu_eval as te

    models = {"base": "path/or/hub-id", "sft": "path"}
    result = te.evaluate(models, ["open-prompts"], "runs/x")
    result.to_pandas()

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tofu_eval.errors import TofuEvalError
    from tofu_eval.features.custom import judge, reward_model
    from tofu_eval.metrics import metric
    from tofu_eval.pipeline import Result, evaluate, score
    from tofu_eval.tasks import load_task, task
    from tofu_eval.types import Group, Message, ModelSpec, Prompt, Response, Sampling, Task

__version__ = "0.1.0"

_HOMES = {
    "TofuEvalError": "tofu_eval.errors",
    "judge": "tofu_eval.features.custom",
    "reward_model": "tofu_eval.features.custom",
    "metric": "tofu_eval.metrics",
    "Result": "tofu_eval.pipeline",
    "evaluate": "tofu_eval.pipeline",
    "score": "tofu_eval.pipeline",
    "load_task": "tofu_eval.tasks",
    "task": "tofu_eval.tasks",
    "Group": "tofu_eval.types",
    "Message": "tofu_eval.types",
    "ModelSpec": "tofu_eval.types",
    "Prompt": "tofu_eval.types",
    "Response": "tofu_eval.types",
    "Sampling": "tofu_eval.types",
    "Task": "tofu_eval.types",
}

__all__ = [
    "Group",
    "Message",
    "ModelSpec",
    "Prompt",
    "Response",
    "Result",
    "Sampling",
    "Task",
    "TofuEvalError",
    "__version__",
    "evaluate",
    "judge",
    "load_task",
    "metric",
    "reward_model",
    "score",
    "task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tofu_eval' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
