"""What costs a model or a tokenizer to compute: done once per text, kept in the run.

`text` (tokens), `embedding` (SentenceEmbedder) and `reward` (RewardModel) are imported where
they are used, so that importing this package loads nothing heavy.
"""

from tofu_eval.features.base import Cache, FeatureModel, GroupFeature

__all__ = ["Cache", "FeatureModel", "GroupFeature"]
