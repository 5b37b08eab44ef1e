"""What costs a model to compute: one feature, one file, found by its decorator.

The modules that declare one (`@feature`) are light enough for `--help`; what computes it is
imported where it is needed.
"""

from tofu_eval.features.base import (
    FEATURES,
    Cache,
    Feature,
    FeatureModel,
    GroupFeature,
    Opening,
    feature,
    fill,
    pair_key,
)

__all__ = [
    "FEATURES",
    "Cache",
    "Feature",
    "FeatureModel",
    "GroupFeature",
    "Opening",
    "feature",
    "fill",
    "pair_key",
]
