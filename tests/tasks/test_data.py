"""Where data comes from: a folder, a pinned URL, a commit of the Hub, and what is said without."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.cli import main
from tofu_eval.core.errors import ConfigError, MissingDependencyError, StoreError
from tofu_eval.run.store import Run
from tofu_eval.tasks import check_registered, check_task, load_task
from tofu_eval.tasks.datasets import HubPrompts

HEAD = "name: fruit\nversion: 1\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = HEAD + (
    "dataset:\n  path: a/b\n  split: [test, train]\n  revision: {revision}\n"
    "  fields: {{prompt: [question, prompt]}}\n"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    return tmp_path


def hub_task(revision: str = COMMIT) -> str:
    Path("t.yaml").write_text(HUB.format(revision=revision))
    return "t.yaml"


def texts(task: str, data_dir: str | None = "data") -> list[str]:
    return [prompt.text for prompt in load_task(task, data_dir).load()]


def invoke(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


# A data folder


def test_a_file_of_the_tasks_name_is_read(here: Path) -> None:
    Path("data/fruit.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    loaded = load_task(hub_task(), "data").load()
    assert [prompt.text for prompt in loaded] == ["a", "b"]
    digest = hashlib.sha256(Path("data/fruit.jsonl").read_bytes()).hexdigest()
    assert loaded.data == {"file": "fruit.jsonl", "sha256": digest}


def test_a_file_that_is_no_parquet_is_one_line(here: Path) -> None:
    Path("data/fruit.parquet").write_text("not at all")
    with pytest.raises(ConfigError, match=r"^data/fruit\.parquet:1: not Parquet: ArrowInvalid: "):
        texts(hub_task())


def test_a_row_of_parquet_has_a_number(here: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"prompt": ["a", None]}), "data/fruit.parquet")
    with pytest.raises(ConfigError, match=r"^data/fruit\.parquet:1: row 2: prompt must be text or"):
        texts(hub_task())


@pytest.mark.parametrize("folder", ["a__b", "a/b"])
@pytest.mark.parametrize("split", ["test", "train"])
def test_a_datasets_folder_is_read_by_the_real_package(here: Path, folder: str, split: str) -> None:
    place = Path("data", folder)
    place.mkdir(parents=True)
    (place / f"{split}.jsonl").write_text('{"question": "a"}\n')
    assert texts(hub_task()) == ["a"]


def test_without_a_card_a_configuration_is_a_folder(here: Path) -> None:
    place = Path("data/a__b")
    for name in ("one", "two"):
        (place / name).mkdir(parents=True)
        (place / name / "test.jsonl").write_text(f'{{"prompt": "{name}"}}\n')
    hub_task()
    task = Path("t.yaml")
    task.write_text(task.read_text().replace("  split:", "  name: two\n  split:"))
    assert texts("t.yaml") == ["two"]


def test_what_is_not_there_names_the_command_that_fetches_it(here: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        texts(hub_task())
    assert str(caught.value) == (
        "No data for task 'fruit' in data: looked for fruit.jsonl, fruit.parquet, a__b/, a/b/. "
        f"Fetch it: hf download a/b --repo-type dataset --revision {COMMIT} --local-dir data/a__b"
    )
    with pytest.raises(ConfigError, match=r"^--data-dir nowhere: there is no such folder\. Fetch"):
        texts("t.yaml", "nowhere")


def test_an_unpinned_dataset_is_fetched_without_a_revision(here: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"Fetch it: hf download a/b --repo-type dataset --local-dir data/a__b$"
    ):
        texts(hub_task("unpinned"))


def test_none_of_the_fields_is_there(here: Path) -> None:
    Path("data/fruit.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(ConfigError) as caught:
        texts(hub_task())
    assert str(caught.value) == (
        "data/fruit.jsonl:1: none of the fields 'question', 'prompt' (prompt) is there, "
        "the row has 'text'"
    )


def test_a_folder_that_is_no_dataset_is_one_line(here: Path) -> None:
    Path("data/a__b").mkdir()
    with pytest.raises(ConfigError) as caught:
        texts(hub_task())
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("t.yaml:3: the dataset in data/a__b cannot be loaded: ")


# Commits of the Hub


class Hub:
    """A dataset of the Hub with two commits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[object] = []
        rows = [{"prompt": "a"}]

        def load(path: str, name: str | None, *, split: str, revision: str):
            self.asked.append((path, split, revision))
            return rows

        datasets = SimpleNamespace(
            load_dataset=load, get_dataset_split_names=lambda *_, **__: ["train"]
        )
        commits = [SimpleNamespace(commit_id=c * 40) for c in "ef"]
        api = SimpleNamespace(
            dataset_info=lambda path, timeout: SimpleNamespace(sha="e" * 40),
            list_repo_commits=lambda path, repo_type: commits,
        )
        monkeypatch.setitem(sys.modules, "datasets", datasets)
        hub = SimpleNamespace(HfApi=lambda: api)
        monkeypatch.setitem(sys.modules, "huggingface_hub", hub)


@pytest.mark.parametrize(
    ("revision", "commit"), [("unpinned", "e" * 40), ("fffffff", "f" * 40), (COMMIT, COMMIT)]
)
def test_a_run_knows_the_whole_commit(
    here: Path, monkeypatch: pytest.MonkeyPatch, revision: str, commit: str
) -> None:
    hub = Hub(monkeypatch)
    te.evaluate({"m": FakeEngine()}, hub_task(revision), "run", metrics=["unique_rate"])
    assert hub.asked == [("a/b", "train", commit)]
    told = Run.open(Path("run")).manifest["tasks"]["fruit"]["data"]
    assert told == {"dataset": "a/b", "revision": commit, "split": "train"}


def test_a_commit_that_is_not_there_is_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub(monkeypatch)
    with pytest.raises(
        ConfigError, match="LookupError: 0 commits of it begin with abcdef0, expected one"
    ):
        texts(hub_task("abcdef0"), None)


def test_a_run_goes_on_with_the_same_prompts_from_elsewhere(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub(monkeypatch)
    task, own = hub_task("unpinned"), {"metrics": ["unique_rate"]}
    te.evaluate({"m": FakeEngine()}, task, "run", **own)
    Path("data/fruit.jsonl").write_text('{"prompt": "a"}\n')
    te.evaluate({"m": FakeEngine()}, task, "run", data_dir="data", **own)
    assert "file" in Run.open(Path("run")).manifest["tasks"]["fruit"]["data"]
    Path("data/fruit.jsonl").write_text('{"prompt": "changed since"}\n')
    with pytest.raises(StoreError, match="Cannot resume run: its task 'fruit' has digest="):
        te.evaluate({"m": FakeEngine()}, task, "run", data_dir="data", **own)


# A pinned URL


def url_task(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    Path("u.yaml").write_text(
        HEAD + f"file:\n  url: https://example.org/x.jsonl\n  sha256: {digest}\n  rows: 2\n"
    )
    return "u.yaml"


ROWS = b'{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "c"}\n'


def downloads(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    def download(_: str) -> str:
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    manager = SimpleNamespace(download=download)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(DownloadManager=lambda: manager))


def test_a_download_is_checked_and_cut(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("cached").write_bytes(ROWS)
    downloads(monkeypatch, "cached")
    assert texts(url_task(ROWS), None) == ["a", "b"]
    with pytest.raises(ConfigError, match=r"^u\.yaml:3: https://example\.org/x\.jsonl has another"):
        texts(url_task(b"another"), None)


def test_a_download_that_fails_names_the_command(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads(monkeypatch, ConnectionError("no route"))
    with pytest.raises(ConfigError) as caught:
        texts(url_task(ROWS), None)
    assert str(caught.value) == (
        "u.yaml:3: https://example.org/x.jsonl cannot be had: ConnectionError: no route. Fetch it, "
        "and name --data-dir DIR: curl -L https://example.org/x.jsonl -o DIR/fruit.jsonl"
    )
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tofu-eval\[hf\]'"):
        texts("u.yaml", None)


def test_a_download_may_stand_in_the_data_folder(here: Path) -> None:
    Path("data/fruit.jsonl").write_bytes(ROWS)
    assert texts(url_task(ROWS)) == ["a", "b"]
    Path("data/fruit.jsonl").unlink()
    with pytest.raises(
        ConfigError, match=r"looked for fruit\.jsonl, fruit\.parquet\. Fetch it: cu"
    ):
        texts("u.yaml")


# Fields


def fields(spec: str, row: str) -> te.Prompt:
    Path("p.jsonl").write_text(row)
    Path("t.yaml").write_text(HEAD + f"file: {{path: p.jsonl, fields: {spec}}}\n")
    (prompt,) = load_task("t.yaml").load()
    return prompt


def test_templates_make_prompt_answer_and_metadata(here: Path) -> None:
    spec = (
        "{template: 'Q: {{ q }}', answer: \"{{ a.split('#')[1] }}\", where: '{{ q }}', "
        "computed: {upper: '{{ q | upper }}', none: '{{ gone | default(\"\") }}'}}"
    )
    prompt = fields(spec, '{"q": "why", "a": "so #1"}\n{"q": "", "a": ""}\n')
    assert (prompt.text, prompt.references) == ("Q: why", ("1",))
    assert prompt.metadata == {"upper": "WHY"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{template: '{{ gone }}'}", "p.jsonl:1: template: UndefinedError: 'gone' is undefined; "
         "the row has 'prompt'"),
        ("{template: '{{ prompt.__class__.__mro__ }}'}", "p.jsonl:1: template: SecurityError: "),
        ("{template: '{% if %}'}", "t.yaml:3: file.fields.template is not a template: "),
        ("{prompt: q, template: x}", "t.yaml:3: file.fields needs only one of prompt and template"),
        ("{references: q, answer: x}", "t.yaml:3: file.fields needs only one of references and an"),
    ],
)  # fmt: skip
def test_what_a_template_cannot_be(here: Path, spec: str, message: str) -> None:
    Path("p.jsonl").write_text('{"prompt": "a"}\n')
    Path("t.yaml").write_text(HEAD + f"file: {{path: p.jsonl, fields: {spec}}}\n")
    (problem, *_) = check_task("t.yaml")
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{rows: 3}", "3: file needs either path or url, got"),
        ("{url: 'https://a.org/x.jsonl'}", "3: file needs url and sha256 together"),
        ("{path: p.jsonl, url: 'https://a.org/x.jsonl'}", "3: file needs either path or url"),
        ("{url: 'http://a.org/x.jsonl', sha256: x}", "3: file.url must begin with https://"),
    ],
)
def test_what_a_file_cannot_be(here: Path, source: str, message: str) -> None:
    Path("t.yaml").write_text(HEAD + f"file: {source}\n")
    (problem, *_) = check_task("t.yaml")
    assert problem.startswith(f"t.yaml:{message}")


def test_targets_are_written_in_three_ways(here: Path) -> None:
    Path("t.yaml").write_text(
        HEAD + "prompts:\n  - {text: a, target: 1..4}\n  - {text: b, target: [x, y]}\n"
        "  - {text: c, target: {x: 3, y: 1}}\n"
    )
    found = [prompt.metadata["target"] for prompt in load_task("t.yaml").load()]
    assert found == [
        '{"1": 0.25, "2": 0.25, "3": 0.25, "4": 0.25}',
        '{"x": 0.5, "y": 0.5}',
        '{"x": 0.75, "y": 0.25}',
    ]


@pytest.mark.parametrize(
    "target", ["[]", "[x]", "[x, x]", "{x: 1}", "{x: 1, y: 0}", "{x: 1, y: a}", "5..1", "1..2000",
               "{x: .nan, y: 1}", "true", "[[a], b]"],
)  # fmt: skip
def test_what_a_target_cannot_be(here: Path, target: str) -> None:
    Path("t.yaml").write_text(HEAD + f"prompts:\n  - {{text: a, target: {target}}}\n")
    (problem,) = check_task("t.yaml")
    assert problem.startswith(
        "t.yaml:4: prompts.0.target must be a range of at most 1000 whole num"
    )


# What is said of all tasks


def test_checking_all_reads_what_is_at_hand(data_dir: Path) -> None:
    from tofu_eval.metrics import METRICS

    known = [entry.name for entry in METRICS.entries()]
    problems, remarks = check_registered(None, known)
    assert problems == []
    assert "gsm8k" in remarks[0]
    assert "short-stories" in remarks[1]
    problems, remarks = check_registered(data_dir, known)
    assert problems == []
    (unpinned,) = remarks
    assert unpinned == (
        "no known commit to pin, a run records the one that it reads: harmbench, "
        "human-replies, malicious-instruct, novelty-bench-curated, novelty-bench-wildchat, "
        "short-stories, small-prompts"
    )


def test_a_fault_in_the_data_is_found(here: Path) -> None:
    Path("data/gsm8k.jsonl").write_text('{"question": "x"}\n')
    problems, _ = check_registered(Path("data"), [])
    assert [p for p in problems if p.startswith("data/")] == [
        "data/gsm8k.jsonl:1: answer: UndefinedError: 'answer' is undefined; the row has 'question'"
    ]


def test_a_listing_shows_licence_and_a_task_its_citation_and_pin(data_dir: Path) -> None:
    listed = invoke("tasks", "list").output
    for word in ("gsm8k", "CC-BY-SA-4.0", "random-choice"):
        assert word in listed
    shown = invoke("tasks", "show", "gsm8k", "--data-dir", data_dir).output
    assert "prompts   2" in shown
    assert "citation  Cobbe et al." in shown
    assert "revision 740312add88f781978c0658806c59bc2815b9866" in shown
    bare = invoke("tasks", "show", "gsm8k").output
    assert "prompts   not on this machine" in bare
    assert "fetch     hf download openai/gsm8k --repo-type dataset --revision 740312add8" in bare


def test_every_downloaded_task_is_of_the_hub_or_pinned_by_content() -> None:
    for name in ("gsm8k", "short-stories"):
        assert isinstance(load_task(name).load, HubPrompts)
    assert load_task("poems").data["sha256"].startswith("d9aa32e8")
