"""Every task that is downloaded, from data on the disk: loaded, run on a tiny model, scored."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import tofu_eval as te
from tofu_eval.core.types import Prompt
from tofu_eval.run.store import Run
from tofu_eval.tasks import TASKS, load_task, render

DOWNLOADED = sorted(
    entry.name for entry in TASKS.entries() if entry.item is not None and entry.item.data
)
GREEDY = ("arc-challenge", "arc-challenge-letter", "mmlu", "mmlu-letter")
FORMATS = ("base", "sft", "chat")
PROMPTS = {"human-replies": 1, "human-stories": 1}
"""Where the rows on the disk are answers to one prompt."""

OF_MODELS = {"utility_k", "reward", "judge_rating", "attack_success_rate_judged"}
"""What is left out where no reward model and no judge is named."""


def prompts(task: str, data_dir: Path) -> list[Prompt]:
    return list(load_task(task, data_dir).load())


def test_all_that_is_downloaded_is_tried_here() -> None:
    assert len(DOWNLOADED) == 19


@pytest.mark.parametrize("task", DOWNLOADED)
def test_it_is_loaded_and_put_in_each_format(task: str, data_dir: Path) -> None:
    found = prompts(task, data_dir)
    assert len(found) == PROMPTS.get(task, 2)
    for prompt in found:
        assert prompt.text == prompt.text.strip() != ""
        assert render(prompt, "base") == (prompt.text, None)
        sft, _ = render(prompt, "sft")
        assert sft is not None
        assert prompt.text in sft
        assert render(prompt, "chat") == (None, prompt.messages)


def test_a_word_problem_asks_for_a_box_and_has_the_bare_number(data_dir: Path) -> None:
    one, other = prompts("gsm8k", data_dir)
    assert one.text == (
        "Problem:\nMia has 3 bags of 4 plums. How many plums?\n\n"
        "Solve it step by step and put the final answer in \\boxed{}.\n\nSolution:"
    )
    assert (one.references, other.references) == (("12",), ("1250",))


def test_math_keeps_subject_and_level(data_dir: Path) -> None:
    one, _ = prompts("math-500", data_dir)
    assert one.id == "test/algebra/1.json"
    assert one.references == ("\\frac{3}{4}",)
    assert one.metadata == {
        "problem": "Find $1/2 + 1/4$.", "subject": "Algebra", "level": "2"
    }  # fmt: skip
    assert [p.references for p in prompts("minerva-math", data_dir)] == [("4e30",), ("4.5",)]


def test_a_choice_is_a_letter(data_dir: Path) -> None:
    one, other = prompts("mmlu", data_dir)
    assert one.text == (
        "Question: Which is a fruit?\nA. oak\nB. pear\nC. moss\nD. fern\n\n"
        "Give the letter of the right choice.\nAnswer:"
    )
    assert (one.references, other.references) == (("B",), ("A",))
    assert one.metadata["subject"] == "botany"
    assert json.loads(other.metadata["choices"]) == ["true", "false", "both", '"none"']


def test_choices_that_are_numbered_get_letters_too(data_dir: Path) -> None:
    one, other = prompts("arc-challenge", data_dir)
    assert other.text.startswith("Question: What flies?\nA. stone\nB. kite\n")
    assert (one.id, one.references, other.references) == ("a-1", ("A",), ("B",))


def test_blank_requests_do_not_count(data_dir: Path) -> None:
    assert [p.id for p in prompts("novelty-bench-wildchat", data_dir)] == [
        "WildChat-0", "WildChat-2"
    ]  # fmt: skip


def test_a_story_of_a_person_is_the_reference(data_dir: Path) -> None:
    one, _ = prompts("writing-prompts", data_dir)
    assert one.references == ("In the morning the boats lay on sand.",)
    assert "[WP] The sea is gone." in one.text


@pytest.fixture(scope="module")
def run(
    data_dir: Path, long_chat_model: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Each task in each format on one tiny model: 2 prompts, 2 samples (1 where it is greedy)."""
    path = tmp_path_factory.mktemp("run") / "all"
    models = dict.fromkeys(FORMATS, long_chat_model)
    shared = {
        "format": {format: format for format in FORMATS},
        "data_dir": data_dir,
        "limit": 2,
        "max_tokens": 8,
        "embedding": {"model": str(encoder)},
        "equivalence": {"method": "exact"},
        "device": "cpu",
        "engine": "transformers",
    }
    te.evaluate(models, GREEDY, path, **shared)
    others = [task for task in (*DOWNLOADED, "random-choice") if task not in GREEDY]
    te.evaluate(models, others, path, samples=2, **shared)
    return Run.open(path)


@pytest.mark.parametrize("task", [*DOWNLOADED, "random-choice"])
def test_it_is_run_and_scored(run: Run, task: str) -> None:
    wanted = set(load_task(task).metrics) - OF_MODELS
    samples = 1 if task in GREEDY else 2
    rows = run.scores().to_pylist()
    for model in FORMATS:
        assert len(run.response_keys(model, task)) == PROMPTS.get(task, 2) * samples
        mine = [row for row in rows if (row["model"], row["task"]) == (model, task)]
        assert wanted <= {row["metric"] for row in mine}
        assert all((row["value"] is None) == bool(row["reason"]) for row in mine)
    told = run.manifest["tasks"][task]
    assert told["licence"]
    assert told["citation"]
    if task in DOWNLOADED:
        assert "folder" in told["data"] or len(told["data"]["sha256"]) == 64


def test_what_is_left_out_is_told(run: Run) -> None:
    told = [note for note in run.manifest["notes"] if "not computed" in note]
    assert told == [
        "creative-stories: without --reward-model, not computed: reward",
        "harmbench: without --harm-model or --judge-model, not computed: "
        "attack_success_rate_judged",
        "malicious-instruct: without --harm-model or --judge-model, not computed: "
        "attack_success_rate_judged",
        "novelty-bench-curated: without --reward-model, not computed: utility_k",
        "novelty-bench-wildchat: without --reward-model, not computed: utility_k",
        "poems: without --reward-model, not computed: reward",
        "short-stories: without --judge-model, not computed: judge_rating",
        "small-prompts: without --judge-model, not computed: judge_rating",
        "writing-prompts: without --reward-model, not computed: reward",
    ]


@pytest.mark.parametrize(("task", "said"), [("gsm8k", "So \\boxed{12}."), ("mmlu", "B")])
def test_right_answers_are_found_right(
    task: str, said: str, data_dir: Path, tmp_path: Path
) -> None:
    """An engine that always says the first prompt's answer is right on one prompt of two."""
    from tofu_eval.core.types import Response

    class Says:
        family = "says"
        identity = {"kind": "says", "text": said}  # noqa: RUF012

        def generate(self, requests, done=()):
            yield [
                Response(r.key, r.model, r.task, r.prompt_id, r.sample, said, seed=r.seed)
                for r in requests
            ]

        def close(self) -> None:
            pass

    result = te.evaluate({"m": Says()}, task, tmp_path / "run", data_dir=data_dir)
    means = {row["metric"]: row["value"] for row in result.estimates.to_pylist()}
    assert means["accuracy"] == 0.5
    assert means["unparsable_rate"] == 0.0
    if task == "gsm8k":
        assert means["pass_at_16"] == means["majority_vote"] == 0.5


def test_choices_may_be_scored_instead(
    data_dir: Path, long_chat_model: Path, tmp_path: Path
) -> None:
    """As docs/tasks.md says: a copy of the task file with `scoring: likelihood`."""
    text = Path(load_task("mmlu").origin.rpartition(":")[0]).read_text("utf-8")
    for old, new in (
        ("verifier: choice", "scoring: likelihood"),
        ("- accuracy", "- acc"),
        ("- unparsable_rate", "- acc_norm"),
    ):
        assert old in text
        text = text.replace(old, new)
    copy = tmp_path / "mmlu.yaml"
    copy.write_text(text, "utf-8")
    result = te.evaluate(
        {"m": long_chat_model},
        copy,
        tmp_path / "run",
        data_dir=data_dir,
        engine="transformers",
        device="cpu",
    )
    values = {row["metric"]: row["value"] for row in result.estimates.to_pylist()}
    assert values.keys() == {"acc", "acc_norm"}
    assert set(values.values()) <= {0.0, 0.5, 1.0}


@pytest.mark.slow
def test_the_published_gsm8k_runs(long_chat_model: Path, tmp_path: Path) -> None:
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("TOFU_EVAL_SHARED_DATA", beside)) / "gsm8k"
    if not (folder / "gsm8k.jsonl").is_file():
        pytest.skip(f"no {folder}/gsm8k.jsonl: set TOFU_EVAL_SHARED_DATA")
    result = te.evaluate(
        {"m": long_chat_model},
        "gsm8k",
        tmp_path / "run",
        data_dir=folder,
        engine="transformers",
        device="cpu",
        limit=3,
        samples=2,
        max_tokens=8,
    )
    assert {row["n"] for row in result.estimates.to_pylist() if row["metric"] == "accuracy"} == {3}
    assert Run.open(tmp_path / "run").responses("m", "gsm8k").num_rows == 6
