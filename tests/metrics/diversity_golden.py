"""What the package `diversity` 0.3.1 itself says of a few texts: prints diversity_golden.json.

In an environment of its own:

    pip install --no-deps diversity==0.3.1
    pip install nltk==3.10.4 rouge-score==0.1.2 tqdm numpy
    python tests/metrics/diversity_golden.py > tests/metrics/diversity_golden.json

The four modules are loaded by their files: the package's own __init__ imports spaCy and
transformers. `evaluate` is stood in for because ROUGE-L never calls it. The clock stands still,
since compression_ratio lets it into the file whose size it measures.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import time
import types
from typing import Any

TEXTS = {
    "nothing in common": ["red apple", "green pear"],
    "all the same": ["the cat sat on the mat", "the cat sat on the mat"],
    "some alike": [
        "the cat sat on the mat today",
        "the cat sat on the mat yesterday",
        "a dog lay by the warm fire",
        "the dog lay on the mat",
    ],
    "sentences": [
        "It rained all night, and the river rose; by dawn the bridge was gone.",
        "It snowed all day, and the road was gone; by night the village was cut off.",
        "The bridge was built by hand. It took nine years, all of them dry.",
    ],
}


def module(name: str) -> Any:
    path = importlib.metadata.distribution("diversity").locate_file(f"diversity/{name}.py")
    spec = importlib.util.spec_from_file_location(name, str(path))
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def main() -> None:
    sys.modules["evaluate"] = types.SimpleNamespace(load=None)  # type: ignore[assignment]
    time.time = lambda: 0.0
    found = {}
    for name, texts in TEXTS.items():
        found[name] = {
            "texts": texts,
            "compression_ratio_gzip": module("compression").compression_ratio(texts, "gzip"),
            "compression_ratio_xz": module("compression").compression_ratio(texts, "xz"),
            "homogenization_rougel": module("homogenization").homogenization_score(
                texts, "rougel", verbose=False
            ),
            "self_repetition": float(
                module("self_repetition").self_repetition_score(texts, verbose=False)
            ),
            "ngram_diversity": module("ngram_diversity").ngram_diversity_score(texts),
        }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
