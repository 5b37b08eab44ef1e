from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from tofu_eval.errors import ConfigError, TrainingError
from tofu_eval.training.loop import StepLog, train
from tofu_eval.training.losses import LOSSES, LossSpec, ce, tofu

VOCABULARY = 23


def llama(seed: int = 0) -> Any:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=16,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def gpt2() -> Any:
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GPT2LMHeadModel(config).eval()


def batch() -> dict[str, Tensor]:
    """Four rows: a prompt of three tokens, a completion, and padding in two of them."""
    ids = torch.randint(3, VOCABULARY, (4, 10), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 7:] = mask[2, 5:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :3] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def weights(model: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["ce", "focal", "tofu", "gem", "dft"])
def test_a_tiny_llama_learns_a_batch_by_heart(name):
    model = llama()
    logs = train(model, repeat(batch()), LOSSES.get(name)(), lr=3e-3, steps=120, warmup=5)
    assert logs[0].cross_entropy == pytest.approx(3.14, abs=0.3)  # ln 23: it starts from nothing
    assert logs[-1].cross_entropy < 0.4  # a tempered loss stays flat at temperature 1
    data = batch()
    with torch.no_grad():
        guess = model(**{k: data[k] for k in ("input_ids", "attention_mask")}).logits.argmax(-1)
    target = data["labels"][:, 1:]
    assert torch.equal(guess[:, :-1][target != -100], target[target != -100])


@pytest.mark.parametrize("make", [llama, gpt2])
def test_labels_are_shifted_as_transformers_does(make):
    model = make()
    with torch.no_grad():
        expected = model(**batch()).loss.item()
    [log] = train(model.eval(), [batch()], ce(), lr=1e-3, steps=1)
    # gpt2 has dropout, which training switches on
    assert log.cross_entropy == pytest.approx(expected, rel=1e-5 if make is llama else 0.1)
    assert log.loss == log.cross_entropy
    assert log.mean_weight == 1


def test_a_log_a_step_with_warmup_and_cosine():
    seen: list[tuple[str, int, int]] = []
    logs = train(
        llama(), repeat(batch()), tofu(), lr=0.01, steps=6, warmup=2,
        report=lambda *told: seen.append(told), stage="tofu",
    )  # fmt: skip
    assert [log.step for log in logs] == [1, 2, 3, 4, 5, 6]
    # 0.01 * (1 + cos(pi k / 4)) / 2 for k = 0..3 after two steps of rise from 0
    expected = [0, 0.005, 0.01, 0.008535533905932738, 0.005, 0.0014644660940672627]
    assert [log.learning_rate for log in logs] == pytest.approx(expected)
    assert seen == [("tofu", step, 6) for step in range(1, 7)]
    assert all(log.loss != log.cross_entropy for log in logs)


def test_the_same_again_gives_the_same_to_the_bit():
    runs = []
    for _ in range(2):
        model = llama()
        runs.append((train(model, repeat(batch()), tofu(), lr=3e-3, steps=5), weights(model)))
    assert runs[0][0] == runs[1][0]
    assert equal(runs[0][1], runs[1][1])


def test_the_loop_draws_no_random_numbers():
    before = torch.get_rng_state()
    train(llama(), repeat(batch()), ce(), lr=1e-3, steps=2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("setting", [{"clip": 0.01}, {"weight_decay": 0.5}, {"warmup": 2}])
def test_each_setting_changes_the_weights(setting):
    results = []
    for settings in ({}, setting):
        model = llama()
        train(model, repeat(batch()), ce(), lr=3e-3, steps=4, **settings)
        results.append(weights(model))
    assert not equal(*results)


def nan_at(step: int) -> LossSpec:
    calls = iter(range(1, 1000))

    def weight(stats: Any) -> Tensor:
        return torch.full_like(stats.log_p, torch.nan if next(calls) == step else 1.0)

    return LossSpec("broken", weight)


def test_a_loss_that_is_not_finite_stops_at_the_last_good_step():
    model = llama()
    good: list[dict[str, Tensor]] = []
    with pytest.raises(TrainingError) as caught:
        train(
            model, repeat(batch()), nan_at(3), lr=1e-3, steps=9,
            report=lambda *_: good.append(weights(model)),
        )  # fmt: skip
    assert str(caught.value) == (
        "Training stopped at step 3 of 9: the loss is nan, expected a finite number. "
        "Try a smaller learning rate."
    )
    assert len(good) == 2
    assert equal(weights(model), good[-1])
    assert not model.training


def test_a_gradient_that_is_not_finite_stops_too():
    model = llama()
    start = weights(model)
    model.lm_head.weight.register_hook(lambda grad: grad * torch.inf)
    with pytest.raises(
        TrainingError, match=r"stopped at step 1 of 2: the gradient norm is (nan|inf)"
    ):
        train(model, repeat(batch()), ce(), lr=1e-3, steps=2)
    assert equal(weights(model), start)
    assert all(p.grad is None for p in model.parameters())


def test_batches_that_end_early():
    with pytest.raises(TrainingError) as caught:
        train(llama(), [batch()] * 2, ce(), lr=1e-3, steps=3)
    assert str(caught.value) == (
        "The batches ended after step 2 of 3; give at least as many batches as steps."
    )


def test_no_batch_too_many_is_taken():
    taken = []

    def stream() -> Iterator[dict[str, Tensor]]:
        for number in range(10):
            taken.append(number)
            yield batch()

    train(llama(), stream(), ce(), lr=1e-3, steps=3)
    assert taken == [0, 1, 2]


def test_dropout_is_on_while_it_trains():
    model = gpt2()
    modes: list[bool] = []
    model.register_forward_hook(lambda *_: modes.append(model.transformer.drop.training))
    train(model, [batch()], ce(), lr=1e-3, steps=1)
    assert modes == [True]
    assert not model.transformer.drop.training


def test_frozen_weights_and_the_mode_stay():
    model = llama().train()
    model.lm_head.weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    train(model, repeat(batch()), ce(), lr=1e-2, steps=3, weight_decay=0.1)
    changed = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert "lm_head.weight" not in changed
    assert "model.layers.0.mlp.up_proj.weight" in changed
    assert model.training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr is 0.0; expected a finite number > 0."),
        ({"lr": float("nan")}, "lr is nan; expected a finite number > 0."),
        ({"steps": 0}, "steps is 0; expected a finite number >= 1."),
        ({"warmup": 5}, "warmup is 5; expected a finite number >= 0 and < 5 steps."),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; expected a finite number >= 0."),
        ({"clip": 0.0}, "clip is 0.0; expected a finite number > 0."),
    ],
)
def test_bad_settings(settings, message):
    model = llama()
    start = weights(model)
    with pytest.raises(ConfigError) as caught:
        train(model, repeat(batch()), ce(), **{"lr": 1e-3, "steps": 5, **settings})
    assert str(caught.value) == message
    assert equal(weights(model), start)


def test_a_step_log_is_plain_numbers():
    [log] = train(llama(), [batch()], tofu(), lr=1e-3, steps=1)
    assert isinstance(log, StepLog)
    assert type(log.loss) is type(log.gradient_norm) is type(log.learning_rate) is float
