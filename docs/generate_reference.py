"""The reference of the docs site, generated from the code: a hook of MkDocs.

It adds the pages of reference/, so that none of them can differ from what the code does, and leads
links to files of the repository to where its sources are.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import click

ROOT = Path(__file__).parents[1]


def on_files(files: Any, config: Any) -> Any:
    """MkDocs: add the generated pages."""
    from mkdocs.structure.files import File

    for path, text in reference_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """MkDocs: links out of docs/ lead to the sources, or name a file; blocks have titles."""
    sources = (config["repo_url"] or "").rstrip("/")
    here = (ROOT / "docs" / page.file.src_uri).parent

    def rewrite(link: re.Match[str]) -> str:
        words, target = link.groups()
        file = (here / target.partition("#")[0]).resolve()
        if file.is_relative_to(ROOT / "docs") or not file.exists():
            return link[0]
        path = file.relative_to(ROOT).as_posix()
        return f"[{words}]({sources}/blob/main/{path})" if sources else f"{words} (`{path}`)"

    markdown = re.sub(r"(?<!!)\[([^\]]+)\]\((\.\.[^)\s]+)\)", rewrite, markdown)
    return re.sub(r"^```(\w+) +(\S.*)$", _head_of_block, markdown, flags=re.MULTILINE)


def _head_of_block(head: re.Match[str]) -> str:
    """The name of a block's file as its title; what else the tests are told is left out."""
    language, told = head.groups()
    name, equals, file = told.partition("=")
    return f'```{language} title="{file}"' if equals and name == "file" else f"```{language}"


def reference_pages() -> dict[str, str]:
    """The generated pages by their path in docs/."""
    makers: dict[str, Callable[[], Iterable[str]]] = {
        "cli": _cli,
        "settings": _settings,
        "metrics": _metrics,
        "tasks": _tasks,
        "losses": _losses,
        "plugins": _plugins,
        "api": _api,
    }
    return {f"reference/{name}.md": "\n".join(maker()) + "\n" for name, maker in makers.items()}


# Command line


def _cli() -> Iterator[str]:
    from tofu_eval.cli import COMMANDS, main

    yield "# Command line\n"
    yield "What `--help-all` says, command by command. An error is one line and exit code 2.\n"
    context = click.Context(main, info_name="tofu-eval")
    for name in COMMANDS:
        command = _get(main, context, name)
        yield from _command(command, click.Context(command, parent=context, info_name=name), 2)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}\n"
    pieces = command.collect_usage_pieces(context)
    yield f"```text\n{context.command_path} {' '.join(pieces)}\n```\n"
    yield from _help_text(inspect.cleandoc(command.help or ""))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = _get(command, context, name)
            inside = click.Context(inner, parent=context, info_name=name)
            yield from _command(inner, inside, level + 1)
        return
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            groups.setdefault(getattr(parameter, "heading", ""), []).append(record)
    for heading, records in groups.items():
        yield from _table([heading or "option", ""], [(_code(f), _cell(h)) for f, h in records])


def _get(group: click.Group, context: click.Context, name: str) -> click.Command:
    command = group.get_command(context, name)
    if command is None:
        raise LookupError(name)
    return command


def _help_text(text: str) -> Iterator[str]:
    """A help text as Markdown: what Click leaves as it stands is a block."""
    for part in text.split("\n\n"):
        if part.startswith("\b\n"):
            yield f"```text\n{part[2:]}\n```\n"
        else:
            yield _prose(part) + "\n"


# Settings


def _settings() -> Iterator[str]:
    from tofu_eval.core.config import RunFile, Scoring, Settings
    from tofu_eval.core.sections import settings_of, title_of
    from tofu_eval.features.base import sections

    flags = _flags_of_run()
    yield "# Settings\n"
    yield (
        "The same names in a YAML file (`tofu-eval run --config`), as flags, and as keywords of "
        "`te.evaluate` and `te.score_files`. [Settings in a file](../config.md) explains them.\n"
    )
    for title, kind, beyond in (
        ("What to run", RunFile, Settings),
        ("How to run", Settings, Scoring),
        ("How to score", Scoring, None),
    ):
        known = set(beyond.model_fields) if beyond else set[str]()
        rows = []
        for name, field in kind.model_fields.items():
            if name not in known:
                flag, help = flags.get(name, ("", ""))
                default = "" if field.is_required() else _default(field.default)
                rows.append((_code(name), _code(_kind(field.annotation)), default, flag, help))
        yield f"## {title}\n"
        yield from _table(["setting", "kind", "default", "flag", "what it does"], rows)
    yield "## Of features\n"
    yield "Each is a section: `reward: {model: …}` in a file, `reward={'model': …}` in Python.\n"
    for declared in sections():
        ours = settings_of(declared)
        yield f"### {title_of(declared)}: `{ours[0].section}`\n"
        rows = [
            (_code(s.name), _code(_kind(s.kind)), _default(s.default), _code(s.flag), _cell(s.help))
            for s in ours
        ]
        yield from _table(["setting", "kind", "default", "flag", "what it does"], rows)


def _flags_of_run() -> dict[str, tuple[str, str]]:
    from tofu_eval.cli.run import command

    return {
        parameter.name or "": (_code(parameter.opts[0]), _cell(parameter.help or ""))
        for parameter in command.params
        if isinstance(parameter, click.Option)
    }


def _kind(kind: Any) -> str:
    """A type as a reader writes it: `int`, `"keep" | "drop"`, `list of str`."""
    arguments = [one for one in get_args(kind) if one is not type(None)]
    origin = get_origin(kind)
    if origin is None:
        return getattr(kind, "__name__", str(kind))
    if hasattr(kind, "__metadata__"):
        return _kind(arguments[0])
    if str(origin) == "typing.Literal":
        return " | ".join(map(str, arguments))
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin in (dict, list) or "Mapping" in str(origin):
        return "mapping"
    return " | ".join(dict.fromkeys(map(_kind, arguments)))


def _default(value: object) -> str:
    if value in (None, (), {}, ""):
        return ""
    return _code(", ".join(map(str, value)) if isinstance(value, tuple) else str(value))


# What is registered


def _metrics() -> Iterator[str]:
    from tofu_eval.analysis.direction import arrow_of
    from tofu_eval.metrics import METRICS
    from tofu_eval.metrics._validity import describe_validity

    yield "# Metrics\n"
    yield (
        "Every metric with its definition, as `tofu-eval metrics show NAME` prints it. "
        "[The guide](../metrics.md) says which to choose; "
        "[what metrics see](../explain/what-metrics-see.md) says how far each agrees with people.\n"
    )
    metrics = METRICS.load_all()
    for measured in dict.fromkeys(metric.measures for metric in metrics.values()):
        yield f"## Of {measured}\n"
        for metric in metrics.values():
            if metric.measures != measured:
                continue
            low, high = metric.range
            bias = metric.bias or "none in the number of responses"
            facts = {
                "direction": f"{arrow_of(metric.direction) or '·'} {metric.direction}",
                "range": f"{low} to {high}",
                "level": metric.level,
                "needs": ", ".join(map(_code, metric.needs)),
                "length": "moves it" if metric.length_sensitive else "does not move it",
                "cost": metric.cost,
                "settings": ", ".join(_code(f"{k}={v}") for k, v in metric.settings.items()),
                "bias": bias,
                "paper": _paper(metric.paper),
                "people": "<br>".join(map(_cell, describe_validity(metric.name))) or "not measured",
                "version": str(metric.version),
            }
            yield f"### `{metric.name}`\n"
            yield from _docstring(inspect.getdoc(metric.function) or "")
            cells = [(k, v if k == "people" else _cell(v)) for k, v in facts.items() if v]
            yield from _table(["", ""], cells)


def _tasks() -> Iterator[str]:
    from tofu_eval.tasks import SUITES, TASKS

    yield "# Tasks and suites\n"
    yield "[The guide](../tasks.md) says how to write one and where their data comes from.\n"
    for name, task in TASKS.load_all().items():
        sampling = task.sampling
        facts = {
            "version": str(task.version),
            "format": task.format,
            "sampling": f"{sampling.samples} samples, temperature {sampling.temperature:g}, top-p "
            f"{sampling.top_p:g}, at most {sampling.max_tokens} tokens",
            "metrics": ", ".join(map(_code, task.metrics)) or "the default set",
            "verifier": _code(task.verifier) if task.verifier else "",
            "clusters": f"by {task.cluster}" if task.cluster else "",
            "licence": task.licence,
            "source": task.source,
            "citation": task.citation,
            "data": ", ".join(f"{key} {value}" for key, value in task.data.items()),
        }
        yield f"## `{name}`\n"
        yield f"{_prose(task.description)}\n"
        yield from _table(["", ""], [(k, _cell(v)) for k, v in facts.items() if v])
    yield "## Suites\n"
    rows = []
    for name, suite in SUITES.load_all().items():
        members = ", ".join(_code(task.name) for task in suite.load())
        rows.append((_code(name), _cell(suite.description), members))
    yield from _table(["suite", "what it is", "tasks"], rows)


def _losses() -> Iterator[str]:
    from tofu_eval.training.losses import LOSSES

    yield "# Losses\n"
    yield "[The guide](../losses.md) says what they have in common and what they cost.\n"
    for name, loss in LOSSES.load_all().items():
        settings = ", ".join(_code(f"{key}={value:g}") for key, value in loss.settings().items())
        yield f"## `{name}`\n"
        yield from _docstring(inspect.getdoc(loss.factory) or "")
        facts = {"settings": settings, "paper": _paper(loss.paper)}
        yield from _table(["", ""], [(key, value) for key, value in facts.items() if value])


def _plugins() -> Iterator[str]:
    from tofu_eval.engines.methods.base import METHODS
    from tofu_eval.engines.open import ENGINES
    from tofu_eval.features.answers import VERIFIERS
    from tofu_eval.importers.base import IMPORTERS
    from tofu_eval.leaderboard.exports import EXPORTS

    yield "# Engines, methods, verifiers, formats\n"
    yield "[Adding what is yours](../extending.md) has an example of each.\n"
    yield "## Engines\n"
    engines = [(_code(entry.name),) for entry in ENGINES.entries() if entry.error is None]
    yield from _table(["`--engine`"], engines)
    yield "## Decoding methods\n"
    methods = METHODS.load_all().items()
    yield from _table(
        ["`--method`", "what it does", "paper"],
        [(_code(name), _cell(one.about), _paper(one.paper)) for name, one in methods],
    )
    yield "## Verifiers\n"
    verifiers = [
        (_code(name), _cell((inspect.getdoc(one.find) or "").partition("\n")[0]))
        for name, one in VERIFIERS.load_all().items()
    ]
    yield from _table(["`--verifier`", "what it does"], verifiers)
    yield "## Exports of a leaderboard\n"
    exports = [(_code(name), _cell(one.help)) for name, one in EXPORTS.load_all().items()]
    yield from _table(["`--format`", "what it writes"], exports)
    yield "## Formats of responses\n"
    for name, one in IMPORTERS.load_all().items():
        yield f"### `{name}`: {one.title}\n"
        yield from _docstring(inspect.getdoc(one.read) or "")
        yield f"Told by: {', '.join(map(_code, one.fields)) or 'what no other format knows'}.\n"


def _api() -> Iterator[str]:
    import tofu_eval
    from tofu_eval import training

    yield "# Python\n"
    yield "The public names of `tofu_eval`; each is imported when it is first used.\n"
    for name in sorted(set(tofu_eval.__all__) - {"__version__"}, key=str.lower):
        home, own = tofu_eval._HOME_OF[name]
        yield f"::: tofu_eval.{home}.{own}\n"
    yield "## Training\n"
    yield "The public names of `tofu_eval.training`.\n"
    for home, names in training._HOMES.items():
        for name in names:
            yield f"::: tofu_eval.training.{home}.{name}\n"


# Markdown


def _docstring(text: str) -> Iterator[str]:
    """A docstring of a metric or a loss: its first lines, then what it says, as it stands."""
    head, _, rest = text.partition("\n\n")
    yield f"{_prose(head)}\n"
    if rest:
        yield f"```text\n{rest}\n```\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _prose(text: str) -> str:
    """Text that is no Markdown: nothing in it marks anything up."""
    kept = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else _escaped(part) for part in kept)


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_\[\]<>#])", r"\\\1", text)


def _cell(text: str) -> str:
    kept = re.split(r"(`[^`]*`|\[[^\]]*\]\(https?://[^)]*\))", " ".join(str(text).split()))
    return "".join(
        part if part.startswith(("`", "[")) else _escaped(part).replace("|", "\\|") for part in kept
    ).replace("||", "\\|\\|")


def _code(text: object) -> str:
    return f"`{str(text).replace('|', chr(92) + '|')}`"


def _paper(paper: str) -> str:
    """A reference as a link."""
    kind, _, name = paper.partition(":")
    places = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}
    return f"[{paper}]({places[kind]}{name})" if kind in places else paper


if __name__ == "__main__":
    json.dump({path: len(text) for path, text in reference_pages().items()}, sys.stdout, indent=1)
