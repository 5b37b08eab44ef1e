"""What a metric is, and the decorator that registers one.

**Level.** A metric of level "group" is computed on the responses to one prompt, and a model's
value is its mean over prompts. One of level "corpus" gets the same inputs pooled over all prompts
of one model and task, in the order of the prompts, and has one value (`prompt_id` null in the
scores); its interval comes from leaving out blocks of prompts.

**Compat variants.** A name stands for its faithful definition. Where a published number was made
by another, `NAME@VARIANT` reproduces that: the same decorator, with a name such as
`self_bleu@gem`, and a docstring that says under "Reproduces:" which fault it reproduces and where
that is published. It is asked for by that name (`--metric self_bleu@gem`), listed by `tofu-eval
metrics list` and visible in the signature. VARIANTS has the ones of this house; a plug-in's own
may be called otherwise.

**Length.** `length_sensitive` says that the value moves with the length of the responses whatever
their diversity. Such a metric gets the truncated texts where a run sets `truncate`.

**Bias.** Where the expected value depends on how many responses there are to a prompt, `bias` says
which estimate it is and what corrects it, for the `method` of every number: "plug-in, grows with
the responses; compare equal numbers". Empty for an estimate that does not depend on it. Such a
metric is compared at equal numbers: where two models have other numbers of responses, the larger
group's score is the mean over its subsets of the smaller number. `at_count` gives that mean where
it has a closed form: the metric's own arguments and settings, and k; else subsets are drawn.

**Condition.** `passing` says which responses count, of the last of the metric's needs:
`conditional` makes such metrics. Their number is then that of the passing responses.

**Human.** The accuracy with which the metric tells sets of responses that people call diverse in
content from others (Tevet and Berant 2021, con_test; one threshold a file, mean of three files).
The metric that has the highest leads the verdict of a comparison; None where nobody measured it.

**Unit.** What a value counts, as words after a number: "effective responses".
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.registry import Registry, digest_of, origin_of
from tofu_eval.core.types import feature_of

Function = TypeVar("Function", bound=Callable[..., float])
Level = Literal["group", "corpus"]
Direction = Literal["higher", "lower", "none"]
Measures = Literal["diversity", "quality", "length", "style"]
Reads = Literal["answers", "thoughts"]
Sees = Literal["meaning", "classes", "words", "probability", "other"]

Cost = Literal["cpu", "model"]

PLAIN_INPUTS = (
    *("text", "tokens", "prompt", "prompts", "states", "references"),
    *("logprob", "token_logprobs", "finish_reason"),
)
"""What every metric may need, in the words of `needs`, beside the features (`features/`).

text: the responses; tokens, tokens_…: `Tokens` of them (`features/text.py` says which);
prompt: the Prompt; prompts: of each response, a number that says to which prompt of the corpus it
is; states: how many responses there are, and how many in each state;
references: its reference texts; reference_…: the same of the references;
logprob, token_logprobs, finish_reason: of each response, from the engine. Where a prompt or a run
lacks one, the score is null with that reason.
"""

_SEES: Mapping[str, Sees] = {
    **dict.fromkeys(("embedding", "nli", "nli_sentences"), "meaning"),
    **dict.fromkeys(("surprise", "redundancy", "likelihood"), "meaning"),
    **dict.fromkeys(("text", "tokens", "pos"), "words"),
    **dict.fromkeys(("logprob", "token_logprobs"), "probability"),
    "equivalence": "classes",
}
"""What a metric sees of the responses, by the first of its needs."""

VARIANTS: Mapping[str, str] = {
    "gem": "arXiv:2408.16673",
    "2604.16027": "arXiv:2604.16027",
    "2605.00195": "arXiv:2605.00195",
    "novelty-bench-1.0": "arXiv:2504.05228",
    "novelty-bench-1.0@2b29e9f": "arXiv:2504.05228",
    "diversity-0.3": "arXiv:2403.00553",
}
"""Compat variants: whose published numbers each reproduces."""

FALLS = "plug-in, falls with the number of responses: compare equal numbers"
GROWS = "plug-in, grows with the number of responses: compare equal numbers"
"""The `bias` of an estimate that nothing corrects."""

RAREFIED = "rarefied to k responses, unbiased"
"""The `bias` of one that is made for a fixed number of responses."""

METRICS: Registry[Metric] = Registry(
    "metric",
    "tofu_eval.metrics",
    group="tofu_eval.metrics",
    listing="tofu-eval metrics list",
)


@dataclass(frozen=True)
class Metric:
    """A pure function of arrays and what there is to know about it.

    `direction` says which way is more diverse (for `measures="quality"`, which way is better);
    "none" is a plain description. `needs` names the arguments, in order; `settings` are bound
    keyword arguments and part of the signature. `cost` says whether it costs a model to compute.
    The module's docstring has the other fields.
    """

    name: str
    function: Callable[..., float]
    direction: Direction
    needs: tuple[str, ...]
    level: Level = "group"
    range: tuple[str, str] = ("-inf", "inf")
    cost: Cost = "cpu"
    paper: str = ""
    measures: Measures = "diversity"
    version: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    length_sensitive: bool = False
    bias: str = ""
    human: float | None = None
    unit: str = ""
    reads: Reads = "answers"
    at_count: Callable[..., float] | None = None
    passing: Callable[[Any], list[int]] | None = None

    def __call__(self, *arrays: Any) -> float:
        """The metric's value on one group; raises MetricInputError where it is undefined."""
        return self.function(*arrays, **self.settings)

    @property
    def count_sensitive(self) -> bool:
        """Whether its expected value depends on how many responses there are to a prompt."""
        return bool(self.bias) and self.bias != RAREFIED

    @property
    def sees(self) -> Sees:
        """What of the responses it looks at: tables and charts group metrics by it."""
        first = feature_of(self.needs[0])
        return _SEES.get("tokens" if first.startswith("tokens_") else first, "other")

    @property
    def variant(self) -> str:
        """Which published numbers it reproduces; empty for a faithful definition."""
        return self.name.partition("@")[2]

    def facts(self) -> dict[str, Any]:
        """What a run and a leaderboard say about it, whether or not it is still installed."""
        return {
            "version": self.version,
            "direction": self.direction,
            "measures": self.measures,
            "sees": self.sees,
            "range": list(self.range),
            "paper": self.paper,
            "level": self.level,
            "cost": self.cost,
            "length_sensitive": self.length_sensitive,
            "bias": self.bias,
            "human": self.human,
            "unit": self.unit,
            "count_sensitive": self.count_sensitive,
            "package": METRICS.package(self.name.partition("[")[0], origin_of(self.function)),
        }

    def signature(
        self,
        features: Mapping[str, str],
        truncate: int | None = None,
        reading: Sequence[str] = (),
    ) -> str:
        """What to cite with a value: `vendi|v:1|q:1.0|embedding:<model and revision>`.

        Name, version, tokeniser, settings, feature models, the number of words that the texts
        were truncated to, which responses were read how, and of a file of the user's own its
        digest, each part where it applies.
        """
        from tofu_eval.core.tokens import TOKENISERS

        bound = {
            name: parameter.default
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.default is not inspect.Parameter.empty
        } | dict(self.settings)
        inputs = [feature_of(need) for need in self.needs]
        parts = [self.name, f"v:{self.version}"]
        parts += dict.fromkeys(f"tok:{TOKENISERS[need]}" for need in inputs if need in TOKENISERS)
        parts += [f"{k}:{v}" for k, v in bound.items()]
        parts += dict.fromkeys(f"{need}:{features[need]}" for need in inputs if need in features)
        if truncate is not None and self.length_sensitive:
            parts.append(f"truncate:{truncate}")
        if self.reads == "answers" and self.needs != ("states",):
            parts += reading
        if file := digest_of(origin_of(self.function)):
            parts.append(f"file:{file}")
        return "|".join(parts)


def metric(
    *,
    name: str,
    direction: Direction,
    needs: tuple[str, ...],
    level: Level = "group",
    range: tuple[str, str] = ("-inf", "inf"),
    cost: Cost | None = None,
    paper: str = "",
    measures: Measures = "diversity",
    version: int = 1,
    settings: Mapping[str, Any] | None = None,
    length_sensitive: bool = False,
    bias: str = "",
    human: float | None = None,
    unit: str = "",
    at_count: Callable[..., float] | None = None,
) -> Callable[[Function], Function]:
    """Register a function as a metric and return it unchanged.

    One function may be registered several times with different `settings`.

    Args:
        name: what it is asked for by.
        direction: which way is more diverse, see `Metric`.
        needs: what the function is given, in order: of PLAIN_INPUTS, or features.
        level: "group" or "corpus".
        range: the least and the greatest value, as text ("n" is the number of responses).
        cost: by default "model" where it needs a feature.
        paper: where it is defined, "arXiv:…" or "doi:…".
        measures: "diversity", "quality" or "length".
        version: goes up with every change of its values.
        settings: keyword arguments of the function.
        length_sensitive: see the module's docstring.
        bias: the same.
        human: the same.
        unit: the same.
        at_count: the same.

    Raises:
        ConfigError: at registration, when the facts do not fit the function or each other.
    """

    def register(function: Function) -> Function:
        built = Metric(
            name, function, direction, needs, level, range, cost or _cost_of(needs), paper,
            measures, version, dict(settings or {}), length_sensitive, bias, human, unit,
            at_count=at_count,
        )  # fmt: skip
        _check(built)
        METRICS.add(name, built, origin_of(function))
        return function

    return register


def _cost_of(needs: tuple[str, ...]) -> Cost:
    """What a metric costs that does not say so: features are taken to cost a model."""
    own = [feature_of(need) for need in needs]
    return "cpu" if all(n in PLAIN_INPUTS or n.startswith("tokens") for n in own) else "model"


def _check(made: Metric) -> None:
    """Refuse facts that are none; whether something makes its needs is known when it is used."""
    for fact, kind in (
        ("level", Level), ("direction", Direction), ("measures", Measures), ("cost", Cost)
    ):  # fmt: skip
        allowed, value = get_args(kind), getattr(made, fact)
        if value not in allowed:
            raise ConfigError(
                f"Metric '{made.name}' has the {fact} {value!r}; expected {_either(allowed)}."
            )
    if isinstance(made.needs, str) or not all(isinstance(n, str) for n in made.needs):
        raise ConfigError(
            f"Metric '{made.name}' has needs={made.needs!r}; expected a tuple of names, such as "
            '("text",).'
        )
    if made.level == "corpus" and "prompt" in made.needs:
        raise ConfigError(
            f"Metric '{made.name}' is of level 'corpus' and needs 'prompt'; "
            "a corpus has many. Make it of level 'group', or leave out that need."
        )
    if made.variant and "Reproduces:" not in (inspect.getdoc(made.function) or ""):
        raise ConfigError(
            f"Metric '{made.name}' is a compat variant, but its docstring does not say under "
            "'Reproduces:' which published definition it follows and what is wrong with that."
        )
    parameters = inspect.signature(made.function).parameters
    required = [p.name for p in parameters.values() if p.default is inspect.Parameter.empty]
    free = [name for name in required if name not in made.settings]
    if len(free) != len(made.needs) or not set(made.settings) <= set(parameters):
        raise ConfigError(
            f"Metric '{made.name}' takes {list(parameters)}, which does not fit "
            f"needs={made.needs} and settings={dict(made.settings)}."
        )


def _either(names: tuple[str, ...]) -> str:
    """'a', 'b' or 'c'."""
    return f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
