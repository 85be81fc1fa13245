"""The verdict follows the figures, and ties and blanks are no wins."""

from dataclasses import replace

import pytest

from tests.test_comparison_verdict import ASSESSED, TESTS
from trm_bt.evaluation.claims import Lead
from trm_bt.evaluation.metrics import StrategyFigures
from trm_bt.evaluation.verdict import verdict
from trm_bt.report.headline import contrasts, headline
from trm_bt.runfolder.records import STRATEGIES, SpanRecord

SPAN = SpanRecord(start="2000-01-03", end="2010-12-31", sessions=2767, abstained=0)


def figures(sharpe, total_return, max_drawdown):
    return StrategyFigures(
        total_return=total_return,
        cagr=None,
        volatility_annual=None,
        sharpe=sharpe,
        max_drawdown=max_drawdown,
        turnover_annual=None,
    )


def test_verdict_follows_the_numbers():
    strategies = {name: figures(0.1, 0.1, -0.5) for name in STRATEGIES}
    strategies["trm"] = figures(0.5, 0.3, -0.2)
    strategies["spy"] = figures(0.4, 0.2, -0.3)
    strategies["sixty_forty"] = figures(0.6, 0.3, -0.3)
    strategies["growth"] = figures(0.9, 0.9, -0.1)
    results = contrasts(strategies)
    assert [(it.benchmark, it.better, it.worse) for it in results] == [
        ("SPY", ("Sharpe ratio", "total return", "max drawdown"), ()),
        ("60/40", ("max drawdown",), ("Sharpe ratio",)),
        (
            "the best fixed allocation in hindsight (growth)",
            (),
            ("Sharpe ratio", "total return", "max drawdown"),
        ),
    ]
    assert headline(results, SPAN)[0] == (
        "Out of sample, 2000-01-03 to 2010-12-31 (2,767 sessions), TRM was ahead of "
        "SPY by Sharpe ratio (not tested) and was behind 60/40 and the best fixed "
        "allocation in hindsight (growth) by Sharpe ratio (not tested)."
    )


@pytest.mark.parametrize(
    ("ours", "claim", "detail"),
    [
        (
            (0.5, 0.2, -0.2),
            "was level with SPY by Sharpe ratio (not tested)",
            "better in max drawdown, level in Sharpe ratio and total return",
        ),
        (
            (0.5, 0.2, -0.3 + 1e-15),
            "was level with SPY by Sharpe ratio (not tested)",
            "level in Sharpe ratio, total return and max drawdown",
        ),
        (
            (None, 0.3, -0.2),
            "was ahead of SPY by total return (not tested)",
            "better in total return and max drawdown; Sharpe ratio without a figure",
        ),
        (
            (None, 0.2, -0.2),
            "was level with SPY by total return (not tested)",
            "better in max drawdown, level in total return; Sharpe ratio without a "
            "figure",
        ),
        (
            (0.6, 0.3, -0.4),
            "was ahead of SPY by Sharpe ratio (not tested)",
            "better in Sharpe ratio and total return, worse in max drawdown",
        ),
    ],
    ids=["two ties", "all ties", "short", "short with a tie", "one lost"],
)
def test_ties_and_blanks_are_not_called_wins(ours, claim, detail):
    strategies = {name: figures(0.1, 0.1, -0.5) for name in STRATEGIES}
    strategies["trm"] = figures(*ours)
    strategies["spy"] = figures(0.5, 0.2, -0.3)
    head, sentence = headline(contrasts(strategies)[:1], SPAN)
    assert head.endswith(f"(2,767 sessions), TRM {claim}.")
    assert sentence == f"Against SPY it was {detail}."


@pytest.mark.parametrize(
    ("difference", "corrected", "claim"),
    [
        (0.3, 0.05, "beat SPY by Sharpe ratio."),
        (0.3, 0.051, "did not beat SPY by Sharpe ratio."),
        (-0.3, 0.05, "was beaten by SPY by Sharpe ratio."),
        (-0.3, 0.2, "did not beat SPY by Sharpe ratio."),
    ],
)
def test_index_and_comparison_say_what_the_test_supports(difference, corrected, claim):
    strategies = {name: figures(0.1, 0.1, -0.5) for name in STRATEGIES}
    strategies["trm"] = figures(0.5 + difference, 0.2, -0.3)
    strategies["spy"] = figures(0.5, 0.9, -0.1)
    found = Lead(difference, difference - 0.1, difference + 0.1, 0.01, corrected)
    head, sentence = headline(contrasts(strategies, {"spy": found})[:1], SPAN)
    assert head.endswith(f"TRM {claim}")
    assert f"p = 0.010, corrected p = {corrected:.2f}"[:28] in sentence
    compared = verdict(replace(ASSESSED, tests=replace(TESTS, leads={"spy": found})))
    (said,) = [text for text in compared if " SPY: " in text]
    verb = {"beat": "beats", "did": "does not beat", "was": "is beaten by"}
    assert f"TRM {verb[claim.split()[0]]} SPY" in said
