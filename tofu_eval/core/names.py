"""What may be a name of a model, a task or a run, and how long an id may be."""

from __future__ import annotations

import re

from tofu_eval.core.errors import ConfigError

LONGEST_NAME = 100

RESERVED_NAME = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?|.*\.", re.IGNORECASE)
"""Names of devices, with any ending, and names that end in a dot."""

LONGEST_ID = 4096
"""Characters of a prompt's id."""

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_name(noun: str, name: str) -> str:
    """Return `name`, or raise ConfigError: it becomes a folder, on every system."""
    if not NAME_PATTERN.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"Invalid {noun} name '{name[:LONGEST_NAME]}': use letters, digits, '.', '_' and '-', "
            f"starting with a letter or a digit, {LONGEST_NAME} at most."
        )
    if RESERVED_NAME.fullmatch(name):
        raise ConfigError(
            f"Invalid {noun} name '{name}': Windows can have no folder of that name. Use another."
        )
    return name
