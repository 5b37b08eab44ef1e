"""The feature "listed_refusal": whether a response holds a text of a list of refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.sections import section, setting
from tofu_eval.core.types import Prompt, digest
from tofu_eval.features.base import Opening, feature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@section("refusals", title="Refusals")
class RefusalSettings:
    """Which texts make a refusal of a response that holds one."""

    file: str | None = setting(
        None,
        flag="--refusals",
        metavar="FILE",
        help="Texts of refusals, one a line, for attack_success_rate@2605.00195. Default: the "
        "phrases of refusal_rate",
    )


@feature(name="listed_refusal", settings=(RefusalSettings,))
class ListedRefusals:
    """(n, 1), 1 where a text of the list stands in the response, whatever its case."""

    def __init__(self, opening: Opening) -> None:
        file = opening.settings(RefusalSettings).file
        listed = _known_phrases() if file is None else _read_list(Path(file))
        self._listed = tuple(dict.fromkeys(text.lower() for text in listed))
        made = digest(list(self._listed))
        self.identity: Mapping[str, Any] = {"kind": "substrings", "digest": made}
        self.signature = f"{'phrases' if file is None else Path(file).name}@{made[:8]}"

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the text; the prompt has no say."""
        return digest(text)

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """One row a response."""
        import numpy as np  # not for --help

        rows = [[any(one in text.lower() for one in self._listed)] for _, text in pairs]
        return np.array(rows, dtype=np.float32).reshape(-1, 1)


def _known_phrases() -> list[str]:
    from tofu_eval.metrics.refusal import refusal_phrases

    return [phrase for phrases in refusal_phrases().values() for phrase in phrases]


def _read_list(file: Path) -> list[str]:
    """The lines of a file that are not blank, each a text to look for.

    Raises:
        ConfigError: it cannot be read, or has none.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"Cannot read the list of refusals {file}: {why}. Give a text file with one a line: "
            "--refusals FILE"
        ) from error
    listed = [line for line in lines if line.strip()]
    if not listed:
        raise ConfigError(f"{file} lists no refusal. Write one a line, such as: I cannot help")
    return listed
