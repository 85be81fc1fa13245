"""A run and its comparison test the allocator's leads in one way."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.comparisons import small_comparison
from trm_bt.evaluation.benchmarks import baselines
from trm_bt.evaluation.claims import Lead, outcome
from trm_bt.evaluation.leads import draws_of, leads_of, resampling_of
from trm_bt.evaluation.statistics import Resampling


def holm(p_values):
    """Correct from the smallest on: times the number of those not yet passed."""
    corrected, highest = {}, 0.0
    for done, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[name] * (len(p_values) - done)))
        corrected[name] = highest
    return corrected


@pytest.mark.slow
def test_a_run_alone_finds_the_leads_of_its_comparison():
    held = small_comparison()
    ours = ["trm", *baselines(held.allocations)]

    def leads(excess):
        draws = draws_of(excess, resampling_of(excess, n_draws=200))
        return leads_of(excess, draws, ours)

    whole, alone = leads(held.excess), leads(held.excess[ours])
    assert {*alone} == {*ours} - {"trm"}
    for name, lead in alone.items():
        assert vars(lead) == pytest.approx(vars(whole[name])), name
    expected = holm({name: lead.p_value for name, lead in alone.items()})
    found = {name: lead.p_corrected for name, lead in alone.items()}
    assert found == pytest.approx(expected)
    others = {n: x.p_value for n, x in whole.items() if n not in [*ours, "oracle"]}
    found = {name: whole[name].p_corrected for name in others}
    assert found == pytest.approx(holm(others))
    assert whole["oracle"].p_corrected == whole["oracle"].p_value


N_SESSIONS, N_HISTORIES, N_BENCHMARKS = 500, 100, 3


def history(seed, edge, n_benchmarks):
    """Excess returns of the allocator and benchmarks that it leads by `edge`.

    All share most of what they do, and have an annual Sharpe ratio of 0.5 or that and
    `edge`.
    """
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((N_SESSIONS, 1))
    own = rng.standard_normal((N_SESSIONS, 1 + n_benchmarks))
    ratios = np.array([0.5 + edge, *[0.5] * n_benchmarks]) / 252**0.5
    values = 0.01 * (0.9**0.5 * common + 0.1**0.5 * own + ratios)
    return pd.DataFrame(values, columns=["trm", *"abcdef"[:n_benchmarks]])


def lead_over_a(excess):
    draws = draws_of(excess, Resampling(1.0, n_draws=300, seed=3))
    return leads_of(excess, draws, list(excess))["a"]


@pytest.mark.evidence
def test_an_edge_that_could_be_shown_is_shown_in_four_histories_of_five():
    """The edge over all is that which histories without one say they could show."""
    could = [lead_over_a(history(s, 0.0, N_BENCHMARKS)).detectable for s in range(15)]
    edge = float(np.mean(could))
    # the ratios' difference has this deviation where returns are normal
    deviation = (2 * (1 - 0.9) * 252 / N_SESSIONS) ** 0.5
    quantiles = stats.norm.isf(0.025 / N_BENCHMARKS) + stats.norm.ppf(0.8)
    assert edge == pytest.approx(deviation * quantiles, rel=0.06)
    n_shown = sum(
        lead_over_a(history(seed, edge, 1)).p_value <= 0.05 / N_BENCHMARKS
        for seed in range(1000, 1000 + N_HISTORIES)
    )
    low, high = stats.binom.ppf([0.005, 0.995], N_HISTORIES, 0.8)
    assert low <= n_shown <= high


def test_too_few_draws_could_show_nothing():
    excess = history(0, 0.0, 4)
    draws = draws_of(excess, Resampling(1.0, n_draws=60, seed=3))
    # a p-value is at least 1 / 61, above 0.05 / 4 and below 0.05
    assert leads_of(excess, draws, list(excess))["a"].detectable is None
    alone = {name: draws[name] for name in ("trm", "a")}
    assert leads_of(excess[["trm", "a"]], alone, ["a"])["a"].detectable > 0


@pytest.mark.parametrize(
    ("difference", "p_corrected", "expected"),
    [(0.1, 0.05, "ahead"), (-0.1, 0.05, "behind"), (0.1, 0.06, "open")],
)
def test_only_the_corrected_p_value_claims(difference, p_corrected, expected):
    assert outcome(Lead(difference, -1, 1, 0.001, p_corrected)) == expected
