"""What is said keeps no secret."""

from __future__ import annotations

import pytest

from tofu_eval.core import secrets


@pytest.mark.parametrize("order", [("sk-test", "sk-test-key-1"), ("sk-test-key-1", "sk-test")])
def test_a_key_that_begins_with_another_is_struck_whole(
    order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_KEYS", set())
    for key in order:
        monkeypatch.setenv("SOME_KEY", key)
        secrets.read_key("SOME_KEY", "http://localhost/v1")
    assert secrets.strike_keys("bad sk-test-key-1, bad sk-test") == "bad [key], bad [key]"
