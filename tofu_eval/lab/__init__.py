"""The lab: a synthetic world whose true distribution is known exactly.

It shows on real, tiny models what the benchmark measures, and proves that it measures it.
"""
