"""From a request to the token ids that the model is given; one way for all that tokenize.

What can be wrong with a prompt is said here, in one line and before anything is generated: an
engine that is handed a bad prompt refuses the whole batch, or cuts the prompt without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateError

from tofu_eval.core.errors import ModelError
from tofu_eval.core.models import ResolvedModel, has_tokenizer
from tofu_eval.core.types import Request


@dataclass(frozen=True)
class Encoder:
    """A model's tokenizer with the facts that bound a prompt.

    Args:
        name: what messages call the model.
        tokenizer: of the transformers library.
        vocabulary: tokens that the model knows.
        context: positions that the model has, prompt and response together; None is no limit.
        ends: the ids that end a response: those of the generation config and the tokenizer's.
        configured: the generation config's own, for the audit.
    """

    name: str
    tokenizer: Any
    vocabulary: int
    context: int | None
    ends: tuple[int, ...]
    configured: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, name: str, tokenizer: Any, config: Any, generation: Any, vocabulary: int
    ) -> Encoder:
        """From what transformers loaded; `vocabulary` is the number of the model's embeddings."""
        eos = generation.eos_token_id
        configured = tuple(e for e in (eos if isinstance(eos, list) else [eos]) if e is not None)
        ends = {*configured, tokenizer.eos_token_id} - {None}
        context = getattr(config.get_text_config(), "max_position_embeddings", None)
        known = tuple(sorted(end for end in ends if end < vocabulary))
        return cls(name, tokenizer, vocabulary, context, known, configured)

    def at_most(self, context: int | None) -> Encoder:
        """The same with a shorter context, where one is given."""
        both = [limit for limit in (self.context, context) if limit is not None]
        return replace(self, context=min(both, default=None))

    def encode(self, request: Request) -> list[int]:
        """The token ids of a request's prompt, never cut.

        Raises:
            ModelError: the prompt is empty, too long, without a chat template, or has a token that
                the model does not know.
        """
        ids = self._chat(request) if request.messages is not None else self._plain(request)
        max_tokens = request.sampling.max_tokens
        where = f"Prompt '{request.prompt_id}' of task '{request.task}'"
        if max(ids) >= self.vocabulary:
            raise ModelError(
                f"The tokenizer of '{self.name}' does not fit the model: {where} has the token "
                f"{max(ids)}, the model knows {self.vocabulary}. Give the tokenizer that the "
                "model was trained with."
            )
        if self.context is not None and len(ids) + max_tokens > self.context:
            room = self.context - len(ids)
            remedy = f"--max-tokens {room} or less, " if room > 0 else ""
            raise ModelError(
                f"{where} is too long for '{self.name}': {len(ids)} tokens and max_tokens "
                f"{max_tokens} are {len(ids) + max_tokens}, its context is {self.context}. Use "
                f"{remedy}a shorter prompt, or --limit to leave it out."
            )
        return ids

    def encode_all(self, requests: Iterable[Request]) -> list[list[int]]:
        """`encode` of each; a prompt that many requests share is tokenized once."""
        known: dict[Any, list[int]] = {}
        rows = []
        for request in requests:
            asked = (request.text, request.messages, request.sampling.max_tokens)
            if asked not in known:
                known[asked] = self.encode(request)
            rows.append(known[asked])
        return rows

    def continued(self, request: Request, ids: list[int]) -> list[int]:
        """The token ids of a request's completion after those of its prompt.

        Prompt and completion are tokenized together, a space between them where the prompt ends
        without one; where that changes the prompt's own tokens, and after a chat's template, the
        completion is tokenized by itself.

        Raises:
            ModelError: it is no token, or too long together with the prompt.
        """
        completion = request.completion or ""
        if request.messages is None:
            text = request.text or ""
            joint = "" if not text or text[-1].isspace() else " "
            whole = self._plain(replace(request, text=f"{text}{joint}{completion}"))
            added = whole[len(ids) :] if whole[: len(ids)] == ids else None
        else:
            joint, added = "", None
        if added is None:
            added = self.tokenizer(
                f"{joint}{completion}", add_special_tokens=False, verbose=False
            ).input_ids
        where = f"The choice {completion!r:.40} of prompt '{request.prompt_id}', '{request.task}',"
        if not added:
            raise ModelError(f"{where} is no token to '{self.name}'. Give the choice another text.")
        if self.context is not None and len(ids) + len(added) > self.context:
            raise ModelError(
                f"{where} is too long for '{self.name}': {len(ids) + len(added)} tokens with its "
                f"prompt, its context is {self.context}. Use a shorter prompt, or --limit."
            )
        return list(added)

    def texts(self, rows: list[list[int]]) -> list[str]:
        """The text of each response; an end token at the end is no part of it."""
        cut = [ids[:-1] if ids and ids[-1] in self.ends else ids for ids in rows]
        texts: list[str] = self.tokenizer.batch_decode(
            cut, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return texts

    def _plain(self, request: Request) -> list[int]:
        text, end = request.text or "", self.tokenizer.eos_token
        ids: list[int] = self.tokenizer(text, verbose=False).input_ids
        # Some tokenizers close every text; a closed prompt has nothing to be continued.
        if end and ids and ids[-1] == self.tokenizer.eos_token_id and not text.endswith(end):
            ids = ids[:-1]
        if not ids and self.tokenizer.bos_token_id is not None:
            ids = [self.tokenizer.bos_token_id]
        if not ids:
            raise ModelError(
                f"Prompt '{request.prompt_id}' of task '{request.task}' is empty, and the "
                f"tokenizer of '{self.name}' has no token to begin with. Give the prompt a text."
            )
        return ids

    def _chat(self, request: Request) -> list[int]:
        """Through the chat template, which writes the special tokens itself."""
        if self.tokenizer.chat_template is None:
            raise ModelError(
                f"The tokenizer of '{self.name}' has no chat template, which the format 'chat' "
                "needs. Use --format base or --format sft."
            )
        turns = [{"role": m.role, "content": m.content} for m in request.messages or ()]
        try:
            ids: list[int] = self.tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_dict=False
            )
        except TemplateError as error:
            raise ModelError(
                f"The chat template of '{self.name}' refuses the prompt '{request.prompt_id}' of "
                f"task '{request.task}': {error}. Use --format base or --format sft."
            ) from error
        return ids


def open_encoder(resolved: ResolvedModel, name: str, *, trust_remote_code: bool) -> Encoder:
    """The encoder of a model's files; the weights are not read.

    An adapter's own tokenizer, where it has one, is used: it was trained with that one.

    Raises:
        ModelError: the tokenizer or the configuration cannot be read.
    """
    import transformers

    from tofu_eval.engines.loading import explained, quietly

    trust = {"trust_remote_code": trust_remote_code}
    with quietly():
        folder = resolved.base
        if resolved.adapter is not None and has_tokenizer(resolved.adapter):
            folder = resolved.adapter
        with explained(
            f"The tokenizer of '{name}' cannot be loaded from {folder}",
            "Save it there again: tokenizer.save_pretrained(...)",
        ):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trust)
        with explained(
            f"The configuration of '{name}' cannot be read from {resolved.base}",
            "Check that it is whole, and a causal language model that this transformers knows.",
        ):
            config = transformers.AutoConfig.from_pretrained(resolved.base, **trust)
            if (resolved.base / "generation_config.json").exists():
                generation = transformers.GenerationConfig.from_pretrained(resolved.base)
            else:
                generation = transformers.GenerationConfig.from_model_config(config)
    vocabulary = config.get_text_config().vocab_size
    return Encoder.of(name, tokenizer, config, generation, vocabulary)
