"""Servers that a run names and this call does not: whose run that is, nobody knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from tofu_eval.core.secrets import withhold_keys
from tofu_eval.core.sections import name_of, settings_of
from tofu_eval.features.base import sections

ADDRESS = "base_url"
"""What the setting of a server's address is called, in every section and for the models."""


def withhold_from_stored(stored: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Send no key to servers that only the settings of a run name, but for this machine's own.

    Args:
        stored: what counts here of the settings in run.json.
        options: what this call says.
    """
    named = {url for url, _ in _addresses(options)}
    withhold_keys(
        {
            url: flag
            for url, flag in _addresses(stored)
            if url not in named and not _is_this_machine(url)
        }
    )


def _addresses(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The addresses of servers, each with the option that names it where a run is scored again."""
    if settings.get(ADDRESS):
        yield str(settings[ADDRESS]), "--judge-base-url"  # what asks the models' server by default
    for kind in sections():
        values = settings.get(name_of(kind)) or {}
        for one in settings_of(kind):
            if one.name == ADDRESS and values.get(ADDRESS):
                yield str(values[ADDRESS]), one.flag


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
