"""Ids that no vocabulary has, and other large numbers beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tofu_eval.core.errors import ModelError
from tofu_eval.core.token_ids import check_token_ids

FAR = 2**31


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.json", {"a": 0, "b": FAR}),
        ("added_tokens.json", {"<end>": FAR}),
        ("tokenizer.json", {"model": {"vocab": {"a": FAR}}}),
        ("tokenizer.json", {"added_tokens": [{"id": FAR, "content": "<end>"}]}),
        ("tokenizer_config.json", {"added_tokens_decoder": {str(FAR): {"content": "<end>"}}}),
    ],
)
def test_an_id_that_no_vocabulary_has(name: str, content: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ModelError, match=f"{name} has the token id {FAR}; more than 10,000,000"):
        check_token_ids(tmp_path)


@pytest.mark.parametrize("name", ["model_max_length", "max_length", "stride"])
def test_settings_may_be_as_large_as_they_are(name: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({name: 10**30}))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"truncation": {"max_length": 10**30}}))
    check_token_ids(tmp_path)
