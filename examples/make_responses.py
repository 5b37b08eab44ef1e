"""Make the responses that the first pages of the docs use: made up, so that anybody may have them.

python examples/make_responses.py   writes responses/base.jsonl, sft.jsonl and tofu.jsonl

Three "models" answer 30 requests, 8 times each. The base knows many answers and is seldom wrong in
form, "sft" knows few of them, "tofu" most.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

ASKED = {
    "fruit": (
        *("apple", "pear", "plum", "fig", "lime", "kiwi", "date", "sloe", "mango", "quince"),
        *("cherry", "medlar"),
    ),
    "river": (
        *("Rhine", "Po", "Ebro", "Lech", "Tay", "Oder", "Volga", "Tagus", "Loire", "Drava"),
        *("Inn", "Neva"),
    ),
    "colour": (
        *("red", "teal", "ochre", "navy", "olive", "coral", "amber", "indigo", "ivory", "plum"),
        *("rust", "mint"),
    ),
}
"""What is asked for, and what there is to say."""

PLACES = (
    *("for a poem", "for a quiz", "for a crossword", "for a child", "for a list", "for a song"),
    *("for a password", "for a game", "for a postcard", "for a riddle"),
)
SENTENCES = ("Take {}.", "{} would do.", "How about {}?", "{}, of course.", "I suggest {}.")
KNOWN = {"base": (12, 5), "sft": (3, 2), "tofu": (9, 4)}
"""How many answers and how many sentences each knows."""


def rows_of(model: str) -> list[dict[str, object]]:
    """The rows of a model's file."""
    draw = random.Random(f"tofu-eval {model}")  # noqa: S311 - made-up answers
    answers, sentences = KNOWN[model]
    rows = []
    for kind, words in ASKED.items():
        for i, place in enumerate(PLACES):
            turned = (words[i:] + words[:i])[:answers]
            texts = []
            for _ in range(8):
                text = draw.choice(SENTENCES[:sentences]).format(draw.choice(turned))
                texts.append(text[0].upper() + text[1:])
            rows.append(
                {"prompt": f"Name a {kind} {place}.", "responses": texts, "references": list(words)}
            )
    return rows


def main() -> None:
    """Write the files."""
    folder = Path(__file__).with_name("responses")
    folder.mkdir(exist_ok=True)
    for model in KNOWN:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(model))
        (folder / f"{model}.jsonl").write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main()
