"""Features: declared in one file, opened when a metric needs them, with flags of their own."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import tofu_eval as te
from tofu_eval.cli import main
from tofu_eval.core.errors import ConfigError, DuplicateNameError, PluginError
from tofu_eval.core.registry import Registry
from tofu_eval.core.sections import section, setting, settings_of
from tofu_eval.features import FEATURES, Opening, feature
from tofu_eval.features.embedding import EmbeddingSettings
from tofu_eval.features.nli import InferenceSettings
from tofu_eval.features.open import open_features
from tofu_eval.features.settings import read_settings
from tofu_eval.metrics import METRICS, Metric
from tofu_eval.pipeline.score_groups import score
from tofu_eval.run.store import Run

PLUGINS = Path(__file__).parents[1] / "plugins"
PLUGIN = PLUGINS / "tofu_eval_perplexity" / "src" / "tofu_eval_perplexity.py"
TEXTS = ("An old clock.", "A river", "Name a fruit, a river, a colour.")
GROUP = te.Group(te.Prompt.of_text("1", "Name a fruit."), TEXTS)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test registers is gone after it."""
    FEATURES.load_all()
    METRICS.load_all()
    before = [(registry, dict(registry._items)) for registry in Registry._all]
    yield
    for registry, items in before:
        registry._items = items


def needing(*needs: str) -> Metric:
    return Metric("mine", lambda *rows: float(np.mean(rows)), "none", needs)


class Letters:
    """How many letters a text has."""

    identity: Mapping[str, Any] = {"kind": "rule"}
    signature = "letters@1"

    def key(self, prompt: te.Prompt, text: str) -> str:
        return text

    def compute(self, pairs: Sequence[tuple[te.Prompt, str]]) -> Any:
        return [[sum(map(str.isalpha, text))] for _, text in pairs]


def score_mine(texts: Sequence[str] = TEXTS, needs: tuple[str, ...] = ("letters",)) -> Any:
    te.metric(name="mine", direction="none", needs=needs)(lambda rows: float(np.mean(rows)))
    made = score(te.Group(GROUP.prompt, tuple(texts)), metrics=["mine"])
    return made.scores.column("value").to_pylist()[0]


def test_a_feature_and_a_metric_in_a_few_lines() -> None:
    feature(name="letters")(Letters)
    assert score_mine(["ab", "a.", "."]) == pytest.approx(1.0)


def test_a_feature_of_groups_is_made_from_others() -> None:
    feature(name="letters")(Letters)

    @feature(name="rank", level="group", needs=("letters",))
    class Rank:
        identity: Mapping[str, Any] = {"kind": "rule"}
        signature = "rank@1"

        def compute(self, groups: Any, cache: Any, report: Any) -> Any:
            rows = [np.ravel(group.features["letters"]) for group in groups]
            return [{"rank": row.argsort().argsort()} for row in rows]

    assert list(open_features(read_settings({}), [needing("rank")])) == ["letters", "rank"]
    assert score_mine(needs=("rank",)) == 1.0


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda self, pairs: [[1.0]], "gave an array of shape (1, 1) for 3 responses, expected"),
        (lambda self, pairs: [["a"]] * 3, "gave something else than rows of numbers: could not"),
        (lambda self, pairs: 1 / 0, "failed: ZeroDivisionError: division by zero. Use other"),
        (lambda self, pairs: np.zeros((3, 1, 1)), "gave an array of shape (3, 1, 1) for 3"),
    ],
)
def test_a_feature_that_gives_something_else_is_one_line(compute: Any, message: str) -> None:
    feature(name="letters")(type("Wrong", (Letters,), {"compute": compute}))
    with pytest.raises(PluginError) as caught:
        score_mine()
    assert str(caught.value).startswith(f"The feature 'letters' {message}")


def test_what_a_feature_lacks_is_named() -> None:
    @feature(name="letters")
    def nothing() -> object:
        return object()

    with pytest.raises(PluginError, match="has no identity and no signature and no compute and no"):
        open_features(read_settings({}), [needing("letters")])


def test_a_feature_that_is_made_from_itself() -> None:
    feature(name="one", needs=("other",))(Letters)
    feature(name="other", needs=("one",))(type("Other", (Letters,), {}))
    with pytest.raises(ConfigError, match="'one' is made from itself: one > other > one"):
        open_features(read_settings({}), [needing("one")])


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"name": "text"}, "The feature 'text' needs a name of small letters"),
        ({"name": "My Feature"}, "The feature 'My Feature' needs a name of small letters"),
        ({"name": "mine", "level": "corpus"}, "has the level 'corpus'; expected 'text' or 'gro"),
        ({"name": "mine", "wants": ("mine.model",)}, "wants the setting 'mine.model', which none"),
    ],
)
def test_a_declaration_that_is_impossible(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        feature(**facts)(Letters)
    assert message in str(caught.value)


def test_a_name_or_a_section_that_is_taken() -> None:
    with pytest.raises(DuplicateNameError, match="Two features are called 'embedding': "):
        feature(name="embedding")(Letters)

    @section("reward", title="Mine")
    class Mine:
        model: str = setting("x", help="A model.")

    with pytest.raises(DuplicateNameError, match="Two sections of settings are called 'reward'"):
        feature(name="letters", settings=(Mine,))(Letters)


def test_a_section_that_is_declared_wrongly() -> None:
    with pytest.raises(ConfigError, match="field 'model' of the section 'mine' has no default or"):

        @section("mine", title="Mine")
        class NoHelp:
            model: str = "x"

    with pytest.raises(ConfigError, match="The flag --seed of the section 'mine' should be --mine"):

        @section("mine", title="Mine")
        class OfOthers:
            seed: int = setting(0, flag="--seed", help="A seed.")

    with pytest.raises(ConfigError, match="The section 'My Own' of the settings needs a name of"):
        section("My Own", title="Mine")


def test_a_need_that_nothing_makes() -> None:
    with pytest.raises(ConfigError, match="Metric 'mine' needs 'texts'; it can be given answer, "):
        open_features(read_settings({}), [needing("texts")])
    with pytest.raises(ConfigError, match="needs 'reference_nli'; it can be given"):
        open_features(read_settings({}), [needing("reference_nli")])


@pytest.mark.parametrize("groups", [["apple", "pear"], "apple", [("apple", "pear")], 3, [None]])
def test_what_is_no_group_is_one_line(groups: Any) -> None:
    with pytest.raises(ConfigError, match=r"takes Groups of responses, got .* Write: te.Group"):
        score(groups)


@pytest.mark.parametrize("arguments", [("Name it.", ("a", "b")), (("a", "b"), GROUP.prompt)])
def test_a_group_made_of_texts_in_the_wrong_place_is_one_line(arguments: Any) -> None:
    with pytest.raises(ConfigError, match="The first part of a Group is its Prompt, got"):
        te.Group(*arguments)


@pytest.mark.parametrize("texts", ["apple", 3, None, (GROUP,), GROUP.prompt])
def test_a_group_of_something_else_than_texts_is_one_line(texts: Any) -> None:
    with pytest.raises(ConfigError, match="The texts of a Group must be a tuple of strings, got"):
        te.Group(GROUP.prompt, texts)


def test_the_built_in_flags_follow_from_the_sections() -> None:
    made = next((one.flag, one.kind, one.default) for one in settings_of(InferenceSettings))
    assert made == ("--nli-model", str, "FacebookAI/roberta-large-mnli")
    done = CliRunner().invoke(main, ["run", "--help-all"])
    assert done.exit_code == 0, done.output
    headings = [line for line in done.output.splitlines() if line and line[0] != " "]
    groups = ["Models:", "Tasks:", "Sampling:", "Engine:", "Scoring:", "Output:"]
    assert headings[1:8] == [*groups, "Answers:"]
    assert {"Judge:", "Reward model:", "Harm:"} < set(headings)
    short = CliRunner().invoke(main, ["run", "--help"]).output
    told = [line for line in short.splitlines() if line and line[0] != " "]
    assert told[1:7] == groups
    assert len(short.splitlines()) < 60
    assert "--nli-model" in " ".join(told[7:])
    assert "--judge-*" in " ".join(told[7:])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from tofu_eval.cli import main\n"
        "done = CliRunner().invoke(main, ['score', '--help-all', '--metric', sys.argv[1]])\n"
        "assert '--perplexity-model' in done.output, done.output\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, PLUGIN], capture_output=True, text=True, check=True
    )
    heavy = {
        "numpy",
        "tofu_eval.core.scripts",
        "importlib.metadata",
        "pyarrow",
        "pydantic",
        "yaml",
        "torch",
        "transformers",
        "jinja2",
        "nltk",
    }
    assert heavy.isdisjoint(done.stdout.split())


# A file that the user names


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "Name a fruit.", "responses": list(TEXTS)}) + "\n")
    return path


def values(path: Path) -> dict[str, Any]:
    return {row["metric"]: row["value"] for row in Run.open(path).scores().to_pylist()}


def test_the_file_of_the_plugin_under_a_tiny_model(
    rows: Path, tiny_model: Path, tmp_path: Path
) -> None:
    assert len(PLUGIN.read_text("utf-8").splitlines()) <= 60
    command = ["score", rows, "--output", tmp_path / "run", "--metric", PLUGIN, "--device", "cpu"]
    done = run(*command, "--perplexity-model", tiny_model)
    assert done.exit_code == 0, done.output
    expected = sorted(perplexity(tiny_model, text) for text in TEXTS)[1]
    assert values(tmp_path / "run")["median_perplexity"] == pytest.approx(expected, rel=1e-4)
    (estimate,) = Run.open(tmp_path / "run").estimates()
    assert "|perplexity:tiny@" in estimate.signature
    assert "|file:" in estimate.signature
    settings = Run.open(tmp_path / "run").manifest["settings"]
    assert settings["perplexity"] == {"model": str(tiny_model), "max_tokens": 1024}
    assert settings["metrics"] == ["median_perplexity"]


def perplexity(path: Path, text: str) -> float:
    """By hand: a softmax a token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    start = tokenizer("Name a fruit.\n")["input_ids"]
    ids = start + tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(path)(torch.tensor([ids])).logits[0]
    logprobs = logits.double().log_softmax(-1)
    told = [logprobs[i - 1, ids[i]].item() for i in range(len(start), len(ids))]
    return math.exp(-sum(told) / len(told))


METRIC = """
from tofu_eval import metric

@metric(name="exclaims", direction="none", needs=("text",))
def exclaims(texts):
    return {value}
"""


def test_an_edited_metric_file_is_scored_again(rows: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    for value in ("0.25", "0.75"):
        mine.write_text(METRIC.format(value=value))
        more = ["--metric", "unique_rate", "--workers", 2 if value == "0.75" else 1]
        done = run("score", rows, "--output", tmp_path / "run", "--metric", mine, *more)
        assert done.exit_code == 0, done.output
        assert values(tmp_path / "run")["exclaims"] == float(value)


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--metric", "import nothing_of_the_kind", ":1: ModuleNotFoundError: No module named 'no"),
        ("--metric", "x = 1\nif x\n", ":2: SyntaxError: expected ':'"),
        ("--metric", "x = 1\n", " has no metric: nothing in it is decorated with @metric. List"),
        ("--reward-model", "x = 1\n", " has no reward model: nothing in it is decorated with @re"),
        ("--judge-model", "x = 1\n\ny = 1 / 0\n", ":3: ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(
    option: str, text: str, message: str, rows: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(text)
    done = run("score", rows, "--output", tmp_path / "run", option, mine)
    assert done.exit_code == 2
    assert f"mine.py{message}" in done.output


REWARD = """
from tofu_eval import reward_model

@reward_model(name="length")
def length(pairs):
    return [float(len(text)) for _, text in pairs]
"""


def test_a_reward_model_in_a_file(rows: Path, tmp_path: Path) -> None:
    mine = tmp_path / "my_reward.py"
    mine.write_text(REWARD)
    command = ["score", rows, "--output", tmp_path / "run", "--metric", "unique_rate"]
    done = run(*command, "--reward-model", mine)
    assert done.exit_code == 0, done.output
    assert values(tmp_path / "run")["reward"] == pytest.approx(sum(map(len, TEXTS)) / 3)
    mine.write_text(REWARD.replace("float(len(text))", "-1.0"))
    done = run(*command, "--reward-model", mine)
    assert values(tmp_path / "run")["reward"] == -1.0
    mine.write_text(REWARD + REWARD.replace("length", "other"))
    done = run(*command, "--reward-model", mine)
    assert done.exit_code == 2
    assert "has 2 reward models, expected one: length, other. Leave one" in done.output


def test_a_name_in_a_run_never_runs_a_file(rows: Path, tmp_path: Path) -> None:
    """`runs` of others are read: their settings may name any file."""
    from tofu_eval.features.settings import stored_settings
    from tofu_eval.metrics import find

    mine = tmp_path / "mine.py"
    mine.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    stored = stored_settings({"metrics": [str(mine)], "reward": {"model": str(mine)}, "gone": {}})
    with pytest.raises(te.TofuEvalError):
        find((stored.metrics or ("",))[0])
    with pytest.raises(te.TofuEvalError):
        open_features(stored, [needing("reward")])
    assert not (tmp_path / "ran").exists()


def test_an_opening_has_what_a_feature_is_opened_with() -> None:
    seen: list[Opening] = []

    @feature(name="letters", settings=(EmbeddingSettings,))
    def open_letters(opening: Opening) -> Letters:
        seen.append(opening)
        return Letters()

    chosen = read_settings({"seed": 7, "device": "cpu", "embedding": {"model": "m"}})
    open_features(chosen, [needing("letters")])
    (opening,) = seen
    assert (opening.seed, opening.device, opening.isolate) == (7, "cpu", False)
    assert opening.settings(EmbeddingSettings) == EmbeddingSettings(model="m")
