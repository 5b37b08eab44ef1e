"""Every causal architecture that transformers has: the loss of full logits, or one line.

Which there are says transformers' own mapping. What is not in one of the two lists below must have
the value and the gradients that the formula has on the model's own logits.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny_configs import VOCABULARY, tiny_config
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tofu_eval.core.errors import TrainingError
from tofu_eval.training.lm_head import add_fused_loss, check_head
from tofu_eval.training.logit_losses import mean_loss
from tofu_eval.training.losses import tofu

pytestmark = pytest.mark.slow

LAYERS_BEFORE = "a layer of its own stands between the hidden states and the head"

REFUSED = {
    **dict.fromkeys(
        (
            *("bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie"),
            *("megatron-bert", "modernbert-decoder", "rembert", "roberta", "roberta-prelayernorm"),
            *("roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod"),
        ),
        LAYERS_BEFORE,
    ),
    "prophetnet": "its hidden states predict several tokens ahead",
}
"""Architectures that the fused loss does not train, and why; each says so in one line."""

DRAFT = "a draft for speculative decoding, which reads the states of its target"
SOUND = "it makes sound, and is trained by no trainer of TRL"

NOT_TINY = {
    "gemma3n": "its encoder of pictures needs timm and pillow; its language model is gemma3n_text",
    "gemma4_assistant": DRAFT,
    "gemma4_unified_assistant": DRAFT,
    "musicgen": SOUND,
    "musicgen_melody": SOUND,
}
"""Architectures of which no tiny model can be made here, and why."""


def batch() -> dict[str, Tensor]:
    """Two rows with prompts, one with padding on the right."""
    ids = torch.randint(3, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :4] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("name", sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
def test_value_and_gradients_are_those_of_full_logits(name: str) -> None:
    if name in NOT_TINY:
        pytest.skip(NOT_TINY[name])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(tiny_config(name, CONFIG_MAPPING[name]))
    model.train(name == "reformer")  # reversible layers have no gradients in evaluation
    assert sum(p.numel() for p in model.parameters()) < 4e6
    if name in REFUSED:
        with pytest.raises(TrainingError) as caught:
            check_head(model)
        assert "\n" not in str(caught.value)
        return
    check_head(model)
    inputs = batch()
    plain = {key: value for key, value in inputs.items() if key != "labels"}
    logits = model(**plain, use_cache=False).logits[:, :-1].double()
    expected = mean_loss(tofu(), logits, inputs["labels"][:, 1:], num_items=1).loss
    wanted = gradients(model, expected)
    add_fused_loss(model, tofu())
    found = model(**inputs, fused_loss=True).loss
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
    got = gradients(model, found)
    assert got.keys() == wanted.keys()
    largest = max(grad.abs().max().item() for grad in wanted.values())
    for key, grad in wanted.items():
        torch.testing.assert_close(got[key], grad, rtol=0, atol=1e-5 * largest, msg=key)


def test_the_lists_name_what_there_is() -> None:
    known = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert REFUSED.keys() | NOT_TINY.keys() <= known
    assert not REFUSED.keys() & NOT_TINY.keys()
