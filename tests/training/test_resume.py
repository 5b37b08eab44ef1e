"""Trainings that are killed, interrupted, finished, or asked to go on as something else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tofu_eval import evaluate
from tofu_eval.core.errors import ConfigError, ModelError, StoreError, TrainingError
from tofu_eval.training import train, train_settings


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


KILLED = """
import os, sys, json
from tofu_eval.training import sft, train, train_settings
tell = sft.ReportProgress.on_step_end
def on_step_end(self, args, state, control, **more):
    tell(self, args, state, control, **more)
    if state.global_step == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
sft.ReportProgress.on_step_end = on_step_end
train(train_settings(json.loads(sys.argv[1])), resume=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {"r": 2, "lora_dropout": 0.1}], ids=["full", "lora"])
def test_killed_between_two_saves_and_resumed(fields, tmp_path, lora):
    """The same last loss, to the bit, and the same weights as an undisturbed run."""
    fields = {**fields, "lora": lora}
    undisturbed = train(train_settings({**fields, "output": tmp_path / "undisturbed"}))
    asked = json.dumps({**fields, "output": str(fields["output"])})
    for step in ("3", "8"):  # before the first save, and between two
        line = [sys.executable, "-c", KILLED, asked, step]
        assert subprocess.run(line, capture_output=True).returncode == -9
    assert json.loads((fields["output"] / "training.json").read_text())["status"] == "running"
    with pytest.raises(StoreError, match="unfinished training, with a checkpoint at step 5"):
        train(train_settings(fields))
    resumed = train(train_settings(fields), resume=True)
    # TRL counts its num_tokens from where the process began.
    last = [{**r.final, "num_tokens": None} for r in (resumed, undisturbed)]
    assert last[0] == last[1]
    name = "adapter_model.safetensors" if lora else "model.safetensors"
    one, other = load_file(resumed.path / name), load_file(undisturbed.path / name)
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_an_interrupted_save_leaves_the_checkpoint_before(fields, monkeypatch):
    whole = train(train_settings(fields))
    manifest = json.loads((whole.path / "training.json").read_text())
    expected = weights(whole.path)
    # As kill -9 leaves it in the middle of saving step 10: weights, but no trainer state.
    (whole.path / "training.json").write_text(json.dumps({**manifest, "status": "running"}))
    shutil.rmtree(whole.path / "checkpoint-12")
    (whole.path / "checkpoint-10" / "trainer_state.json").write_text('{"global_st')
    (whole.path / "checkpoint-10" / "optimizer.pt").write_bytes(b"half")
    (whole.path / "model.safetensors").unlink()
    told = []
    again = train(train_settings(fields), resume=True, report=lambda *m: told.append(m))
    assert told[0] == ("train out", 5, 12)
    assert all(torch.equal(w, expected[name]) for name, w in weights(again.path).items())


def test_what_a_killed_process_left_in_checkpoints_is_put_in_order(fields):
    done = train(train_settings({**fields, "max_steps": 5}))
    manifest = json.loads((done.path / "training.json").read_text())
    (done.path / "training.json").write_text(json.dumps({**manifest, "status": "running"}))
    saved = done.path / "checkpoint-5"
    named = (saved / "training.json").read_bytes()
    (saved / "training.json").unlink()  # what is written after the rest
    for name in (".tmphgKlWV", f".tmp-{'6b' * 16}"):  # safetensors' and ours
        (saved / name).write_bytes(b"half")
    train(train_settings({**fields, "max_steps": 5}), resume=True)
    assert not list(done.path.rglob(".tmp*"))
    again = json.loads((saved / "training.json").read_text())
    assert (again["format"], again["steps"]) == (json.loads(named)["format"], 5)


def test_when_finished_it_only_reads(fields):
    first = train(train_settings(fields))
    before = {f: f.stat().st_mtime_ns for f in first.path.rglob("*") if f.is_file()}
    for resume in (False, True):
        again = train(train_settings({**fields, "logging_steps": 3}), resume=resume)
        assert (again.final, again.steps) == (first.final, first.steps)
    assert {f: f.stat().st_mtime_ns for f in before} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 2e-3}, "has learning_rate=0.001, you asked for 0.002"),
        ({"loss": "ce"}, 'has loss="tofu", you asked for "ce"'),
        ({"loss_settings": {"gamma": 2.0}}, "has gamma=null, you asked for 2.0"),
        ({"format": "sft"}, "has format="),
        ({"lora": {"r": 2}}, 'has lora=null, you asked for {"r": 2}'),
    ],
)
def test_another_configuration_is_not_resumed(fields, change, message):
    train(train_settings({**fields, "max_steps": 5}))
    with pytest.raises(StoreError) as caught:
        train(train_settings({**fields, "max_steps": 5, **change}), resume=True)
    assert f"Cannot resume {fields['output']}: its training.json {message}" in str(caught.value)


def test_other_data_is_not_resumed(fields, rows, tmp_path):
    train(train_settings({**fields, "max_steps": 5}))
    copy = tmp_path / "copy.jsonl"
    copy.write_text(rows.read_text())
    train(train_settings({**fields, "max_steps": 5, "data": str(copy)}))  # the same rows
    copy.write_text("\n".join(rows.read_text().splitlines()[1:]))
    with pytest.raises(StoreError, match=r"its training\.json has data="):
        train(train_settings({**fields, "max_steps": 5, "data": str(copy)}))


def test_a_loss_that_is_not_finite_keeps_the_checkpoints(fields, base, tmp_path):
    broken = tmp_path / "broken"
    model = AutoModelForCausalLM.from_pretrained(base)
    AutoTokenizer.from_pretrained(base).save_pretrained(broken)
    model.save_pretrained(broken)
    huge = {**fields, "model": str(broken), "learning_rate": 1e30, "max_grad_norm": 0.0}
    with pytest.raises(TrainingError, match=r"stopped at step \d+ of 12: the loss is (nan|inf)"):
        train(train_settings(huge))
    assert json.loads((fields["output"] / "training.json").read_text())["status"] == "running"


def test_a_training_that_is_not_finished_is_not_asked(fields, tmp_path):
    path = train(train_settings({**fields, "max_steps": 1})).path
    manifest = json.loads((path / "training.json").read_text())
    (path / "training.json").write_text(json.dumps({**manifest, "status": "running"}))
    with pytest.raises(ModelError, match=r"The training of '.*' is not finished\. Finish it with"):
        evaluate({"m": str(path)}, "open-prompts", tmp_path / "run", limit=1, samples=1)


@pytest.mark.slow
def test_more_epochs_of_a_finished_training(fields, tmp_path):
    """As one that was asked for all of them at once, where the learning rate is constant."""
    constant = {**fields, "lr_scheduler_type": "constant"}
    train(train_settings({**constant, "max_steps": 4}))
    with pytest.raises(StoreError, match="max_steps=4, you asked for 7"):
        train(train_settings({**constant, "max_steps": 7}))
    longer = train(train_settings({**constant, "max_steps": 7}), resume=True)
    whole = train(train_settings({**constant, "max_steps": 7, "output": tmp_path / "whole"}))
    assert longer.steps == whole.steps == 7
    one, other = (load_file(r.path / "model.safetensors") for r in (longer, whole))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    with pytest.raises(StoreError, match=r"has learning_rate=0\.001, you asked for 0\.1"):
        train(train_settings({**constant, "max_steps": 9, "learning_rate": 0.1}), resume=True)


@pytest.mark.slow
def test_early_stopping(fields, rows, tmp_path):
    """At a learning rate of 0 nothing gets better: the first evaluation, and two more."""
    still = {"learning_rate": 0.0, "eval_data": str(rows), "eval_strategy": "steps"}
    asked = {**fields, **still, "eval_steps": 1, "save_steps": 1, "early_stopping": 2}
    assert train(train_settings(asked)).steps == 3
    with pytest.raises(ConfigError, match="early_stopping needs held-out rows to look at"):
        train(train_settings({**fields, "early_stopping": 2, "output": tmp_path / "b"}))
