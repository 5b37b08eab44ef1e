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

from tofu_eval.core.version import __version__

if TYPE_CHECKING:
    from tofu_eval.core.errors import TofuEvalError
    from tofu_eval.core.sections import section, setting
    from tofu_eval.core.types import Group, Message, ModelSpec, Prompt, Response, Sampling, Task
    from tofu_eval.features import feature
    from tofu_eval.features.custom import judge, reward_model
    from tofu_eval.metrics import metric
    from tofu_eval.pipeline.compare import compare
    from tofu_eval.pipeline.evaluate import Result, evaluate, score
    from tofu_eval.tasks import load_task, task

_HOMES = {
    "TofuEvalError": "tofu_eval.core.errors",
    "feature": "tofu_eval.features",
    "section": "tofu_eval.core.sections",
    "setting": "tofu_eval.core.sections",
    "judge": "tofu_eval.features.custom",
    "reward_model": "tofu_eval.features.custom",
    "metric": "tofu_eval.metrics",
    "Result": "tofu_eval.pipeline.evaluate",
    "compare": "tofu_eval.pipeline.compare",
    "evaluate": "tofu_eval.pipeline.evaluate",
    "score": "tofu_eval.pipeline.evaluate",
    "load_task": "tofu_eval.tasks",
    "task": "tofu_eval.tasks",
    "Group": "tofu_eval.core.types",
    "Message": "tofu_eval.core.types",
    "ModelSpec": "tofu_eval.core.types",
    "Prompt": "tofu_eval.core.types",
    "Response": "tofu_eval.core.types",
    "Sampling": "tofu_eval.core.types",
    "Task": "tofu_eval.core.types",
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
    "compare",
    "evaluate",
    "feature",
    "judge",
    "load_task",
    "metric",
    "reward_model",
    "score",
    "section",
    "setting",
    "task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tofu_eval' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
