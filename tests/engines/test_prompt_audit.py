from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.cli import main
from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Request, Response
from tofu_eval.pipeline import generate
from tofu_eval.pipeline.plan import Plan
from tofu_eval.run.store import Run
from tofu_eval.tasks import load_format

TASK = """\
name: fruit
version: 1
licence: CC0-1.0
source: here
citation: none
format: {format}
sampling: {{samples: 2, max_tokens: 8}}
prompts:
  - Name a fruit that few people know.
"""


@pytest.fixture
def copy(tiny_chat_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_chat_model, tmp_path / "copy"))


def audit(tmp_path: Path, *models: Path | str, format: str = "base") -> Result:
    (tmp_path / "fruit.yaml").write_text(TASK.format(format=format))
    args = [arg for model in models for arg in ("--model", str(model))]
    return CliRunner().invoke(main, ["audit", *args, "--task", str(tmp_path / "fruit.yaml")])


def run(tmp_path: Path, model: Path, format: str = "base") -> te.Result:
    (tmp_path / "fruit.yaml").write_text(TASK.format(format=format))
    options: dict[str, Any] = {"metrics": ["unique_rate"], "device": "cpu"}
    return te.evaluate({"m": model}, [tmp_path / "fruit.yaml"], tmp_path / "run", **options)


def template(model: Path, text: str) -> None:
    (model / "chat_template.jinja").write_text(text)


def test_the_exact_tokens_are_shown(tmp_path: Path, tiny_chat_model: Path) -> None:
    done = audit(tmp_path, f"m={tiny_chat_model}")
    assert done.exit_code == 0, done.output
    assert "m, fruit, prompt" in done.output
    assert "  1='<s>' " in done.output
    assert done.output.endswith("0 remarks, nothing fatal.\n")


def test_a_doubled_begin_stops_the_run(tmp_path: Path, copy: Path) -> None:
    template(copy, "{{ bos_token }}{{ bos_token }}{{ messages[0].content }}")
    done = audit(tmp_path, f"m={copy}", format="chat")
    assert done.exit_code == 2
    assert "begins with the beginning-of-sequence token 1 twice" in done.output
    with pytest.raises(ModelError, match="m: prompt '1' of task 'fruit' begins with the beg"):
        run(tmp_path, copy, "chat")
    assert not Run.open(tmp_path / "run").has_responses()


def test_a_missing_begin_is_remarked(tmp_path: Path, copy: Path) -> None:
    template(copy, "{{ messages[0].content }}")
    assert "begins without the beginning-of-sequence" in audit(
        tmp_path, f"m={copy}", format="chat"
    ).output  # fmt: skip
    notes = run(tmp_path, copy, "chat").notes
    assert any("begins without the beginning-of-sequence token 1" in note for note in notes)


def test_a_template_that_cuts_is_fatal(tmp_path: Path, copy: Path) -> None:
    template(copy, "{{ bos_token }}{{ messages[0].content[:10] }}")
    done = audit(tmp_path, f"m={copy}", format="chat")
    assert done.exit_code == 2
    assert "that few people know.' once it is tokens: it was cut" in done.output


def test_a_missing_template_and_templates_that_differ(
    tmp_path: Path, copy: Path, tiny_model: Path, tiny_chat_model: Path
) -> None:
    done = audit(tmp_path, f"m={tiny_model}", format="chat")
    assert done.exit_code == 2
    assert "has no chat template" in done.output
    template(copy, "{{ bos_token }}{{ messages[0].content }}")
    done = audit(tmp_path, f"base={tiny_chat_model}", f"sft={copy}", format="chat")
    assert "sft: its chat template differs from that of base" in done.output
    assert done.exit_code == 0
    done = audit(tmp_path, f"base={tiny_chat_model}", f"sft={copy}")
    assert "differs" not in done.output  # where it is not used


def test_ends_that_disagree(tmp_path: Path, copy: Path) -> None:
    path = copy / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": 7}))
    assert "the tokenizer ends with token 2, the generation config with 7" in audit(
        tmp_path, f"m={copy}"
    ).output  # fmt: skip


def test_too_long_is_fatal(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "x").mkdir()
    done = CliRunner().invoke(
        main,
        ["audit", "--model", f"m={tiny_model}", "--task", "open-prompts", "--max-tokens", "500"],
    )
    assert done.exit_code == 2
    assert "is too long for 'm'" in done.output


# No sample is another's copy by accident


def test_samples_of_a_prompt_have_keys_and_seeds_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prompts = (te.Prompt.of_text("p", "P"),)
    plan = Plan(te.Task("t", 1, lambda: prompts), prompts, te.Sampling(samples=50))
    # Seeds of three bits meet at once.
    short = generate.seed_of
    monkeypatch.setattr(generate, "seed_of", lambda *parts: short(*parts) % 64)
    made = generate.build_requests(plan, load_format("base"), "m", FakeEngine(), 0)
    assert len({request.key for request in made}) == len({r.seed for r in made}) == 50


@pytest.mark.slow
def test_samples_that_are_all_one_text_are_flagged(tmp_path: Path) -> None:
    class Caching(FakeEngine):
        def _response(self, request: Request) -> Response:
            made = super()._response(request)
            return Response(**{**{f: getattr(made, f) for f in made.__slots__}, "text": "same"})

    prompts = [te.Prompt.of_text("p0", "P"), te.Prompt.of_text("p1", "Q")]
    task = te.Task("t", 1, lambda: prompts, sampling=te.Sampling(samples=3, max_tokens=8))
    result = te.evaluate({"m": Caching()}, [task], tmp_path / "a", metrics=["unique_rate"])
    assert any("m: all samples of 2 of 2 prompts of t are one text" in n for n in result.notes)
    greedy = te.Task("t", 1, lambda: prompts, sampling=te.Sampling(1, 0.0, 1.0, 8))
    assert te.evaluate({"m": Caching()}, [greedy], tmp_path / "b").notes == ()
    assert te.evaluate({"m": FakeEngine()}, [task], tmp_path / "c").notes == ()
