"""What each metric says of its bias in the number of responses, against simulated groups."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support import metric_facts

from tofu_eval.core.tokens import TOKENISERS
from tofu_eval.core.types import Group, Prompt
from tofu_eval.metrics import METRICS
from tofu_eval.pipeline.inputs import Inputs

KINDS = 30
"""Different responses that there are; some are likelier than others."""

WORDS = """
    the of and to in that it is was for on with as be at by this from but not they have her his
    which one you were all their there been if more when will would who so no out up into than
    them can only other new some could time these two may then do first any my now such like
"""
"""So that texts of them are English, for the metrics that know languages."""

CLEAR = 6
"""Standard errors. Metrics that have a bias lie 11 and more away from here, the others within 4."""


def groups(n: int, count: int = 300) -> list[Inputs]:
    rng = np.random.default_rng(0)
    pool = [" ".join(rng.choice(WORDS.split(), size=rng.integers(6, 12))) for _ in range(KINDS)]
    pool[::5] = [f"I'm sorry, but I can't {text}" for text in pool[::5]]
    vectors = rng.normal(size=(KINDS, 16)).astype(np.float32)
    shares = rng.dirichlet(np.full(KINDS, 0.7))
    rng = np.random.default_rng(n)
    target = json.dumps(dict(zip(pool, shares, strict=True)))
    prompt = Prompt.of_text("p", "?", references=(*pool[:5], pool[0]), metadata={"target": target})
    made = []
    for _ in range(count):
        drawn = rng.choice(KINDS, size=n, p=shares)
        features: dict[str, Any] = {
            "embedding": vectors[drawn],
            "equivalence": drawn,
            "reward": rng.normal(size=(n, 1)),
            "reference_embedding": vectors[[0, 1, 2, 3, 4, 0]],
            "reference_equivalence": np.array([0, 1, 2, 3, 4, 0]),
            "logprob": tuple(np.log(shares[drawn])),
        }
        made.append(Inputs(Group(prompt, tuple(pool[i] for i in drawn), features=features)))
    return made


@pytest.fixture(scope="module")
def sizes() -> tuple[list[Inputs], list[Inputs]]:
    return groups(6), groups(24)


def moved(name: str, sizes: tuple[list[Inputs], list[Inputs]]) -> float:
    """By how many standard errors the mean rises from 6 responses to 24."""
    made = METRICS.get(name)
    few, many = ([made(*(one[need] for need in made.needs)) for one in some] for some in sizes)
    error = np.hypot(np.std(few), np.std(many)) / len(few) ** 0.5
    rise = float(np.mean(many) - np.mean(few))
    return rise / error if rise else 0.0  # what none of the texts has is 0 everywhere


GIVEN = {
    *("text", "prompt", "references", "reference_embedding", "reference_equivalence"),
    *("embedding", "equivalence", "reward", "logprob", *TOKENISERS),
}
ELSEWHERE = {"acc", "acc_norm", "constraint_satisfaction"}
"""They look at each response by itself, and need prompts of another kind than there are here."""

SIMULATED = [
    entry.name
    for entry in METRICS.entries()
    if "/tofu_eval/metrics/" in entry.origin
    and entry.item is not None
    and entry.item.level == "group"
    and metric_facts.LEAST.get(entry.name, 2) <= 6
    and set(entry.item.needs) <= GIVEN
    and entry.name not in ELSEWHERE
]


def test_most_are_simulated() -> None:
    assert len(SIMULATED) > 50


@pytest.mark.slow
@pytest.mark.parametrize("name", SIMULATED)
def test_a_bias_is_declared_where_there_is_one(
    name: str, sizes: tuple[list[Inputs], list[Inputs]]
) -> None:
    bias, found = METRICS.get(name).bias, moved(name, sizes)
    if bias.startswith("plug-in, grows"):
        assert found > CLEAR
    elif bias.startswith("plug-in, falls"):
        assert found < -2
    elif not bias or "unbiased" in bias:
        assert abs(found) < CLEAR
    # What is corrected in part may still move.
