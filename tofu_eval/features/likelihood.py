"""How probable a text is to a causal language model: alone after its prompt, and after others.

What the model reads is the prompt and the responses, labelled as in arXiv:2606.01811:

    PROMPT

    Response A: FIRST

    Response B: SECOND

A text's log-probability is the sum over the tokens that have a character of it; the blank before it
is in the first. Orders and partners of responses are drawn by a seed from the texts themselves, so
that no number depends on the order in which responses come.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.sections import section, setting
from tofu_eval.core.types import Group, Prompt, Report, digest, no_report
from tofu_eval.features.base import CHUNK, Cache, FeatureModel, GroupFeature, Opening, feature
from tofu_eval.features.embedding import LANGUAGE_MODEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tofu_eval.features.likelihood_reader import Reader

Texts = tuple[str, ...]


@section("likelihood", title="Likelihood")
class LikelihoodSettings:
    """The causal language model that says how probable a text is."""

    model: str = setting(
        LANGUAGE_MODEL, metavar="MODEL", help="Causal language model: directory, Hub id or name."
    )
    engine: Literal["transformers", "vllm", "openai"] = setting(
        "transformers", help="What runs it; openai is a server that echoes with logprobs."
    )
    base_url: str | None = setting(None, metavar="URL", help="Where that server is.")
    window: int = setting(
        4096, least=64, metavar="TOKENS", help="Most tokens that are read at once."
    )
    orders: int = setting(
        3, least=1, metavar="N", help="Orders of a prompt's responses that are averaged over."
    )
    partners: int = setting(
        2, least=1, metavar="N", help="Other responses that each is read after, one at a time."
    )


@feature(name="likelihood", settings=(LikelihoodSettings,))
def open_likelihood(opening: Opening) -> FeatureModel:
    """(n, 3): log-probability of a text after its prompt in nats, its tokens, its bytes."""
    return Likelihood(_open_reader(opening))


@feature(
    name="surprise",
    level="group",
    needs=("likelihood",),
    settings=(LikelihoodSettings,),
    pairwise=True,
)
def open_surprise(opening: Opening) -> GroupFeature:
    """(n, 1 + 2 orders): bytes; for each order, the place of a response and its nats there."""
    own = opening.settings(LikelihoodSettings)
    return Surprise(shared_reader(opening), own.orders, opening.seed)


@feature(
    name="redundancy",
    level="group",
    needs=("likelihood",),
    settings=(LikelihoodSettings,),
    pairwise=True,
)
def open_redundancy(opening: Opening) -> GroupFeature:
    """(n, partners): nats of a response after another response to its prompt."""
    own = opening.settings(LikelihoodSettings)
    return Redundancy(shared_reader(opening), own.partners, opening.seed)


def _open_reader(opening: Opening) -> Reader:
    from tofu_eval.features.likelihood_reader import open_reader

    own = opening.settings(LikelihoodSettings)
    if own.base_url and own.engine != "openai":
        raise ConfigError(
            "--likelihood-base-url is the address of a server, and the likelihoods are made by "
            f"{own.engine}. Add --likelihood-engine openai, or leave it out."
        )
    return open_reader(
        own.engine,
        own.model,
        window=own.window,
        url=own.base_url,
        device=opening.device,
        isolate=opening.isolate,
    )


def shared_reader(opening: Opening) -> Reader:
    """The reader of the feature "likelihood", so that the model is loaded once."""
    before = opening.models.get("likelihood")
    return before.model.reader if before is not None else _open_reader(opening)


class Likelihood:
    """The feature "likelihood": (n, 3), nats, tokens and bytes of each text after its prompt.

    A text that is too long for the model together with its prompt is read in windows that overlap
    by half, so that each token has half a window before it; `truncated` counts such texts.

    Args:
        reader: what reads texts.
    """

    name: str = "likelihood"

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.identity: Mapping[str, Any] = reader.identity
        self.signature = reader.signature

    @property
    def truncated(self) -> int:
        """How many texts were read in windows."""
        return self.reader.windowed

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the prompt's text and the response."""
        return digest([prompt.asked, text])

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """Nats, tokens and bytes; each distinct pair is read once.

        Raises:
            ModelError: the model cannot be loaded, fails, or gives no finite numbers.
        """
        import numpy as np

        asked = list(dict.fromkeys((prompt.asked, (text,)) for prompt, text in pairs))
        rows = dict(zip(asked, self.reader.read(asked), strict=True))
        return np.array(
            [
                [*rows[prompt.asked, (text,)][0], len(text.encode("utf-8", "surrogatepass"))]
                for prompt, text in pairs
            ],
            dtype=np.float32,
        ).reshape(-1, 3)

    def close(self) -> None:
        """Give the model's memory back; the next `compute` loads it again."""
        self.reader.close()


class _Passes:
    """What a group feature reads: lists of responses to a prompt, each list in one go."""

    asks_prompts = True

    def __init__(self, reader: Reader, count: int, seed: int, name: str) -> None:
        self.reader, self._count, self._seed, self.name = reader, count, seed, name
        self.identity: Mapping[str, Any] = {**reader.identity, name: count, "seed": seed}
        self.signature = f"{reader.signature},{count}x"

    def close(self) -> None:
        """Give the model's memory back; the next `compute` loads it again."""
        self.reader.close()

    def _shuffled(self, texts: Sequence[str], number: int) -> list[int]:
        """Places of the texts in an order that the texts and the seed alone decide."""
        places = sorted(range(len(texts)), key=lambda place: texts[place])
        drawn = digest([self._seed, number, [texts[place] for place in places]])
        random.Random(int(drawn[:16], 16)).shuffle(places)  # noqa: S311
        return places

    def _read(
        self, passes: Sequence[tuple[str, Texts]], first: int, cache: Cache, report: Report
    ) -> list[NDArray[np.float32]]:
        """Nats of the texts of each pass from number `first` on; NaN where it is too long."""
        import numpy as np

        def keys(asked: str, texts: Texts) -> list[str]:
            ends = range(first + 1, len(texts) + 1)
            return [digest([asked, *texts[:end]]) for end in ends]

        named = {one: keys(*one) for one in dict.fromkeys(passes)}
        missing = set(cache.find_missing(key for some in named.values() for key in some))
        todo = [one for one, some in named.items() if missing.intersection(some)]
        size = max(1, CHUNK // max((len(texts) for _, texts in todo), default=1))
        for start in range(0, len(todo), size):
            report(f"{self.name} passes", start, len(todo))
            chunk = todo[start : start + size]
            new: dict[str, float] = {}
            for one, rows in zip(chunk, self.reader.read(chunk), strict=True):
                new.update(zip(named[one], (float(nats) for nats, _ in rows[first:]), strict=True))
            new = {key: nats for key, nats in new.items() if key in missing}
            missing.difference_update(new)
            cache.add(list(new), np.array([*new.values()], dtype=np.float32)[:, None])
        if todo:
            report(f"{self.name} passes", len(todo), len(todo))
        return [cache.rows(named[one])[:, 0] for one in passes]


class Surprise(_Passes):
    """The feature "surprise": (n, 1 + 2 orders), bytes, then place and nats in each order.

    An order is one pass through the model: the prompt, then all responses. Where that is longer
    than the model reads, the nats are NaN.

    Args:
        reader: what reads texts.
        orders: of a prompt's responses.
        seed: what the orders are drawn by.
    """

    def __init__(self, reader: Reader, orders: int, seed: int) -> None:
        super().__init__(reader, orders, seed, "surprise")

    def compute(
        self, groups: Sequence[Group], cache: Cache, report: Report = no_report
    ) -> Sequence[Mapping[str, Any]]:
        """One row a response; raises ModelError where the model fails."""
        import numpy as np

        orders = [
            [self._shuffled(group.texts, number) for number in range(self._count)]
            for group in groups
        ]
        passes = [
            (group.prompt.asked, tuple(group.texts[place] for place in order))
            for group, some in zip(groups, orders, strict=True)
            for order in some
            if order
        ]
        told = iter(self._read(passes, 0, cache, report))
        features = []
        for group, some in zip(groups, orders, strict=True):
            rows = np.zeros((len(group.texts), 1 + 2 * self._count))
            rows[:, 0] = [len(text.encode("utf-8", "surrogatepass")) for text in group.texts]
            for number, order in enumerate(some if group.texts else ()):
                rows[order, 1 + 2 * number] = np.arange(len(order))
                rows[order, 2 + 2 * number] = next(told)
            features.append({"surprise": rows})
        return features


class Redundancy(_Passes):
    """The feature "redundancy": (n, partners), nats of a response after another response.

    The partners of a response are those that follow it in a ring of all responses to the prompt,
    so that every response is as often read as a partner; (n, 0) of a single response.

    Args:
        reader: what reads texts.
        partners: how many, at most all other responses.
        seed: what the ring is drawn by.
    """

    def __init__(self, reader: Reader, partners: int, seed: int) -> None:
        super().__init__(reader, partners, seed, "redundancy")

    def compute(
        self, groups: Sequence[Group], cache: Cache, report: Report = no_report
    ) -> Sequence[Mapping[str, Any]]:
        """One row a response; raises ModelError where the model fails."""
        import numpy as np

        rings = [self._shuffled(group.texts, 0) for group in groups]
        passes = [
            (group.prompt.asked, (group.texts[other], group.texts[own]))
            for group, ring in zip(groups, rings, strict=True)
            for own, other in self._pairs(ring)
        ]
        told = iter(self._read(passes, 1, cache, report))
        features = []
        for ring in rings:
            rows = np.zeros((len(ring), min(self._count, max(0, len(ring) - 1))))
            for number, (own, _) in enumerate(self._pairs(ring)):
                rows[own, number // len(ring)] = next(told)[0]
            features.append({"redundancy": rows})
        return features

    def _pairs(self, ring: Sequence[int]) -> list[tuple[int, int]]:
        """Each response with the next in the ring, then with the one after it, and so on."""
        n = len(ring)
        steps = range(1, min(self._count, n - 1) + 1)
        return [(ring[i], ring[(i + step) % n]) for step in steps for i in range(n)]
