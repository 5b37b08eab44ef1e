"""What a metric promises at its ends, for the tests that hold for every metric.

A metric that stands in none of these does not depend on the order of the responses, takes two of
them or more, and reaches the end of its range that its direction calls less (more) diverse where
all responses are the same text (where no two share a token, a class or a direction).
"""

from __future__ import annotations

from collections.abc import Mapping

ORDERED = {
    "acc",
    "acc_norm",
    "compression_diversity_gzip",
    "compression_diversity_xz",
    "compression_ratio_gzip",
    "compression_ratio_gzip@diversity-0.3",
    "compression_ratio_xz",
    "ngram_diversity@diversity-0.3",
    "self_bleu@gem",
    "utility_k",
}
"""The value depends on the order of the responses."""

LEAST: Mapping[str, int] = {
    "distinct_at_10": 10,
    "distinct_at_10_exact": 10,
    "distinct_at_5": 5,
    "distinct_at_5_exact": 5,
    "distinct_passing_at_10": 10,
    "distinct_passing_at_5": 5,
    "pass_at_1": 1,
    "pass_at_10": 10,
    "pass_at_100": 100,
    "pass_at_16": 16,
    "pass_at_3": 3,
    "pass_at_32": 32,
    "pass_at_4": 4,
    "pass_at_5": 5,
    "pass_at_50": 50,
    "pass_at_64": 64,
    "pass_at_8": 8,
    "target_kl": 1,
    "target_total_variation": 1,
    "target_unparsable_rate": 1,
}
"""How many responses it takes, where these are not two."""

IDENTICAL: Mapping[str, str | None] = {
    "collision_ratio": None,
    "collision_ratio_exact": None,
    "compression_diversity_gzip": None,
    "compression_diversity_xz": None,
    "compression_ratio_gzip": None,
    "compression_ratio_gzip@diversity-0.3": None,
    "compression_ratio_xz": None,
    "conditional_surprise": None,
    "decan": None,
    "distinct_1": None,
    "distinct_2": None,
    "distinct_3": None,
    "distinct_4": None,
    "ead": None,
    "ead@2604.16027": None,
    "log_determinant": "log2(n + 1)",
    "mattr": None,
    "excess_entropy": None,
    "ngram_diversity": None,
    "ngram_diversity@diversity-0.3": None,
    "ngram_diversity@gem": None,
    "ngram_entropy_1": None,
    "ngram_entropy_2": None,
    "ngram_entropy_3": None,
    "ngram_entropy_4": None,
    "nli_diversity": None,
    "nli_diversity@2604.16027": None,
    "pairwise_redundancy": None,
    "reference_coverage": None,
    "reference_coverage_exact": None,
    "reference_diversity_distance": None,
    "self_bleu_gem": None,
    "self_bleu_texygen": None,
    "self_repetition": None,
    "sequence_entropy": None,
    "target_collision_ratio": None,
    "target_kl": None,
    "target_total_variation": None,
    "target_unparsable_rate": None,
    "utility_k": None,
}
"""The value where all responses are the same text; None where it depends on the text."""

DIFFERENT: Mapping[str, str | None] = {
    "centroid_distance": None,
    "chao1": None,
    "chao1_exact": None,
    "compression_diversity_gzip": None,
    "compression_diversity_xz": None,
    "compression_ratio_gzip": None,
    "compression_ratio_gzip@diversity-0.3": None,
    "compression_ratio_xz": None,
    "conditional_surprise": None,
    "cosine_distance_given_prompt": "0.917431192660550",  # 1 / (1 + 0.3^2)
    "decan": None,
    "distinct_k@novelty-bench-1.0": None,
    "ead": None,
    "ead@2604.16027": None,
    "entropy_miller_madow": None,
    "entropy_miller_madow_exact": None,
    "mean_pairwise_cosine_distance": "1",
    "nearest_neighbour_distance": "1",
    "excess_entropy": None,
    "ngram_diversity@gem": None,
    "ngram_entropy_1": None,
    "ngram_entropy_2": None,
    "ngram_entropy_3": None,
    "ngram_entropy_4": None,
    "nli_diversity": None,
    "nli_diversity@2604.16027": None,
    "pairwise_redundancy": None,
    "reference_coverage": None,
    "reference_coverage_exact": None,
    "reference_diversity_distance": None,
    "self_bleu@gem": None,
    "sequence_entropy": None,
    "target_collision_ratio": None,
    "target_kl": None,
    "target_total_variation": None,
    "target_unparsable_rate": None,
    "utility_k": None,
    "vendi_given_prompt": None,
}
"""The value where no two responses share anything; None where it depends on the texts."""
