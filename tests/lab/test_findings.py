"""The rule that makes sentences, on seed tables made by hand."""

from __future__ import annotations

import pytest

from tofu_eval.lab import findings as say
from tofu_eval.lab.findings import MeasuredRow
from tofu_eval.lab.tables import tables

SFT = {"validity": 0.95, "tail": 0.9, "unseen": 0.5, "collision": 1.1, "distinct_valid": 0.60,
       "self_bleu": 90.0, "kl": 0.35, "forgetting": 1.36}  # fmt: skip


def seeds(*changes: dict[str, float | None], base_bleu: float = 70.0):
    """One seed a dict: how TOFU differs from SFT at T=1."""
    made = []
    for change in changes:
        tofu = {
            name: None if (delta := change.get(name, 0.0)) is None else value + delta
            for name, value in SFT.items()
        }
        base = {**SFT, "validity": 0.75, "tail": 2.0, "self_bleu": base_bleu}
        made.append([
            MeasuredRow("base", say.T1, base), MeasuredRow("sft", say.T1, SFT),
            MeasuredRow("tofu", say.T1, tofu),
            MeasuredRow("target", say.TOP_P, {"tail": 0.55}),
        ])  # fmt: skip
    return made


def about(measure: str, rows) -> str:
    return say.TOFU_SFT.sentence(rows, measure)


def test_agreement_is_said_with_every_seed() -> None:
    rows = seeds({"unseen": 0.21}, {"unseen": 0.19}, {"unseen": 0.24})
    assert about("unseen", rows) == (
        "TOFU gives unseen words more mass than cross-entropy at T=1 in 3 of 3 seeds "
        "(+0.21, +0.19, +0.24)."
    )


def test_a_loss_of_tofu_is_said_the_same_way() -> None:
    rows = seeds(
        {"validity": -0.2, "kl": 0.2, "distinct_valid": -0.05, "unseen": -0.1},
        {"validity": -0.22, "kl": 0.25, "distinct_valid": -0.06, "unseen": -0.12},
        {"validity": -0.18, "kl": 0.3, "distinct_valid": -0.04, "unseen": -0.11},
    )
    found = say.findings(rows)
    assert (
        "TOFU gives fewer valid answers than cross-entropy at T=1 in 3 of 3 seeds "
        "(-0.20, -0.22, -0.18)." in found
    )
    assert any("TOFU is further from the target in KL than cross-entropy" in s for s in found)
    assert any("TOFU gives fewer different valid answers than cross-entropy" in s for s in found)
    assert any("TOFU gives unseen words less mass than cross-entropy" in s for s in found)


@pytest.mark.parametrize(
    "deltas",
    [
        (0.2, -0.1, 0.2),  # the sign differs
        (0.01, 0.02, 0.3),  # the same sign, but the interval holds 0
        (0.0, 0.0, 0.0),  # no effect
        (0.0, 0.2, 0.2),  # none in one seed
        (0.004, 0.0041, 0.0042),  # agreement on less than is shown
        (0.006, 0.013, 0.0145),  # agreement that rounding makes: +0.01 three times
    ],
)
def test_seeds_that_disagree_or_show_nothing(deltas) -> None:
    rows = seeds(*({"unseen": delta} for delta in deltas))
    shown = ", ".join(f"{delta:+.2f}" for delta in deltas)
    assert about("unseen", rows) == (
        f"TOFU and cross-entropy at T=1, unseen words: no clear difference over 3 seeds ({shown})."
    )


def test_the_border_is_the_t_interval_over_seeds() -> None:
    # Differences a-1, a, a+1 have the standard error 1/√3. For three seeds,
    # python -c "from scipy.stats import t; print(t.ppf(.975, 2) / 3**.5)" -> 2.4841377118
    assert say.verdict([1.485, 2.485, 3.485]) == "more"
    assert say.verdict([1.483, 2.483, 3.483]) == "unclear"
    assert say.verdict([-1.485, -2.485, -3.485]) == "less"
    assert say.verdict([0.1, 0.1, 0.1]) == "more"
    assert say.verdict([0.0, 0.0, 0.0]) == "unclear"
    assert say.verdict([1, 2, None]) == "missing"
    assert say.verdict([1]) == "missing"


def test_a_missing_value_is_not_imputed() -> None:
    rows = seeds({"unseen": 0.2}, {"unseen": None}, {"unseen": 0.2})
    assert about("unseen", rows) == (
        "TOFU and cross-entropy at T=1, unseen words: no comparison, only 2 of 3 seeds have both."
    )
    assert any("where 85% of the answers are valid" in s for s in say.findings(rows))


@pytest.mark.parametrize(("count", "start"), [(1, "One seed"), (2, "2 seeds")])
def test_few_seeds_say_nothing_about_who_is_better(count, start) -> None:
    found = say.findings(seeds(*[{"unseen": 0.5}] * count))
    assert found == [f"{start}: too few to say which model is better; the full quickstart takes 3."]


def test_the_cautions_are_there_only_where_they_hold() -> None:
    misleading = seeds(*({"self_bleu": d, "distinct_valid": -0.05} for d in (-12, -13, -12)))
    found = say.findings(misleading)
    assert any(s.startswith("Self-BLEU alone would mislead") for s in found)
    assert any(s.startswith("Self-BLEU also ranks the base above") for s in found)
    assert any("the target itself under top-p 0.9 keeps 0.55" in s for s in found)
    fine = seeds(
        *({"self_bleu": d, "distinct_valid": -d / 100} for d in (-12, -13, -12)), base_bleu=95.0
    )
    assert not any(s.startswith("Self-BLEU") for s in say.findings(fine))
    for rows in fine:
        rows[3] = MeasuredRow("target", say.TOP_P, {"tail": 1.01})
    assert not any("the decoder" in s for s in say.findings(fine))


def test_flattening_is_said_where_its_own_temperature_takes_part_of_the_gain() -> None:
    rows = seeds({"tail": 0.2}, {"tail": 0.21}, {"tail": 0.19})
    for seed in rows:
        seed.append(MeasuredRow("tofu", say.T_BETA, {"tail": 0.97, "validity": 0.9}))
    found = say.findings(rows)
    assert any("there its rare words are +0.07 beside" in s and "+0.20" in s for s in found)
    assert any(
        s.startswith("TOFU at T=0.8 gives fewer valid answers than cross-entropy at T=1 in 3 of 3")
        for s in found
    )
    lost = seeds(*[{"tail": -0.2}] * 3)
    for seed in lost:
        seed.append(MeasuredRow("tofu", say.T_BETA, {"tail": 0.5}))
    assert not any("flatter" in s for s in say.findings(lost))


def point(validity: float | None, **values: float | None):
    return {"validity": validity, **values}


def test_matched_validity_is_read_off_the_line() -> None:
    # Validity .90 at T=.8 and .80 at T=1: .85 lies halfway.
    rows = [
        (0.8, point(0.9, unseen=0.5)),
        (1.0, point(0.8, unseen=0.7)),
        (1.2, point(0.6, unseen=9)),
    ]
    found = say.interpolate_at_validity(rows)
    assert found == pytest.approx({"temperature": 0.9, "validity": 0.85, "unseen": 0.6})
    assert say.interpolate_at_validity(reversed(rows)) == found


def test_a_model_that_never_reaches_the_level_has_no_row() -> None:
    assert say.interpolate_at_validity([(0.8, point(0.84)), (1.0, point(0.7))]) == {}
    assert say.interpolate_at_validity([(0.8, point(0.99)), (1.0, point(0.9))]) == {}
    assert say.interpolate_at_validity([(0.8, point(None)), (1.0, point(0.7))]) == {}
    assert say.interpolate_at_validity([(1.0, point(0.85))]) == {}


def test_matched_takes_the_hottest_crossing_and_only_common_measures() -> None:
    rows = [
        (0.6, point(0.8, unseen=1)), (0.8, point(0.9, unseen=2)), (1.0, point(0.8, unseen=4, kl=1)),
    ]  # fmt: skip
    found = say.interpolate_at_validity(rows)
    assert found == pytest.approx({"temperature": 0.9, "validity": 0.85, "unseen": 3})
    flat = [(0.8, point(0.85, unseen=1)), (1.0, point(0.85, unseen=2))]
    assert say.interpolate_at_validity(flat)["temperature"] == 1.0


def test_spread_needs_every_seed() -> None:
    assert say.spread([1.0, 2.0, 6.0]) == say.Spread(3.0, 1.0, 6.0)
    assert say.spread([1.0, None]) is None
    assert say.spread([]) is None


def test_tables_show_mean_least_and_greatest() -> None:
    rows = seeds({"unseen": 0.21}, {"unseen": 0.19}, {"unseen": 0.24})
    first = tables(rows)[0]
    assert first.header == ("", "base", "sft", "tofu")
    cells = {row[0]: row[1:] for row in first.rows}
    assert cells["unseen words"] == ("0.50 (0.50–0.50)", "0.50 (0.50–0.50)", "0.71 (0.69–0.74)")
    assert cells["Vendi"] == ("–", "–", "–")
    one = tables(rows[:1])[0]
    assert {row[0]: row[3] for row in one.rows}["unseen words"] == "0.71"
    assert all(len(row) == len(table.header) for table in tables(rows) for row in table.rows)
