"""The words of validity warnings: the only place that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tofu_eval.analysis.warnings import Kind, ValidityWarning

_METRICS = 4
"""Metrics that a warning names in text; JSON has all."""

EACH = 3
"""Models of which a line each is said; of more there is one with the least and the greatest."""


def warning_text(warning: ValidityWarning, baseline: str) -> str:
    """A warning as one sentence or two, which name what it is about and what to do."""
    said = _WORDS[warning.kind](warning, baseline)
    return f"{said} No verdict on {_metrics(warning)}." if warning.voids else said


def warning_record(warning: ValidityWarning, baseline: str) -> dict[str, object]:
    """A warning for a program: its numbers and its words."""
    return {
        "kind": warning.kind,
        "voids": warning.voids,
        "task": warning.task,
        "models": list(warning.models),
        "metrics": list(warning.metrics),
        "numbers": dict(warning.numbers),
        "text": warning_text(warning, baseline),
    }


def warning_lines(warnings: Iterable[ValidityWarning], baseline: str) -> list[str]:
    """The words of each, none twice; one for more than EACH models of which the same is told."""
    lines: dict[str, None] = {}
    warnings = list(warnings)
    alike: dict[tuple[object, ...], list[ValidityWarning]] = {}
    for warning in warnings:
        alike.setdefault((warning.kind, warning.task, warning.voids), []).append(warning)
    for warning in warnings:
        same = alike[warning.kind, warning.task, warning.voids]
        if warning.kind in _OF_MANY and not warning.voids and len(same) > EACH:
            lines[_many_text(same, baseline)] = None
        else:
            lines[warning_text(warning, baseline)] = None
    return list(lines)


def _many_text(same: Sequence[ValidityWarning], baseline: str) -> str:
    """`On t, 4 models have 8% (sft) to 22% (tofu) of their responses, base 36%, …`."""
    shares = {" and ".join(w.models): float(w.numbers["share"]) for w in same}
    least, most = min(shares, key=lambda m: shares[m]), max(shares, key=lambda m: shares[m])
    had = (
        f"On {same[0].task}, {len(same)} models have {shares[least]:.0%} ({least}) to "
        f"{shares[most]:.0%} ({most}) of their responses, {baseline} "
        f"{_share(same[0], 'baseline_share')},"
    )
    return _OF_MANY[same[0].kind].format(had)


def _metrics(warning: ValidityWarning) -> str:
    if not warning.metrics:
        return "any metric"
    named = ", ".join(warning.metrics[:_METRICS])
    left = len(warning.metrics) - _METRICS
    return f"{named} and {left} more" if left > 0 else named


def _name_models(warning: ValidityWarning) -> str:
    return f"On {warning.task}, {' and '.join(warning.models)}"


def _baseline_text(warning: ValidityWarning, baseline: str, what: str) -> str:
    """The baseline with its number; nothing where the warning is of the only model."""
    return "" if warning.models == (baseline,) else f", {baseline} {what}"


def _number(warning: ValidityWarning, name: str) -> str:
    value = warning.numbers[name]
    return value if isinstance(value, str) else f"{value:.3g}"


def _count(warning: ValidityWarning, name: str, noun: str) -> str:
    count = int(warning.numbers[name])
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _a_prompt(warning: ValidityWarning, name: str, kind: str = "") -> str:
    """`5 responses a prompt`, `1 response a prompt`."""
    count = _number(warning, name)
    return f"{count} {kind}response{'' if count == '1' else 's'} a prompt"


def _share(warning: ValidityWarning, name: str) -> str:
    return f"{float(warning.numbers[name]):.0%}"


def _no_common_prompts(warning: ValidityWarning, baseline: str) -> str:
    return (
        f"{_name_models(warning)} and {baseline} have no prompt in common: its "
        f"{_count(warning, 'prompts', 'prompt')} and the {warning.numbers['baseline_prompts']} of "
        f"{baseline} are others. Compare answers to the same prompts."
    )


def _too_few_prompts(warning: ValidityWarning, baseline: str) -> str:
    return (
        f"{_name_models(warning)} is compared on {_count(warning, 'prompts', 'prompt')}: no "
        f"result could be clear here (p is at least {_number(warning, 'least_p')}). Ask at least 6 "
        "prompts, better 20."
    )


def _unequal_responses(warning: ValidityWarning, baseline: str) -> str:
    return (
        f"{_name_models(warning)} has {_a_prompt(warning, 'responses')}, "
        f"{baseline} {_number(warning, 'baseline_responses')}, and their numbers move the value. "
        "Compare equal numbers."
    )


def _too_few_responses(warning: ValidityWarning, baseline: str) -> str:
    return (
        f"{_name_models(warning)} has {_a_prompt(warning, 'responses', 'scored ')}, "
        f"{baseline} {_number(warning, 'baseline_responses')}: fewer than two prompts have two of "
        "each. Draw more (--samples N), or leave out fewer (--truncate, --unfinished)."
    )


def _clusters(warning: ValidityWarning, baseline: str) -> str:
    field = warning.numbers["field"]
    return (
        f"On {warning.task} the prompts are of {warning.numbers['clusters']} groups by '{field}', "
        f"over which the interval of {_metrics(warning)} is {_number(warning, 'ratio')} times as "
        f"wide. If other prompts could be of other groups: --cluster {field}."
    )


def _lengths(warning: ValidityWarning, baseline: str) -> str:
    return (
        f"{_name_models(warning)} has responses of {_number(warning, 'characters')} characters on "
        f"average, {baseline} of {_number(warning, 'baseline_characters')}, and length moves the "
        "value. Compare equal lengths: score again with --truncate WORDS."
    )


def _missing_responses(warning: ValidityWarning, baseline: str) -> str:
    beside = _baseline_text(warning, baseline, _share(warning, "baseline_share"))
    return (
        f"{_name_models(warning)} has {_share(warning, 'share')} of its responses empty, filtered "
        f"or failed{beside}: the numbers are of the others."
    )


def _unfinished_responses(warning: ValidityWarning, baseline: str) -> str:
    beside = _baseline_text(warning, baseline, _share(warning, "baseline_share"))
    return (
        f"{_name_models(warning)} has {_share(warning, 'share')} of its responses stopped at the "
        f"token limit{beside}: they are scored as far as they go."
    )


def _unread_texts(warning: ValidityWarning, baseline: str) -> str:
    beside = _baseline_text(warning, baseline, _share(warning, "baseline_share"))
    return (
        f"{_name_models(warning)} has {_share(warning, 'share')} of its responses{beside} in "
        "words that are unknown to the embedding model (more than 5% of their tokens), whose "
        "vectors say little of them. Score again with a multilingual one: --embedding-model "
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2."
    )


def _few_prompts(warning: ValidityWarning, baseline: str) -> str:
    return (
        f"On {warning.task} some intervals stand on {_count(warning, 'prompts', 'prompt')}: with "
        f"fewer than {warning.numbers['enough']} they are too narrow where scores are skewed or "
        "tied."
    )


def _left_out_prompts(warning: ValidityWarning, baseline: str) -> str:
    return (
        f"{_name_models(warning)} is compared on {warning.numbers['kept']} of "
        f"{warning.numbers['total']} prompts by {_metrics(warning)}: the others have no value of "
        f"it or of {baseline}."
    )


def _unfinished_run(warning: ValidityWarning, baseline: str) -> str:
    return f"{warning.numbers['path']} is unfinished: run the command that made it again."


def _note(warning: ValidityWarning, baseline: str) -> str:
    return str(warning.numbers["text"])


_WORDS: Mapping[Kind, Callable[[ValidityWarning, str], str]] = {
    "no_common_prompts": _no_common_prompts,
    "too_few_prompts": _too_few_prompts,
    "unequal_responses": _unequal_responses,
    "too_few_responses": _too_few_responses,
    "clusters": _clusters,
    "lengths": _lengths,
    "unread_texts": _unread_texts,
    "missing_responses": _missing_responses,
    "unfinished_responses": _unfinished_responses,
    "few_prompts": _few_prompts,
    "left_out_prompts": _left_out_prompts,
    "unfinished_run": _unfinished_run,
    "note": _note,
}

_OF_MANY: Mapping[Kind, str] = {
    "unread_texts": "{} in words that are unknown to the embedding model (more than 5% of their "
    "tokens), whose vectors say little of them. Score again with a multilingual one: "
    "--embedding-model sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2.",
    "missing_responses": "{} empty, filtered or failed: the numbers are of the others.",
    "unfinished_responses": "{} stopped at the token limit: they are scored as far as they go.",
}
"""What is said of shares of the responses of many models."""
