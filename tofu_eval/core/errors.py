"""Every error that tofu-eval raises on purpose.

    TofuEvalError
    ├── ConfigError          an option, a config file or a task file says something impossible
    ├── UnknownNameError     no task, metric, engine or loss has that name
    ├── DuplicateNameError   two of them have the same name
    ├── PluginError          a plug-in cannot be loaded, or fails
    ├── DataError            an input file (responses, prompts, leaderboard) is malformed
    ├── ModelError           a model cannot be found, loaded or used
    ├── MissingDependencyError  an optional package is not installed
    ├── StoreError           a run directory cannot be read, written or locked
    ├── TrainingError        training cannot go on
    └── MetricInputError     a metric is undefined on this group (stored as null + reason)

A message is one line: what happened, got vs expected, the next command to type. The command line
prints it and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TofuEvalError(Exception):
    """Root of every error that tofu-eval raises on purpose."""


class ConfigError(TofuEvalError):
    """An option, a config file or a task file says something impossible."""


class UnknownNameError(TofuEvalError):
    """No registered item has that name."""

    @classmethod
    def of(cls, noun: str, name: str, known: Iterable[str], listing: str) -> UnknownNameError:
        """Build the message `Unknown metric 'x'. Did you mean 'y'? List all: <listing>`."""
        close = difflib.get_close_matches(name, list(known), n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return cls(f"Unknown {noun} '{name}'.{hint} List all: {listing}")


class DuplicateNameError(TofuEvalError):
    """Two registered items have the same name."""


class PluginError(TofuEvalError):
    """A plug-in cannot be loaded, or fails."""


class DataError(TofuEvalError):
    """An input file is malformed."""


class ModelError(TofuEvalError):
    """A model cannot be found, loaded or used."""


class MissingDependencyError(TofuEvalError):
    """An optional package is not installed."""

    @classmethod
    def of(cls, purpose: str, package: str, extra: str) -> MissingDependencyError:
        """Build the message that names the package and the command that installs it."""
        return cls(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it: pip install 'tofu-eval[{extra}]'"
        )


class StoreError(TofuEvalError):
    """A run directory cannot be read, written or locked."""


class TrainingError(TofuEvalError):
    """Training cannot go on."""


class MetricInputError(TofuEvalError):
    """A metric is undefined on this group of responses; stored as null with this reason."""


def is_panic(error: BaseException) -> bool:
    """Whether a library in Rust gave up: no Exception, and nothing that the user did either."""
    return type(error).__name__ == "PanicException"


def say_error(error: BaseException, most: int = 300) -> str:
    """What a library's error says, on one line without a full stop; its kind where it is mute."""
    return " ".join(str(error).split())[:most].rstrip(".") or type(error).__name__
