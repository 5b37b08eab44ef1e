"""Embeddings and rewards from a server that fails as it is told."""

from __future__ import annotations

import numpy as np
import pytest
from support.fake_server import FakeServer

from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.types import Prompt
from tofu_eval.features.served import BATCH, ServedEmbedder, ServedRewardModel

PROMPT = Prompt.of_text("p", "Name a fruit.")


def pairs(*texts: str) -> list[tuple[Prompt, str]]:
    return [(PROMPT, text) for text in texts]


def test_embeddings_are_unit_vectors_in_the_order_of_the_texts() -> None:
    texts = [f"{'a' * (1 + i % 5)}{'b' * (1 + i % 7)}" for i in range(BATCH + 5)] + ["", "ab"]
    with FakeServer() as server:
        found = ServedEmbedder("m", server.url).compute(pairs(*texts))
    expected = np.array([[float(t.count(c)) for c in "abcdefgh "] for t in texts])
    expected[-2, -1] = 1  # an empty text is sent as a space
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert sum(len(body["input"]) for body in server.bodies) == len(set(texts))


def test_rewards_are_raw() -> None:
    with FakeServer() as server:
        model = ServedRewardModel("m", server.url)
        found = model.compute(pairs("pear", "a pear, or an apple", "pear"))
    np.testing.assert_array_equal(found, [[-4.0], [11.0], [-4.0]])
    assert [body["use_activation"] for body in server.bodies] == [False, True, False, False]
    turns = server.bodies[0]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant"]


def test_a_server_that_knows_no_activation_is_refused() -> None:
    with (
        FakeServer(deaf=True) as server,
        pytest.raises(ModelError, match=r"with and without an activation: are these raw rewards\?"),
    ):
        ServedRewardModel("m", server.url).compute(pairs("pear"))


@pytest.mark.parametrize("fault", ["429", "500", "cut", "drop", "garbage"])
def test_what_may_pass_is_tried_again(fault: str) -> None:
    with FakeServer({0: fault}) as server:
        found = ServedEmbedder("m", server.url, deadline=20).compute(pairs("a", "b"))
    assert found.shape == (2, 9)
    assert len(server.bodies) == 2


def test_what_does_not_pass_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with FakeServer({0: "404"}) as server:
        with pytest.raises(ModelError, match=r"refuses 'm' on /embeddings: 404 not now"):
            ServedEmbedder("m", server.url).compute(pairs("a"))
        with FakeServer(key="secret") as locked, pytest.raises(ModelError, match="OPENAI_API_KEY"):
            ServedEmbedder("m", locked.url).compute(pairs("a"))
        server.faults = {len(server.bodies): "empty"}
        with pytest.raises(ModelError, match="answered with 0 rows for 1 texts"):
            ServedEmbedder("m", server.url).compute(pairs("a"))
    with pytest.raises(ModelError, match="does not answer"):
        ServedEmbedder("m", server.url, deadline=0.5).compute(pairs("a"))  # nobody listens
    with pytest.raises(ConfigError, match="Name it: --reward-base-url"):
        ServedRewardModel("m", None)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with FakeServer(key="secret") as server:
        model = ServedEmbedder("m", server.url)
        assert model.compute(pairs("a")).shape == (1, 9)
    assert "secret" not in repr(vars(model))
