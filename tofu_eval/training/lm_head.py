"""Where a Hugging Face model keeps its LM head, and a forward pass that ends in the fused loss.

The loss is computed inside the model's own forward pass, so that DDP, FSDP, ZeRO and PEFT, which
all wrap that, see nothing unusual.
"""

from __future__ import annotations

import functools
import types
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial
from torch.nn.functional import cross_entropy
from transformers.utils import ModelOutput

from tofu_eval.core.errors import TrainingError
from tofu_eval.training.fused import fused_loss
from tofu_eval.training.logit_losses import IGNORE, Places, completion_places
from tofu_eval.training.losses import LossSpec
from tofu_eval.training.no_waiting import SUPERVISED, flat_places

PROBE_TOKENS = 8
"""Tokens on which a model's own logits are compared with ours."""


@dataclass
class LossOutput(ModelOutput):  # type: ignore[misc]
    """Sums over the supervised tokens of a batch; `loss` carries the gradient.

    `tokens` counts them; `aux_loss` is a mixture-of-experts model's own, where it has one.
    """

    loss: Tensor = None
    cross_entropy: Tensor = None
    weight: Tensor = None
    entropy: Tensor = None
    correct: Tensor = None
    tokens: Tensor = None
    aux_loss: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """logits = softcap · tanh(u / softcap) with u = scale · (hidden @ weight.T + bias)."""

    weight: Tensor
    bias: Tensor | None
    softcap: float | None
    scale: float

    def logits(self, hidden: Tensor) -> Tensor:
        """The full logits: to compare with, not to train with."""
        z = torch.nn.functional.linear(hidden, self.weight, self.bias) * self.scale
        return z if self.softcap is None else self.softcap * torch.tanh(z / self.softcap)


def head_of(model: Any) -> Head:
    """The LM head as it is now: PEFT and FSDP exchange it after the model is made.

    Raises:
        TrainingError: there is none, or an adapter sits on it.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layer = model.get_output_embeddings()
    if layer is None or getattr(layer, "weight", None) is None:
        raise TrainingError(
            f"{type(model).__name__} has no LM head that the fused loss can use. "
            "Train it in a loop of your own with tofu_eval.training.mean_loss on its logits."
        )
    if isinstance(layer, BaseTunerLayer):
        raise TrainingError(
            "An adapter sits on the LM head, where the fused loss would not train it. Leave the "
            "head out of target_modules; to train it whole, name it in modules_to_save."
        )
    softcap, scale = _shape_of_logits(model.config.get_text_config())
    weight, bias = _whole(layer.weight), getattr(layer, "bias", None)
    bias = None if bias is None else _whole(bias)
    if weight.dim() != 2 and not hasattr(weight, "ds_id"):  # ZeRO-3's are gathered later
        raise TrainingError(
            "The LM head's weights are split over processes by themselves (FSDP 1). Use FSDP 2 "
            "(fsdp_version: 2), or leave the head out of what is wrapped."
        )
    rows = getattr(model.config.get_text_config(), "unpadded_vocab_size", None)
    if rows is not None and rows < len(weight):  # the rest of the head is padding
        weight, bias = weight[:rows], None if bias is None else bias[:rows]
    return Head(weight, bias, softcap, scale)


def _whole(parameter: Tensor) -> Tensor:
    """A parameter that FSDP 2 has split over processes, gathered; its gradient is their mean.

    Of a head in the root's unit nothing is split here; one that is a unit by itself is, since
    nothing calls it.
    """
    if not isinstance(parameter, DTensor):
        return parameter
    mesh = parameter.device_mesh
    whole: Tensor = parameter.full_tensor(grad_placements=[Partial()] * mesh.ndim)
    if whole.requires_grad:  # the sum of what the processes found, each from its own rows
        whole.register_hook(lambda grad: grad / mesh.size())
    return whole


def body_of(model: Any) -> Any:
    """What makes the hidden states. Llama 4's own `base_model` is the model itself.

    Raises:
        TrainingError: the model has no such part.
    """
    body = model.base_model if model.base_model is not model else getattr(model, "model", None)
    if body is None or body is model:
        raise TrainingError(
            f"{type(model).__name__} has no part that makes hidden states, which the fused loss "
            "needs. Train it in a loop of your own with tofu_eval.training.mean_loss on its logits."
        )
    return body


def check_head(model: Any) -> None:
    """Compare the logits that `head_of` implies with the model's own, on a few tokens.

    Under ZeRO-3 the weights are not here yet, and nothing is compared.

    Raises:
        TrainingError: the model does something to its logits that the fused loss does not know.
    """
    head = head_of(model)
    if hasattr(head.weight, "ds_id"):
        return
    ids = torch.arange(PROBE_TOKENS, device=model.device)[None] % len(head.weight)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            theirs = model(input_ids=ids, use_cache=False).logits.float()
            states = body_of(model)(input_ids=ids, use_cache=False).last_hidden_state
            states = states.to(head.weight.device, head.weight.dtype)
            if states.shape[-1] != head.weight.shape[1]:  # a layer of its own before the head
                raise TrainingError(_unknown(model, "its hidden states have another width"))
            ours = head.logits(states).float()
    finally:
        model.train(was_training)
    if ours.shape != theirs.shape:
        how = f"it has {theirs.shape[-1]} of {ours.shape[-1]}"
        raise TrainingError(_unknown(model, how))
    half = head.weight.dtype in (torch.float16, torch.bfloat16)
    off = (ours.to(theirs.device) - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6)
    if not off <= (5e-2 if half else 1e-3):  # NaN too
        raise TrainingError(_unknown(model, f"they differ by {off.item():.2g} of the largest"))


def _unknown(model: Any, how: str) -> str:
    return (
        f"The fused loss does not know what {type(model).__name__} does between its LM head and "
        f"its logits: {how}. Train it in a loop of your own with tofu_eval.training.mean_loss on "
        "its logits."
    )


def add_fused_loss(model: Any, spec: LossSpec) -> None:
    """Give `model`'s forward pass a keyword: with `fused_loss=True` it returns a LossOutput.

    Its input `reference`, of the labels' shape and as unshifted as they are, holds a reference
    model's log-probabilities, for the losses that look at them. `supervised` is as
    `SupervisedCollator` makes it; with it no step waits for the device.

    Without the keyword it is the forward pass that it was. A model is patched before PEFT wraps
    it, or through `get_base_model()`.
    """
    plain = model.forward

    @functools.wraps(type(model).forward)  # `generate` looks at the signature
    def forward(self: Any, *args: Any, fused_loss: bool = False, **inputs: Any) -> Any:
        return _forward(self, spec, inputs) if fused_loss else plain(*args, **inputs)

    model.forward = types.MethodType(forward, model)


def _forward(model: Any, spec: LossSpec, inputs: dict[str, Any]) -> LossOutput:
    from trl.trainer.utils import maybe_gather_lm_head_ctx

    labels, reference = inputs.pop("labels")[:, 1:], inputs.pop("reference", None)
    supervised = inputs.pop(SUPERVISED, None)
    router = getattr(model.config.get_text_config(), "output_router_logits", False)
    if router:
        inputs.setdefault("output_router_logits", True)
    if spec.reference and reference is None:
        reference = _base_log_p(model, labels, inputs)
    outputs = body_of(model)(**{**inputs, "use_cache": False})
    head = head_of(model)
    hidden = outputs.last_hidden_state[:, :-1].to(head.weight.device)
    labels = labels.to(head.weight.device)
    if reference is not None:
        reference = reference[:, -labels.shape[1] :].to(head.weight.device)
    with maybe_gather_lm_head_ctx(head.weight, head.bias):  # ZeRO-3
        sums = fused_loss(
            spec, hidden, head.weight, labels, bias=head.bias, softcap=head.softcap,
            scale=head.scale, places=_places(labels, inputs.get("position_ids")),
            reference=reference, num_items=1,
            supervised=None if supervised is None else flat_places(supervised, labels),
        )  # fmt: skip
    return LossOutput(
        loss=sums.loss,
        cross_entropy=sums.cross_entropy,
        weight=sums.mean_weight,
        entropy=sums.entropy,
        correct=sums.accuracy,
        tokens=(labels != IGNORE).sum(),
        aux_loss=_aux_loss(model, outputs, inputs) if router else None,
    )


def has_adapter(model: Any) -> bool:
    """Whether a model has adapters on it, whose base is the model before training."""
    return bool(_adapter_layers(model))


def _adapter_layers(model: Any) -> list[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)]


def _base_log_p(model: Any, labels: Tensor, inputs: dict[str, Any]) -> Tensor:
    """The log-probability of each label under the base, its adapters switched off.

    Raises:
        TrainingError: there is no adapter, so that the base is not there any more.
    """
    layers = _adapter_layers(model)
    if not layers:
        raise TrainingError(
            "The loss looks at a reference model. Give the input 'reference', log p of each token, "
            "or train an adapter, whose base is the reference."
        )
    was_training, disabled = model.training, [layer.disable_adapters for layer in layers]
    try:
        model.eval()
        for layer in layers:
            layer.enable_adapters(False)
        with torch.no_grad():
            states = body_of(model)(**{**inputs, "use_cache": False}).last_hidden_state
        head = head_of(model)
        y = labels.to(head.weight.device)
        return label_log_p(states[:, :-1].to(head.weight.device), head, y)
    finally:
        for layer, off in zip(layers, disabled, strict=True):
            layer.enable_adapters(not off)
        model.train(was_training)


REFERENCE_TOKENS = 256
"""Tokens whose logits under the reference are there together."""


@torch.no_grad()  # type: ignore[untyped-decorator]
def label_log_p(hidden: Tensor, head: Head, labels: Tensor) -> Tensor:
    """log softmax(z)[y] of each label in float32, 0 where it is -100."""
    supervised = labels != IGNORE
    states, y = hidden[supervised], labels[supervised]
    found = [
        -cross_entropy(head.logits(states[part]).float(), y[part], reduction="none")
        for part in torch.arange(len(y), device=y.device).split(REFERENCE_TOKENS)
    ]
    values = torch.cat(found) if found else states.new_zeros(0, dtype=torch.float32)
    return torch.zeros(labels.shape, device=y.device).masked_scatter(supervised, values)


def _places(labels: Tensor, position_ids: Tensor | None) -> Places:
    """Packed documents lie in one row, and each starts at position 0."""
    if position_ids is None:
        return completion_places(labels)
    documents = (position_ids == 0).long().cumsum(-1)[..., 1:].to(labels.device)
    return completion_places(labels, documents - documents[..., :1])


def _aux_loss(model: Any, outputs: Any, inputs: dict[str, Any]) -> Tensor:
    """The load-balancing loss of a mixture of experts, as the model's own forward pass adds it."""
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    config = model.config.get_text_config()
    experts = getattr(config, "num_experts", None) or config.num_local_experts
    loss: Tensor = load_balancing_loss_func(
        outputs.router_logits, experts, config.num_experts_per_tok, inputs.get("attention_mask")
    )
    return loss


def _shape_of_logits(config: Any) -> tuple[float | None, float]:
    """Soft-cap and scale, under the names that transformers' configurations give them."""
    scale = 1.0
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(config, name, None) is not None:
            scale = float(getattr(config, name))
            break
    else:
        scaling = getattr(config, "logits_scaling", None)
        scaling = scaling or getattr(config, "logits_mup_width_multiplier", None)
        if scaling is not None:  # a divisor, but for HyperCLOVA X
            scale = float(scaling) if config.model_type == "hyperclovax" else 1 / float(scaling)
    caps = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
    return next((cap for name in caps if (cap := getattr(config, name, None))), None), scale
