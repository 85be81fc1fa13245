"""The numbers of a comparison, each found again by a loop or another simulation."""

import itertools
import json
import math
import statistics
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.comparisons import comparison, decisions, restless, run, small_comparison
from tests.simulation import simulate
from trm_bt.evaluation import comparison as comparing
from trm_bt.evaluation.assessment import SignificanceSettings
from trm_bt.evaluation.benchmarks import Benchmark
from trm_bt.evaluation.overfitting import overfitting_of_trials
from trm_bt.evaluation.significance import (
    assess,
    best_of,
    break_even,
    deflated_sharpe,
    random_starts,
)
from trm_bt.evaluation.trials import TRIALS_BEFORE, Trial
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.tasks import InThisProcess

QUICK = SignificanceSettings(n_draws=200, n_random=50)

DOCS = Path(__file__).parents[1] / "docs"


@cache
def assessed():
    return assess(comparison(), [], QUICK)


def simulated(held, name, cost):
    weights = held.strategies[name].weights[["equity", "bond"]].to_numpy()
    return simulate(held.bars, weights, cash=1.0, cost=cost)[0]


def sharpe_of(held, values):
    returns = [b / a - 1 for a, b in itertools.pairwise(values)]
    rates = held.bars.cash_rate.tolist()
    excess = [r - rates[i] / 252 for i, r in enumerate(returns)]
    return statistics.fmean(excess) / statistics.stdev(excess) * math.sqrt(252)


@pytest.mark.slow
def test_the_assessment_is_whole_and_plain_json():
    text = json.dumps(asdict(assessed()), allow_nan=False)
    assert json.loads(text)["span"] == asdict(assessed().span)
    assert assessed().span.sessions == len(comparison().excess)
    assert {*assessed().tests.leads} == {*comparison().strategies} - {"trm"}
    assert {*assessed().strategies} == {*comparison().strategies}


@pytest.mark.slow
def test_the_assessment_is_the_same_twice():
    assert assess(comparison(), [], QUICK) == assessed()


def test_figures_are_those_of_the_simulation():
    held, figures = comparison(), comparing.compared_figures(comparison())
    for name in ("trm", "sixty_forty", "inverse_volatility"):
        paid, free = (simulated(held, name, cost) for cost in (10e-4, 0.0))
        lost = 1 - paid[-1] / free[-1]
        assert figures[name].lost_to_costs == pytest.approx(lost, abs=1e-9)
        assert figures[name].sharpe == pytest.approx(sharpe_of(held, paid))


def test_accuracy_counts_right_classes_on_labelled_sessions():
    held, figures = comparison(), assessed().strategies
    for name in ("trm", "always_majority", "growth"):
        by_session = dict(
            zip(held.decisions.sessions, held.strategies[name].classes, strict=True)
        )
        winners = held.labels["winner"].items()
        hits = [by_session[s] == w for s, w in winners if by_session[s] >= 0]
        assert len(hits) == len(held.labels) - (2 if name != "growth" else 0)
        assert figures[name].accuracy == pytest.approx(sum(hits) / len(hits))
    assert figures["oracle"].accuracy == 1.0
    assert figures["spy"].accuracy is None


def test_who_never_picks_is_neither_right_nor_wrong():
    held = small_comparison(n_sessions=30)
    never = replace(held.strategies["trm"], classes=np.full(30, -1))
    told = replace(held, strategies={**held.strategies, "trm": never})
    assert comparing.compared_figures(told)["trm"].accuracy is None


def test_leads_and_intervals_surround_what_was_found():
    tests, figures = assessed().tests, assessed().strategies
    for name, found in tests.leads.items():
        difference = figures["trm"].sharpe - figures[name].sharpe
        assert found.difference == pytest.approx(difference)
        assert found.low < difference < found.high
    for name, (low, high) in tests.sharpe_intervals.items():
        assert low < figures[name].sharpe < high
    oracle = tests.leads["oracle"]
    assert oracle.difference < 0
    assert oracle.p_corrected == oracle.p_value < 0.05


def trial(number, sharpe, span):
    return Trial(
        configuration=f"{number:064x}",
        decisions="d" * 64,
        start=span[0],
        end=span[1],
        n_sessions=100,
        sharpe=sharpe,
        recorded_at=datetime(2024, 1, 1, tzinfo=UTC),
    )


def test_the_deflated_ratio_counts_every_trial():
    held = comparison()
    index = held.excess.index
    here = index[0].date(), index[-1].date()
    ratios = [0.3, 2.9, 1.5]
    trials = [trial(i, ratio, here) for i, ratio in enumerate(ratios)]
    trials += [trial(0, 9.0, (date(1999, 1, 4), date(1999, 12, 31)))]
    found = deflated_sharpe(held, trials, 7)
    excess = held.excess["trm"].to_numpy()
    n, s = len(excess), excess.mean() / excess.std(ddof=1)
    centred = excess - excess.mean()
    skew = (centred**3).mean() / (centred**2).mean() ** 1.5
    kurtosis = (centred**4).mean() / (centred**2).mean() ** 2
    normal = statistics.NormalDist()
    gamma = 0.5772156649015329
    n_trials = 3 + 7 + TRIALS_BEFORE  # of the log, named, and before
    spread = math.sqrt(max(statistics.variance(ratios) / 252, 1 / (n - 1)))
    best = spread * (
        (1 - gamma) * normal.inv_cdf(1 - 1 / n_trials)
        + gamma * normal.inv_cdf(1 - 1 / (n_trials * math.e))
    )
    scale = math.sqrt(n - 1) / math.sqrt(1 - skew * s + (kurtosis - 1) / 4 * s * s)
    assert found.n_trials == n_trials
    assert found.best_by_luck == pytest.approx(best * math.sqrt(252))
    assert found.probabilistic == pytest.approx(normal.cdf(s * scale))
    assert found.deflated == pytest.approx(normal.cdf((s - best) * scale))
    assert deflated_sharpe(held, trials[:1]).n_trials == 1 + TRIALS_BEFORE


def test_trials_before_the_shipped_settings_are_as_many_as_are_documented():
    log = (DOCS / "selection.jsonl").read_text().splitlines()
    study = (DOCS / "study.jsonl").read_text().splitlines()
    # four of the log decide as others do; two more are the runs that were judged; and
    # 91 are in no log: rules and models, ablations, earlier runs, and looks
    n_judged = len(log) - 4 + 2 + 91
    assert n_judged + 30 + len(study) == TRIALS_BEFORE
    text = " ".join((DOCS / "evidence.md").read_text().split())
    assert f"The {n_judged} trials counted are: - 286 of the log" in text
    assert f"the trials before the shipped settings are now {TRIALS_BEFORE}" in text


@pytest.mark.slow
def test_weights_that_never_change_show_no_timing():
    weights = restless()
    weights.loc[:] = [0.5, 0.3, 0.2]
    found = random_starts(small_comparison(weights), QUICK, InThisProcess())
    assert found.p_value == found.share_as_good == 1.0
    assert found.n == 50


@pytest.mark.slow
def test_timing_that_knows_tomorrow_is_found():
    held = small_comparison()
    best = held.strategies["oracle"].weights
    own = replace(held.decisions, weights=best)
    results = {**held.results, "trm": run(held.bars, best)}
    everyone = {**held.strategies, "trm": Benchmark("trm", "ours", best)}
    told = replace(held, decisions=own, results=results, strategies=everyone)
    found = random_starts(told, QUICK, InThisProcess())
    # a start one session off still knows most of what comes
    assert found.share_as_good <= 1 / 50
    assert found.p_value == pytest.approx((1 + 50 * found.share_as_good) / 51)


@pytest.mark.slow
def test_a_random_start_is_the_schedule_turned_like_a_ring():
    held = small_comparison(restless().iloc[:61], n_sessions=61)
    found = random_starts(held, SignificanceSettings(n_random=10_000), InThisProcess())
    weights = held.decisions.weights[["equity", "bond"]].to_numpy()
    turned = [
        simulate(held.bars, np.roll(weights, -k, 0), cash=1.0, cost=10e-4)[0]
        for k in range(1, 61)
    ]
    ratios = [sharpe_of(held, values) for values in turned]
    own = sharpe_of(held, simulated(held, "trm", 10e-4))
    assert found.n == 60
    assert found.sharpe_median == pytest.approx(statistics.median(ratios))
    assert found.share_as_good == np.mean([ratio >= own for ratio in ratios])


@pytest.mark.slow
def test_the_lead_ends_at_the_break_even_cost():
    """A restless schedule is ahead of a calm mix while trading is nearly free."""
    held = small_comparison()
    best = held.strategies["oracle"].weights
    everyone = {**held.strategies, "trm": Benchmark("trm", "ours", best)}
    told = replace(held, strategies=everyone)
    found = break_even(
        told, ["spy", "sixty_forty", "exposure_matched"], InThisProcess()
    )
    for name, row in found.items():
        assert row.is_ahead_free
        around = [
            sharpe_of(told, simulated(told, "trm", bps / 1e4))
            - sharpe_of(told, simulated(told, name, bps / 1e4))
            for bps in (
                (row.break_even_bps or 100.0) - 1.0,
                (row.break_even_bps or 99.0) + 1.0,
            )
        ]
        if row.break_even_bps is None:
            assert min(around) > 0
        else:
            assert around[0] > 0 > around[1]
    assert any(row.break_even_bps is not None for row in found.values())


def test_the_best_is_the_one_with_the_largest_ratio():
    held = comparison()
    ratios = {n: sharpe_of(held, simulated(held, n, 10e-4)) for n in ALLOCATION_NAMES}
    assert best_of(held, ALLOCATION_NAMES) == max(ratios, key=ratios.get)
    assert assessed().best_fixed == max(ratios, key=ratios.get)
    figures = assessed().strategies
    open_ = {
        n: f.sharpe for n, f in figures.items() if f.kind not in ("ours", "hindsight")
    }
    assert assessed().best_benchmark == max(open_, key=open_.get)


@pytest.mark.slow
@pytest.mark.parametrize("n_sessions", [12, 60])
def test_nothing_is_said_of_chance_under_sixty_sessions(n_sessions):
    short = assess(small_comparison(n_sessions=n_sessions), [], QUICK)
    assert short.tests is None
    assert short.costs is None
    assert short.strategies["trm"].sharpe is None
    assert short.strategies["trm"].cagr is None
    assert all(
        figures.sharpe is None
        for row in short.subperiods
        for figures in row.strategies.values()
    )


@pytest.mark.slow
def test_sixty_sessions_are_enough():
    assert assess(small_comparison(n_sessions=61), [], QUICK).tests is not None


def test_periods_join_to_the_whole_and_begin_at_the_close_before():
    held = comparison()
    rows = comparing.by_period(held, ["trm", "spy", "trm"])
    assert sum(row.sessions for row in rows) == len(held.excess)
    for name in ("trm", "spy"):
        growth = math.prod(1 + row.strategies[name].total_return for row in rows)
        values = held.equity[name].tolist()
        assert growth == pytest.approx(values[-1] / values[0])
    for row in rows:
        years = {int(date[:4]) // 5 for date in (row.start, row.end)}
        assert len(years) == 1


def test_periods_of_many_years_are_blocks_of_five():
    sessions = pd.bdate_range("1998-06-01", "2011-03-01")
    blocks = [
        (sessions[first].year, sessions[last - 1].year)
        for first, last in comparing._periods(sessions)
    ]
    assert blocks == [(1998, 1999), (2000, 2004), (2005, 2009), (2010, 2011)]


def test_regret_by_year_is_the_mean_of_its_sessions():
    held = comparison()
    for year, row in assessed().regret_by_year.items():
        own = [r for s, r in held.regret["trm"].items() if s.year == int(year)]
        assert row["trm"] == pytest.approx(statistics.fmean(own))


def test_confusion_and_calibration_count_the_decided_sessions():
    held = comparison()
    some = decisions()
    winners = held.labels["winner"].to_dict()
    counts = [[0] * 8 for _ in range(8)]
    tenths = {}
    for session, own, sure in zip(
        some.sessions, some.classes, some.confidence, strict=True
    ):
        if own < 0 or session not in winners:
            continue
        counts[own][winners[session]] += 1
        tenths.setdefault(int(sure * 10), []).append((sure, own == winners[session]))
    assert assessed().confusion == counts
    rows = assessed().calibration
    assert [round(row.low * 10) for row in rows] == sorted(tenths)
    for row in rows:
        pairs = tenths[round(row.low * 10)]
        assert row.sessions == len(pairs)
        assert row.confidence == pytest.approx(statistics.fmean(p[0] for p in pairs))
        assert row.accuracy == pytest.approx(statistics.fmean(p[1] for p in pairs))


def test_weights_by_level_are_means_of_the_sessions_at_that_level():
    held, rows = comparison(), assessed().weights_by_volatility
    assert sum(row.sessions for row in rows) == len(held.decisions.sessions)
    for row in rows:
        chosen = [
            weights
            for level, weights in zip(
                held.bars.volatility["close"],
                held.decisions.weights.itertuples(index=False),
                strict=True,
            )
            if row.low <= level < (row.high or math.inf)
        ]
        assert row.equity == pytest.approx(statistics.fmean(w.equity for w in chosen))
        assert row.equity + row.bond + row.cash == pytest.approx(1.0)


@pytest.mark.slow
def test_an_allocator_that_holds_cash_throughout_is_judged_without_a_warning():
    weights = restless()
    weights.loc[:] = [0.0, 0.0, 1.0]
    held = small_comparison(weights)
    tests = assess(held, [], QUICK).tests
    assert tests.tracking_error == pytest.approx(0.0, abs=1e-12)
    for name in ("alpha", "deflated", "random_starts", "superiority"):
        assert getattr(tests, name) is None
    assert tests.leads == {}


@pytest.mark.slow
def test_an_allocator_that_is_its_own_mix_is_said_to_be():
    weights = restless()
    weights.loc[:] = [0.6, 0.4, 0.0]
    tests = assess(small_comparison(weights), [], QUICK).tests
    assert tests.tracking_error < 1e-3
    assert tests.leads["sixty_forty"].p_value == 1.0
    assert "sixty_forty" not in tests.confidence_set


def test_trials_that_differ_are_held_against_one_another():
    rng = np.random.default_rng(3)
    noise = rng.normal(0.0, 0.01, (640, 2))
    skilled = noise[:, 0] + 0.01
    earned = pd.DataFrame({0: skilled, 1: noise[:, 1], 2: 2 * noise[:, 1]})
    found = overfitting_of_trials(earned, 5)
    assert found is not None
    # two times the same returns are one strategy, and the skilled one always leads
    assert (found.n_strategies, found.n_trials) == (2, 5)
    assert found.probability == 0.0
    assert overfitting_of_trials(earned[[1, 2]], 5) is None
    assert overfitting_of_trials(earned[[]], 5) is None
    assert overfitting_of_trials(None, 0) is None


@pytest.mark.slow
def test_two_processes_find_the_figures_of_one_to_the_bit():
    assert assess(comparison(), [], QUICK, executor=2) == assessed()
