"""How a causal language model takes each response: a feature, and a metric on it."""

import math
import statistics

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.sections import section, setting
from tofu_eval.features import Opening, feature, pair_key
from tofu_eval.metrics import metric


@section("perplexity", title="Perplexity")
class PerplexitySettings:
    model: str = setting("HuggingFaceTB/SmolLM2-135M", help="Causal language model that reads.")
    max_tokens: int = setting(1024, least=2, help="Of prompt and response; more is cut off.")


@feature(name="perplexity", settings=(PerplexitySettings,))
class Perplexity:
    """(n, 1) perplexities of responses after their prompts; NaN where there is no token."""

    def __init__(self, opening: Opening) -> None:
        from tofu_eval.features.weights import find_weights

        self.own, self.device = opening.settings(PerplexitySettings), opening.device
        self.weights = find_weights(self.own.model, "--perplexity-model")
        self.identity = {**self.weights.identity, "max_tokens": self.own.max_tokens}
        self.signature = f"{self.weights.signature},{self.own.max_tokens}"
        self.truncated, self.model = 0, None

    key = staticmethod(pair_key)

    def compute(self, pairs):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if self.model is None:
            self.tokenizer = AutoTokenizer.from_pretrained(self.weights.path)
            model = AutoModelForCausalLM.from_pretrained(self.weights.path, dtype="float32")
            self.model = model.to(self.device or "cpu").eval()
        rows = []
        for prompt, text in pairs:
            start = self.tokenizer(f"{prompt.text}\n")["input_ids"]
            ids = start + self.tokenizer(text, add_special_tokens=False)["input_ids"]
            self.truncated += len(ids) > self.own.max_tokens
            ids = torch.tensor([ids[: self.own.max_tokens]], device=self.model.device)
            labels = ids.clone()
            labels[:, : len(start)] = -100
            with torch.inference_mode():
                rows.append([math.exp(self.model(input_ids=ids, labels=labels).loss)])
        return rows


@metric(name="median_perplexity", direction="none", needs=("perplexity",))
def median_perplexity(rows) -> float:
    """The median of the responses' perplexities."""
    values = [float(row[0]) for row in rows if not math.isnan(row[0])]
    if not values:
        raise MetricInputError("no response has a token")
    return statistics.median(values)
