"""Secrets that are in no file and no line: keys from the environment, passwords in addresses."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from tofu_eval.core.errors import ConfigError

VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY")
"""Environment variables that hold a secret, whoever reads them."""

SHORTEST = 6
"""Characters; what is shorter is no secret, and part of many words."""

NO_KEY = "none"
"""What is sent where there is no key; clients want one."""

_KEYS: set[str] = set()
"""The keys that this process has read."""

_UNNAMED: dict[str, str] = {}
"""Addresses that no key goes to, each with the option that would name it."""

# With one slash, where an address was taken for a path.
_PASSWORD = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*:/|\b(?:https?|ftp|ssh|git):)/)[^\s/?#]*@")
_ESCAPE = re.compile(r"\\u00|\\/")


def withhold_keys(addresses: Mapping[str, str]) -> None:
    """Say which addresses a file names, and not this call: their servers get no key.

    Args:
        addresses: each with the option that would name it; they take the place of those before.
    """
    _UNNAMED.clear()
    _UNNAMED.update(addresses)


def read_key(variable: str, url: str) -> str:
    """The key in an environment variable, which `strike_secrets` knows from then on.

    Args:
        variable: the name of the variable.
        url: where it will be sent.

    Raises:
        ConfigError: there is a key, and `withhold_keys` has that address.
    """
    key = os.environ.get(variable, "").strip()
    if key and url in _UNNAMED:
        raise ConfigError(
            f"The key in {variable} would go to {url}, which the run names and this call does not. "
            f"If that server may have it, name it: {_UNNAMED[url]} {url}; else unset {variable}"
        )
    if len(key) >= SHORTEST:
        _KEYS.add(key)
    return key or NO_KEY


def strike_secrets(text: str) -> str:
    """The text without keys, which servers like to repeat, and without passwords in addresses."""
    text = strike_keys(text)
    return _PASSWORD.sub(r"\1[password]@", text) if "@" in text else text


def strike_keys(text: str) -> str:
    """The text without keys."""
    for key in _known_keys():
        text = text.replace(key, "[key]")
    return text


def strike_keys_in(value: Any, text: str) -> Any:
    """A value of JSON without keys that `text`, which it was read from, wrote with escapes."""
    return _strike_in(value) if _ESCAPE.search(text) else value


def has_password(text: str) -> bool:
    """Whether a text has an address with a user or a password in it."""
    return "@" in text and _PASSWORD.search(text) is not None


def hide_password(url: str) -> str:
    """What a message may repeat of an address that cannot be one."""
    return f"[password]@{url.rpartition('@')[2]}" if "@" in url else url


def _known_keys() -> list[str]:
    told = {os.environ.get(name, "").strip() for name in VARIABLES}
    keys = _KEYS | {key for key in told if len(key) >= SHORTEST}
    return sorted(keys, key=len, reverse=True)  # one may begin with another


def _strike_in(value: Any) -> Any:
    if isinstance(value, str):
        return strike_keys(value)
    if isinstance(value, list):
        return [_strike_in(item) for item in value]
    if isinstance(value, dict):
        return {_strike_in(name): _strike_in(item) for name, item in value.items()}
    return value
