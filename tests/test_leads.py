"""A run and its comparison test the allocator's leads in one way."""

import pytest

from tests.comparisons import small_comparison
from trm_bt.evaluation.benchmarks import baselines
from trm_bt.evaluation.claims import Lead, outcome
from trm_bt.evaluation.leads import draws_of, leads_of, resampling_of


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


@pytest.mark.parametrize(
    ("difference", "p_corrected", "expected"),
    [(0.1, 0.05, "ahead"), (-0.1, 0.05, "behind"), (0.1, 0.06, "open")],
)
def test_only_the_corrected_p_value_claims(difference, p_corrected, expected):
    assert outcome(Lead(difference, -1, 1, 0.001, p_corrected)) == expected
