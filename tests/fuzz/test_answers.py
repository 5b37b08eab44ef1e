"""What servers and judges answer: any JSON, any bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.reading import check_reader, fuzz
from fuzz.values import VALUES, as_json, damaged, faulty
from tofu_eval.core.errors import ModelError
from tofu_eval.core.servers import Malformed, Refused, wait_told
from tofu_eval.core.tables import RESPONSE_SCHEMA, to_table
from tofu_eval.core.types import Message, Prompt, Response
from tofu_eval.engines.server_answer import read_answer
from tofu_eval.features import served

CHAT: dict[str, Any] = {
    "id": "x", "object": "chat.completion", "model": "m", "system_fingerprint": "f",
    "prompt_token_ids": [1, 2],
    "choices": [{"index": 0, "finish_reason": "stop", "token_ids": [1],
                 "message": {"role": "assistant", "reasoning_content": "hm", "content": [
                     {"type": "text", "text": "owl"}, {"type": "thinking", "thinking": "x"}]},
                 "logprobs": {"content": [{"token": "owl", "logprob": -1.0}]}}],
}  # fmt: skip
PLAIN: dict[str, Any] = {
    "choices": [{"text": "owl", "finish_reason": "length", "logprobs": {
        "tokens": ["owl"], "token_logprobs": [-1.0], "text_offset": [0]}}],
}  # fmt: skip
ERROR: dict[str, Any] = {"error": {"code": "401", "message": "no", "type": "x"}}
ANSWERS = [CHAT, PLAIN, ERROR]


@given(
    body=faulty(ANSWERS).map(as_json) | VALUES.map(as_json) | damaged([*map(as_json, ANSWERS)]),
    chat=st.booleans(),
)
@fuzz(50)
def test_completions(body: bytes, chat: bool) -> None:
    def read() -> Any:
        try:
            return read_answer(body, chat=chat)
        except (Malformed, Refused) as error:
            raise ModelError(" ".join(str(error).split()) or "nothing") from error

    answer = check_reader("completions of a server", read)
    for choice in answer.choices if answer is not None else ():
        said = (choice.text or "", choice.token_ids, choice.finish_reason, choice.logprob)
        row = Response("k", "m", "t", "p", 0, *said, 0, reasoning=choice.reasoning)
        to_table([row], RESPONSE_SCHEMA).validate(full=True)


PROMPT = Prompt("p", (Message("user", "Name a bird."),))
VECTORS = [[{"index": 0, "embedding": [1.0, 2.0]}, {"index": 1, "embedding": [0.5, 0.1]}]]
REWARDS = [[{"index": 0, "data": [0.5]}], [{"data": 0.5}]]


@given(rows=faulty(VECTORS) | VALUES)
@fuzz(26)
def test_embeddings(rows: Any) -> None:
    model = served.ServedEmbedder("m", "http://127.0.0.1:1/v1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model._server, "post", lambda *_, **__: [list_of(rows)])
        vectors = check_reader(
            "embeddings of a server", lambda: model.compute([(PROMPT, "a"), (PROMPT, "b")])
        )
    if vectors is not None:
        assert np.isfinite(vectors).all()


@given(rows=faulty(REWARDS) | VALUES)
@fuzz(26)
def test_rewards(rows: Any) -> None:
    model = served.ServedRewardModel("m", "http://127.0.0.1:1/v1")
    model._proven = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model._server, "post", lambda *_, **__: [list_of(rows)])
        rewards = check_reader("rewards of a server", lambda: model.compute([(PROMPT, "a")]))
    if rewards is not None:
        assert rewards.shape == (1, 1)
        assert np.isfinite(rewards).all()


def list_of(rows: Any) -> list[Any]:
    return rows if isinstance(rows, list) else [rows]


TIMES = ("Thu, 01 Jan 1970 00:00:00 GMT", "1e999", "9" * 400, "-1", "nan", "inf")
HEADERS = (
    *("retry-after", "retry-after-ms"),
    *("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"),
)


@given(
    headers=st.dictionaries(
        st.sampled_from(HEADERS),
        st.text(alphabet=st.sampled_from("0123456789.-ehmsMonGT:, \0é٣"), max_size=20)
        | st.sampled_from(TIMES),
    )
)
@fuzz(26)
def test_times_to_wait(headers: dict[str, str]) -> None:
    wait = check_reader("times to wait", lambda: (wait_told(headers),))
    assert wait is not None
    assert wait[0] is None or wait[0] >= 0
