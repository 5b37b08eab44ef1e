"""Which responses to a prompt are equivalent: a class a response, by exchangeable methods.

Pairs become classes by a linkage. Greedy, as in NoveltyBench (arXiv:2504.05228): each response that
has no class opens one and takes every later one without a class that is equivalent to it, the
class's first member; so the classes depend on the order of the responses. Complete: classes of
which every two members are equivalent, made by joining what is most alike first. Connected: two
responses are in one class if a chain of equivalent ones leads from one to the other. Neither
depends on the order. References come after the responses, so that the responses' classes do not
depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.sections import section, setting
from tofu_eval.core.types import Group, Prompt, Report, digest, no_report
from tofu_eval.features.base import Cache, GroupFeature, Opening, feature, fill
from tofu_eval.features.judge import JudgeSettings, open_judge
from tofu_eval.features.nli import NLI_MODEL, InferenceSettings, entailment_column
from tofu_eval.features.open_group import (
    UNDECIDED,
    OpenGroup,
    class_features,
    is_short,
    unit_rows,
    words_shared,
    yes_or_no,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Method = Literal[
    "exact", "word-overlap", "program", "embedding", "embedding-plain", "classifier", "nli",
    "judge",
    "novelty-bench-1.0", "novelty-bench-1.0@2b29e9f",
]  # fmt: skip

CLASSIFIER = "yimingzhang/deberta-v3-large-generation-similarity"
"""NoveltyBench's classifier of functional equivalence."""

SIDE = 128
"""Most tokens of a response that the classifier reads."""


THRESHOLDS: Mapping[str, float] = {
    "word-overlap": 0.5,
    "embedding": 0.5,
    "embedding-plain": 0.45,
    "classifier": 0.102,
}
"""What a pair needs: at least that share of the longer text's words, at least that cosine, more
than that probability. docs/metrics.md says which measurements the cosines rest on."""

BY_VECTORS = ("embedding", "embedding-plain")

Linkage = Literal["greedy", "complete", "connected"]


QUESTION = """Are these two responses to the same prompt equivalent, so that a reader of one would \
gain nothing from the other? Answer with one word, yes or no.

Prompt: {prompt}

Response A: {one}

Response B: {other}"""

Pair = tuple[Prompt, str, str]


@section("equivalence", title="Equivalence")
class EquivalenceSettings:
    """What says which responses are equivalent."""

    method: Method = setting(
        "novelty-bench-1.0",
        flag="--equivalence",
        help="How it is decided which responses are equivalent.",
    )
    model: str | None = setting(
        None, metavar="MODEL", help="Classifier of pairs. Default: NoveltyBench's"
    )
    threshold: float | None = setting(
        None,
        least=0,
        most=1,
        help="For word-overlap, embedding, embedding-plain and classifier. Default: 0.5, 0.5, "
        "0.45, 0.102",
    )
    linkage: Linkage | None = setting(
        None,
        help="How equivalent pairs become classes. Default: complete for embeddings, else greedy",
    )


@feature(
    name="equivalence",
    level="group",
    makes=("reference_equivalence",),
    settings=(EquivalenceSettings, JudgeSettings, InferenceSettings),
)
def open_equivalence(opening: Opening) -> GroupFeature:
    """(n,) class numbers from 0, in order of first use."""
    settings = opening.settings(EquivalenceSettings)
    asked = settings.method == "judge" and opening.settings(JudgeSettings).model
    inference = opening.settings(InferenceSettings).model if settings.method == "nli" else None
    return Equivalence(
        settings.method,
        model=settings.model or inference,
        threshold=settings.threshold,
        judge=open_judge(opening) if asked else None,
        linkage=settings.linkage,
        references="reference_equivalence" in opening.needs,
        device=opening.device,
        isolate=opening.isolate,
    )


class Judge(Protocol):
    """Anything that answers questions, with what it is."""

    identity: Mapping[str, Any]
    signature: str

    def __call__(self, questions: Sequence[str], repeat: int = 0) -> Sequence[str]:
        """An answer a question, in order; `repeat` tells apart several askings of the same."""
        ...


class Equivalence:
    """The feature "equivalence": (n,) class numbers from 0, in order of first use.

    Equal texts are equivalent by definition, and no method is asked about them. `truncated` counts
    the pairs of which the classifier could not read everything. Methods:

    - exact: texts that differ at most in white space at the ends;
    - word-overlap: `words_shared` at least the threshold (0.5), as NoveltyBench does for short
      answers, at any length;
    - program: the code of both has the same syntax tree (`features/programs.py`);
    - embedding: cosine of the vectors given the prompt (`metrics/given_prompt.py`) at least the
      threshold (0.5, which means something else for every model); without a prompt's text the
      whole prompt is undecided;
    - embedding-plain: the same of the vectors as they are (0.45);
    - classifier: the model's probability of label 1 above the threshold (0.102);
    - nli: each follows from the other, as a classifier of inference (by default NLI_MODEL) says
      of the prompt with either response behind it: entailment is the most probable label in both
      directions, as in arXiv:2302.09664;
    - judge: a language model says yes; an answer other than yes or no leaves the whole prompt
      undecided, which is null in the scores;
    - novelty-bench-1.0: word overlap where both responses have five words at most, else the
      classifier; novelty-bench-1.0@2b29e9f: that commit's, with the classifier for short answers
      too ("do it" and "do not do it" share half their words).

    Args:
        method: one of these.
        model: the classifier; by default NoveltyBench's.
        threshold: in place of the method's own.
        judge: who is asked, for the method "judge".
        linkage: how pairs become classes; by default complete for the methods of embeddings,
            greedy for the others. Complete takes degrees, which only embeddings give.
        references: whether the prompts' references get classes too.
        device: as PyTorch names it.
        isolate: whether the classifier gets a process of its own.

    Raises:
        ConfigError: a threshold or a judge that the method cannot use.
        ModelError: the classifier cannot be had.
    """

    def __init__(
        self,
        method: Method,
        *,
        model: str | None = None,
        threshold: float | None = None,
        judge: Judge | None = None,
        linkage: Linkage | None = None,
        references: bool = False,
        device: str | None = None,
        isolate: bool = False,
    ) -> None:
        from tofu_eval.features.isolated import open_classifier

        self.method = method
        kind = "classifier" if method.startswith("novelty-bench") else method
        if threshold is not None and method not in THRESHOLDS:
            raise ConfigError(
                f"--equivalence {method} has no threshold. Leave out --equivalence-threshold."
            )
        if (judge is None) == (method == "judge"):
            raise ConfigError(
                "--equivalence judge and a judge go together. Name one: --judge-model MODEL"
            )
        if linkage == "complete" and method not in BY_VECTORS:
            raise ConfigError(
                f"--equivalence {method} says of a pair only yes or no, and complete linkage joins "
                "what is most alike first. Use --equivalence-linkage connected or greedy."
            )
        self._linkage: Linkage = linkage or ("complete" if method in BY_VECTORS else "greedy")
        self._kind = kind
        self._threshold = THRESHOLDS.get(kind, 0.5) if threshold is None else threshold
        self._judge = judge
        self.asks_prompts = kind in ("judge", "nli")
        self._classifier = (
            open_classifier(
                model or CLASSIFIER,
                "--equivalence-model",
                isolate=isolate,
                side=SIDE,
                device=device,
            )
            if kind == "classifier"
            else None
        )
        if kind == "nli":
            self._classifier = open_classifier(
                model or NLI_MODEL, "--nli-model", isolate=isolate, device=device
            )
            self._entails = entailment_column(self._classifier.labels, model or NLI_MODEL)
        self._references = references
        self.truncated = 0
        self.requires: tuple[str, ...] = ()
        if kind in BY_VECTORS:
            self.requires = inputs_of(kind, references=references)
        made_by = self._classifier or judge
        self.identity: Mapping[str, Any] = {"method": method, "linkage": self._linkage}
        self.signature: str = method + ("" if self._linkage == "greedy" else f".{self._linkage}")
        if method == "program":
            from tofu_eval.features.programs import grammars

            self.identity = {**self.identity, "grammars": list(grammars())}
            self.signature += f"({'+'.join(['python', *grammars()])})"
        if kind in THRESHOLDS:
            self.identity = {**self.identity, "threshold": self._threshold}
            self.signature += f"({self._threshold:g})"
        if made_by is not None:
            self.identity = {**self.identity, "model": dict(made_by.identity)}
            self.signature += f":{made_by.signature}"
        if judge is not None:
            self.identity = {**self.identity, "question": digest(QUESTION)}

    def key(self, pair: Pair) -> str:
        """Hex digest of what an answer depends on."""
        prompt, one, other = pair
        with_prompt = self.asks_prompts
        asked = [[m.role, m.content] for m in prompt.messages] if with_prompt else None
        return digest([asked, one, other])

    def compute(
        self, groups: Sequence[Group], cache: Cache, report: Report = no_report
    ) -> Sequence[Mapping[str, Any]]:
        """The classes of each group's texts and, if asked for, of its prompt's references.

        All groups open their next class at once, so that a model gets large batches.

        Raises:
            ModelError: the classifier or the judge fails.
        """
        members = [
            (*group.texts, *(group.prompt.references if self._references else ()))
            for group in groups
        ]
        todo = [
            OpenGroup(group, texts, [UNDECIDED] * len(texts))
            for group, texts in zip(groups, members, strict=True)
        ]
        if self._linkage != "greedy":
            self._link_all(todo, cache, report)
            return [dict(class_features(state)) for state in todo]
        left = [state for state in todo if self._can_decide(state)]
        while left := [state for state in left if state.head is not None]:
            self._next_class(left, cache, report)
            # What a judge left undecided stays so.
            left = [state for state in left if state.heads >= 0]
        return [dict(class_features(state)) for state in todo]

    def close(self) -> None:
        """Give the memory of the classifier or the judge back, until the next `compute`."""
        getattr(self._classifier or self._judge, "close", lambda: None)()

    def _link_all(self, states: Sequence[OpenGroup], cache: Cache, report: Report) -> None:
        """Classes by complete or connected linkage, of each prompt's texts at once."""
        import numpy as np

        if self._kind in BY_VECTORS:
            for state in states:
                if self._can_decide(state):
                    rows = self._vectors(state)
                    self._link(state, rows @ rows.T, self._threshold)
            return
        pairs = [list(combinations(range(len(state.texts)), 2)) for state in states]
        asked = [
            (
                state.group.prompt,
                min(state.texts[i], state.texts[j]),
                max(state.texts[i], state.texts[j]),
            )
            for state, some in zip(states, pairs, strict=True)
            for i, j in some
        ]
        answers = self._answers(asked, cache, report)
        for state, some in zip(states, pairs, strict=True):
            alike = np.eye(len(state.texts))
            for i, j in some:
                alike[i, j] = alike[j, i] = next(answers)
            if not np.isnan(alike).any():
                self._link(state, alike, 0.5)

    def _link(self, state: OpenGroup, alike: NDArray[np.float64], least: float) -> None:
        from tofu_eval.features.linkage import number_classes

        n = len(state.group.texts)
        state.labels = number_classes(alike, n, least, complete=self._linkage == "complete")

    def _can_decide(self, state: OpenGroup) -> bool:
        """Whether there is all that the method looks at: "embedding" needs a prompt's text."""
        return self._kind != "embedding" or "prompt_embedding" in state.group.features

    def _vectors(self, state: OpenGroup) -> NDArray[np.float64]:
        """Unit vectors of a prompt's texts, given the prompt unless they are taken plain."""
        from tofu_eval.metrics.given_prompt import fix_prompt_component

        rows = unit_rows(state)
        if self._kind == "embedding-plain":
            return rows
        return fix_prompt_component(rows, state.group.features["prompt_embedding"])

    def _next_class(self, states: Sequence[OpenGroup], cache: Cache, report: Report) -> None:
        asked: list[tuple[OpenGroup, list[int], list[Pair]]] = []
        for state in states:
            head = state.labels.index(UNDECIDED)
            state.labels[head] = state.heads
            later = [j for j, label in enumerate(state.labels) if label == UNDECIDED]
            pairs = [(state.group.prompt, state.texts[head], state.texts[j]) for j in later]
            asked.append((state, later, pairs))
        if self._kind in BY_VECTORS:
            answers = iter([x for state, later, _ in asked for x in self._cosines(state, later)])
        else:
            answers = self._answers([p for _, _, pairs in asked for p in pairs], cache, report)
        for state, later, _ in asked:
            verdicts = [next(answers) for _ in later]
            if any(math.isnan(verdict) for verdict in verdicts):
                state.labels = [UNDECIDED] * len(state.labels)
                state.heads = -1
                continue
            for j, verdict in zip(later, verdicts, strict=True):
                if verdict:
                    state.labels[j] = state.heads
            state.heads += 1

    def _answers(self, pairs: Sequence[Pair], cache: Cache, report: Report) -> Iterator[float]:
        """1, 0 or NaN for each pair, in order."""
        at_once = [self._at_once(one, other) for _, one, other in pairs]
        keys = [self.key(p) for p, sure in zip(pairs, at_once, strict=True) if sure is None]
        by_key = {self.key(p): p for p, sure in zip(pairs, at_once, strict=True) if sure is None}

        def ask_missing(some: Sequence[str]) -> tuple[NDArray[np.float32], int]:
            rows = self._ask([by_key[key] for key in some])
            total = self._classifier.truncated if self._classifier else 0
            cut, self.truncated = total - self.truncated, total
            return rows, cut

        fill(cache, keys, ask_missing, stage="equivalence pairs", report=report)
        told = iter(cache.rows(keys)[:, 0] if keys else ())
        return iter([self._verdict(float(next(told))) if x is None else x for x in at_once])

    def _at_once(self, one: str, other: str) -> float | None:
        """What needs no model; None for what does."""
        if one.strip() == other.strip():
            return 1.0
        if self._kind == "exact":
            return 0.0
        if self._kind == "program":
            from tofu_eval.features.programs import program_of

            return float(program_of(one) == program_of(other))
        if self._kind == "word-overlap":
            return float(words_shared(one, other) >= self._threshold)
        if self.method == "novelty-bench-1.0" and is_short(one, other):
            return float(words_shared(one, other) >= THRESHOLDS["word-overlap"])
        return None

    def _ask(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        import numpy as np

        if self._classifier is not None and self._kind == "nli":
            behind = [[f"{p.asked} {text}".strip() for text in texts] for p, *texts in pairs]
            both = [(a, b) for one, other in behind for a, b in ((one, other), (other, one))]
            follows = self._classifier.probabilities(both).argmax(axis=1) == self._entails
            agreed = follows.reshape(-1, 2).all(axis=1, keepdims=True)
            return np.asarray(agreed, dtype=np.float32)
        if self._classifier is not None:
            texts = [(one, other) for _, one, other in pairs]
            return self._classifier.probabilities(texts)[:, 1:2]

        assert self._judge is not None  # noqa: S101 (the constructor saw to it)
        questions = [
            QUESTION.format(prompt=prompt.text, one=one, other=other)
            for prompt, one, other in pairs
        ]
        answers = list(self._judge(questions))
        if len(answers) != len(questions):
            raise ModelError(
                f"The judge gave {len(answers)} answers to {len(questions)} questions. "
                "Use another: --judge-model MODEL"
            )
        return np.array([[yes_or_no(answer)] for answer in answers], dtype=np.float32)

    def _verdict(self, value: float) -> float:
        if self._kind in ("judge", "nli"):
            return value
        # The published threshold is a decimal, compared in double precision.
        return float(value > self._threshold)

    def _cosines(self, state: OpenGroup, later: Sequence[int]) -> list[float]:
        head = state.labels.index(state.heads)
        rows = self._vectors(state)
        return [float(rows[head] @ rows[j] >= self._threshold) for j in later]


def inputs_of(kind: str, *, references: bool = False) -> tuple[str, ...]:
    """The features that a method is made from."""
    if kind not in BY_VECTORS:
        return ()
    given = ["prompt_embedding"] if kind == "embedding" else []
    return ("embedding", *given, *(["reference_embedding"] if references else []))
