"""Run comparisons on simulated markets: nothing may be found where nothing is.

    python -m tests.evidence.null_markets --learner logistic --histories 100
    python -m tests.evidence.null_markets --learner trm --histories 100
    python -m tests.evidence.null_markets --learner logistic --histories 20 --edge 0.002
    python -m tests.evidence.null_markets --learner trm --edge 0.002 --of risk
    python -m tests.evidence.null_markets --learner logistic --reversal

Prices are random walks without a premium, costs are nil, and a model trained on the
first half decides the second. At 5 % each test should reject as often as chance does:
the binomial interval is printed beside the count. With an edge, the level of the
volatility index says what the equity does tomorrow, and it must be found: which way it
drifts, or, with an edge of risk, how far it moves while its drift is always the same.

In the reversal world volatility comes in clusters that falls begin, and both assets are
paid in proportion to their variance: what fell will rise faster, and more roughly, so
that a fixed mix has the best Sharpe ratio of all and momentum scaled by volatility, as
any other timing, pays nothing. Premiums are real there, and so only tests against the
exposure-matched mix are counted.

Ends with exit code 1 if the test against the exposure-matched mix is outside its
interval, misses the edge in more than one history of five, or finds something in more
than one of ten of the reversal world.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
import pandas as pd
from scipy import stats

from trm_bt.backtest import BacktestResult
from trm_bt.config import BacktestConfig, Preset, TRMConfig
from trm_bt.evaluation.assessment import Assessment, SignificanceSettings
from trm_bt.evaluation.benchmarks import (
    COLUMNS,
    MATCHED,
    OURS,
    Benchmark,
    DecisionRecord,
    fixed_benchmarks,
    learned_benchmarks,
    matched_mix,
    missing_modules,
    oracle,
    rule_benchmarks,
)
from trm_bt.evaluation.claims import Lead
from trm_bt.evaluation.comparison import Comparison
from trm_bt.evaluation.replay import replay
from trm_bt.evaluation.significance import assess
from trm_bt.evaluation.statistics import CONFIDENCE
from trm_bt.evaluation.verdict import LEVEL
from trm_bt.executors import ExecutorName, Workers, opened
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.bars import Bars
from trm_bt.market.features import compute_features
from trm_bt.market.labels import features_and_labels
from trm_bt.strategies.learned_rules import fit_logistic, retrained
from trm_bt.tasks import Task, as_done

N_SESSIONS = 1500
DAILY_VOLATILITY = (0.011, 0.008)
CALM, WILD = 0.4, 2.5
"""Where the edge is one of risk, the equity's volatility is so many times the usual."""
PRICE_OF_RISK = 2.5
"""What the reversal world pays for variance: 8 % a year for the usual equity."""
LEVERAGE = 0.7
"""Correlation there of a fall with the rise of volatility that it begins."""
FIRST_DATE = pd.Timestamp("2001-01-02")
LAST_DATE = pd.Timestamp("2023-12-31")
FREE = BacktestConfig(cost_bps=0.0)
CONFIG = TRMConfig(backtest=FREE)
PRIMARY = "beats the exposure-matched mix"
CHANGED = "more than one allocation was held"
PAID = ("Sharpe ratio above 0", "someone beats that mix (SPA)")
"""What is true where assets have premiums, and so is no false find there."""

Kind = Literal["direction", "risk", "reversal"]
Decider = Callable[[Bars, pd.DatetimeIndex, TRMConfig], DecisionRecord]


@cache
def _sessions() -> pd.DatetimeIndex:
    return nyse_sessions(FIRST_DATE, LAST_DATE)


def simulate(
    seed: int, edge: float = 0.0, kind: Kind = "direction", n_sessions: int = N_SESSIONS
) -> Bars:
    """Draw a market; `edge` is a daily drift of the equity.

    With `kind` "direction" its sign is what the volatility level says; with "risk" it
    is always up, and the level says how far the equity moves; "reversal" has no edge.
    """
    rng = np.random.default_rng(seed)
    sessions = _sessions()[:n_sessions]
    shocks = rng.normal(0.0, 0.07, n_sessions)
    state = np.zeros(n_sessions)
    for t in range(1, n_sessions):
        state[t] = 0.97 * state[t - 1] + shocks[t]
    level = np.clip(18.0 * np.exp(state), 9.0, 80.0)
    known = np.r_[0.0, state[:-1]]
    equity, bond = (np.full(n_sessions, daily) for daily in DAILY_VOLATILITY)
    tilt, common = edge * np.sign(known), np.zeros(n_sessions)
    if edge and kind == "risk":
        equity *= np.where(known > 0.0, WILD, CALM)
        drifts = np.full(n_sessions, edge), np.zeros(n_sessions)
    elif kind == "reversal":
        equity *= np.exp(known)
        drifts = PRICE_OF_RISK * equity**2, PRICE_OF_RISK * bond**2
        common = -LEVERAGE * shocks / shocks.std()
    else:
        drifts = tilt, -tilt
    frames = [
        _walk(rng, sessions, equity, drifts[0], common),
        _walk(rng, sessions, bond, drifts[1], np.zeros(n_sessions)),
    ]
    index = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), level), index=sessions
    )
    return Bars(equity=frames[0], bond=frames[1], volatility=index)


def _walk(
    rng: np.random.Generator,
    sessions: pd.DatetimeIndex,
    volatility: np.ndarray,
    drift: np.ndarray,
    common: np.ndarray,
) -> pd.DataFrame:
    """Draw prices whose simple returns have the mean `drift`, a third overnight.

    In units of its volatility a session moves by `common` and by chance, which is all
    of it where `common` is 0, and none beyond a variance of 1.
    """
    n_sessions = len(sessions)
    share = np.sqrt([1 / 3, 2 / 3])
    deviations = volatility[:, np.newaxis] * share
    parts = rng.normal(0.0, deviations, (n_sessions, 2))
    parts *= np.sqrt(1.0 - common.var())
    parts += deviations * share * common[:, np.newaxis]
    parts -= deviations**2 / 2.0
    parts += drift[:, np.newaxis] * share**2
    logs = np.log(100.0) + np.cumsum(parts.ravel()).reshape(n_sessions, 2)
    open_, close = np.exp(logs).T
    span = rng.uniform(0.0, volatility, (2, n_sessions))
    return pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * (1.0 + span[0]),
            "low": np.minimum(open_, close) * (1.0 - span[1]),
            "close": close,
            "volume": rng.uniform(1e6, 5e6, n_sessions),
        },
        index=sessions,
    )


def _decided(
    sessions: pd.DatetimeIndex,
    classes: np.ndarray,
    confidence: np.ndarray,
    known_on: pd.Timestamp,
) -> DecisionRecord:
    weights = pd.DataFrame(ALLOCATION_WEIGHTS[classes], sessions, COLUMNS)
    return DecisionRecord(weights, classes, confidence, pd.Series(known_on, sessions))


def decide_logistic(
    bars: Bars, sessions: pd.DatetimeIndex, config: TRMConfig
) -> DecisionRecord:
    """Decide with a logistic regression trained on what is known before."""
    features, labels = features_and_labels(bars, config)
    known_on = labels["known_on"][labels["known_on"] < sessions[0]].iloc[-1]
    known_by = pd.Series(known_on, sessions)
    classes = retrained(fit_logistic, labels, features.frame.loc[sessions], known_by)
    return _decided(sessions, classes, np.full(len(sessions), 0.5), known_on)


def decide_trm(
    bars: Bars, sessions: pd.DatetimeIndex, config: TRMConfig
) -> DecisionRecord:
    """Decide with a model of the default size trained on what is known before."""
    from trm_bt.audit.setup import train_frozen
    from trm_bt.learning.policy import TRMPolicy

    frozen_on = bars.sessions[bars.sessions < sessions[0]][-1]
    model = train_frozen(bars, frozen_on, config)
    rows = compute_features(bars, config.features).frame.loc[sessions].to_numpy()
    decisions = TRMPolicy([model]).decide(sessions, rows)
    classes = np.array([decision.allocation for decision in decisions])
    confidence = np.array([decision.confidence for decision in decisions])
    known_on = pd.Timestamp(model.record.last_label_known_on)
    return _decided(sessions, classes, confidence, known_on)


LEARNERS: Mapping[str, Decider] = {"logistic": decide_logistic, "trm": decide_trm}


def comparison_in_arrays(
    bars: Bars, decisions: DecisionRecord, config: TRMConfig, seed: int
) -> Comparison:
    """Run a comparison without the engine, which a test finds to be the same one.

    The matched mix is that of the target weights; orders are not kept, and so there is
    no turnover.
    """
    sessions = decisions.sessions
    span = bars.between(sessions[0])
    features, labels = features_and_labels(bars, config)
    everyone = [
        Benchmark(OURS, "ours", decisions.weights, classes=decisions.classes),
        matched_mix(decisions.weights.mean(), sessions),
        *fixed_benchmarks(sessions),
        *rule_benchmarks(bars, sessions),
        *learned_benchmarks(bars, decisions, features.frame, labels, seed),
        oracle(labels, sessions),
    ]
    targets = [one.weights[["equity", "bond"]].to_numpy() for one in everyone]
    rates = np.full(len(everyone), config.backtest.cost_bps / 1e4)
    values = replay(span, np.stack(targets, axis=1), rates).values
    none = pd.DataFrame({"filled_on": [], "value": []})
    counts = ("n_submitted", "n_completed", "n_rejected", "n_abstained")
    results = {
        one.name: BacktestResult(
            name=one.name,
            equity=pd.Series(values[:, i], sessions) * config.backtest.initial_cash,
            weights=one.weights,
            **dict.fromkeys(("orders", "executions", "decisions"), none),
            **dict.fromkeys(counts, 0),
        )
        for i, one in enumerate(everyone)
    }
    return Comparison(
        bars=span,
        decisions=decisions,
        config=config,
        strategies={one.name: one for one in everyone},
        results=results,
        labels=labels.loc[labels.index.isin(sessions)],
        left_out=missing_modules(),
    )


def one_sided(lead: Lead) -> float:
    """Return the p-value of a lead, half of the two-sided one, uncorrected."""
    return lead.p_value / 2 if lead.difference > 0 else 1.0 - lead.p_value / 2


def found(assessment: Assessment) -> dict[str, bool]:
    """Return what each test of a comparison claims to have found, at 5%."""
    tests = assessment.tests
    p_values = {
        PRIMARY: one_sided(tests.leads[MATCHED]),
        "alpha over that mix": tests.alpha.p_value if tests.alpha else 1.0,
        "timing beats random starts": tests.random_starts.p_value,
        "Sharpe ratio above 0": 1.0 - tests.deflated.probabilistic,
        "someone beats that mix (SPA)": tests.superiority.get(MATCHED, 1.0),
    }
    return {name: p_value <= LEVEL for name, p_value in p_values.items()}


@dataclass(frozen=True)
class History:
    """One market, and who decides in it."""

    seed: int
    edge: float = 0.0
    kind: Kind = "direction"
    learner: str = "logistic"
    preset: Preset = "shipped"
    n_sessions: int = N_SESSIONS


def assess_one(history: History) -> dict[str, bool]:
    """Simulate a market, let the learner decide its second half, and assess that.

    Beside what the tests found stands whether there was anything to find: whether more
    than one allocation was held.
    """
    seed = history.seed
    bars = simulate(seed, history.edge, history.kind, history.n_sessions)
    sessions = bars.sessions[history.n_sessions // 2 :]
    config = TRMConfig.preset(history.preset).model_copy(
        update={"seed": seed, "backtest": FREE}
    )
    decisions = LEARNERS[history.learner](bars, sessions, config)
    comparison = comparison_in_arrays(bars, decisions, config, seed)
    settings = SignificanceSettings(n_draws=500, n_random=200, seed=seed)
    is_found = found(assess(comparison, [], settings))
    return {**is_found, CHANGED: len(np.unique(decisions.classes)) > 1}


def main() -> int:
    """Print a row for each test; return 1 if the primary one is not as it should be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--learner", choices=list(LEARNERS), default="logistic")
    parser.add_argument("--preset", choices=get_args(Preset), default="shipped")
    parser.add_argument("--histories", type=int, default=100)
    parser.add_argument("--edge", type=float, default=0.0)
    parser.add_argument("--of", choices=["direction", "risk"], default="direction")
    parser.add_argument("--reversal", action="store_true")
    parser.add_argument("--sessions", type=int, default=N_SESSIONS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executor", choices=get_args(ExecutorName), default="local")
    parser.add_argument("--scheduler")
    parser.add_argument("--jobs", type=int)
    asked = parser.parse_args()
    kind = "reversal" if asked.reversal else asked.of
    asked_for = asked.edge, kind, asked.learner, asked.preset, asked.sessions
    histories = [History(asked.seed + i, *asked_for) for i in range(asked.histories)]
    counts: Counter[str] = Counter()
    begun = time.perf_counter()
    tasks = [Task(str(history.seed), assess_one, (history,)) for history in histories]
    workers = Workers(asked.executor, asked.jobs, asked.scheduler)
    with opened(workers, len(tasks)) as pool:
        for n_done, done in enumerate(as_done(tasks, pool), 1):
            if done.error is not None:
                raise done.error
            counts.update({name: int(is_so) for name, is_so in done.value.items()})
            spent = time.perf_counter() - begun
            print(f"{n_done} of {asked.histories}, {spent:.0f} s", file=sys.stderr)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = stats.binom.ppf([tail, 1.0 - tail], asked.histories, LEVEL).astype(int)
    what = f"{asked.edge:g} a day of {kind}" if asked.edge else "nothing planted"
    if asked.reversal:
        what = "reversals"
        for name in PAID:
            del counts[name]
    print(f"{asked.learner}, {asked.preset}, {asked.sessions} sessions, {what}")
    print(f"{CHANGED} in {counts.pop(CHANGED)} of {asked.histories}")
    for name, count in counts.items():
        print(f"{name:32} found in {count:3d}; by chance {low} to {high}")
    primary = counts[PRIMARY]
    is_right = low <= primary <= high
    if asked.reversal:
        is_right = primary <= 0.1 * asked.histories
    elif asked.edge:
        is_right = primary >= 0.8 * asked.histories
    return 0 if is_right else 1


if __name__ == "__main__":
    raise SystemExit(main())
