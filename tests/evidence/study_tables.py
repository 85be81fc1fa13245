"""What the trials of the study earned, judged by the rule of docs/protocol.md."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from statsmodels.regression.linear_model import OLS

from trm_bt.evaluation.metrics import excess_returns, max_drawdown, sharpe
from trm_bt.evaluation.replay import replay
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.labels import cash_returns

AVERSION: Final = 5.0
COST: Final = 5e-4
ANCHOR: Final = (0.6, 0.4)
MIN_RECORD: Final = 252
LONG: Final = "long"
N_SEEDS: Final = 3
"""Seeds that are judged; the simplest has more, for the ensemble."""
SPANS: Final = (
    ("1966", "1975"), ("1976", "1987"), ("1988", "1999"), ("2000", "2011"),
    ("2012", "2023"),
)  # fmt: skip


@dataclass(frozen=True)
class Earned:
    """What one trial came to: values at the closes and target weights by session."""

    name: str
    seed: int
    universe: str
    bars: Bars
    equity: pd.Series
    weights: pd.DataFrame

    @property
    def excess(self) -> pd.Series:
        """Session returns in excess of cash."""
        return excess_returns(self.equity, cash_returns(self.bars))


def utility(excess: np.ndarray) -> float:
    """Return the annual mean-variance utility of session returns."""
    return float(SESSIONS_PER_YEAR * (excess.mean() - AVERSION / 2 * excess.var()))


def differences(ours: pd.Series, theirs: pd.Series) -> np.ndarray:
    """Return d of the protocol, session by session."""
    ours, theirs = ours.align(theirs, join="inner")
    return np.asarray(
        (ours - theirs)
        - AVERSION / 2 * ((ours - ours.mean()) ** 2 - (theirs - theirs.mean()) ** 2)
    )


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return an annual mean and its standard error by Newey and West."""
    n_lags = int(4.0 * (len(values) / 100.0) ** (2.0 / 9.0))
    kernel = {"maxlags": n_lags, "use_correction": True}
    fitted = OLS(values, np.ones(len(values))).fit(cov_type="HAC", cov_kwds=kernel)
    mean, error = float(fitted.params[0]), float(fitted.bse[0])
    return SESSIONS_PER_YEAR * mean, SESSIONS_PER_YEAR * error


def replayed(bars: Bars, weights: pd.DataFrame) -> tuple[pd.Series, float]:
    """Return values at the closes of a schedule of weights, and its annual turnover."""
    base = bars.sessions.searchsorted(weights.index[0])
    span = bars.between(bars.sessions[base], bars.sessions[-1])
    targets = weights.reindex(span.sessions).ffill().to_numpy()[:, np.newaxis, :2]
    done = replay(span, targets, np.array([COST]))
    n_years = (len(span.sessions) - 1) / SESSIONS_PER_YEAR
    values = pd.Series(done.values[:, 0], span.sessions)
    return values, float(done.turnover[0] / n_years)


def constant(earned: Earned, mix: Sequence[float]) -> Earned:
    """Return what a mix held over the sessions of a trial earned."""
    index = earned.weights.index
    weights = pd.DataFrame([list(mix)] * len(index), index, earned.weights.columns)
    return replace(earned, weights=weights, equity=replayed(earned.bars, weights)[0])


def trust(gains: np.ndarray) -> np.ndarray:
    """Return s after each session: positive-part James-Stein on what is known by then.

    `gains` are utility differences by session, shape (n_sessions,).
    """
    n = np.arange(1, len(gains) + 1)
    mean = np.cumsum(gains) / n
    variance = np.maximum(np.cumsum(gains**2) / n - mean**2, 0.0)
    shrunk = 1.0 - variance / np.where(mean > 0, n * mean**2, np.inf)
    is_earned = (mean > 0) & (n >= MIN_RECORD)
    return np.where(is_earned, np.maximum(shrunk, 0.0), 0.0)


def earned_trust(model: Earned) -> Earned:
    """Return 60/40 drawn towards a model as far as its own record has earned it."""
    anchor = constant(model, (*ANCHOR, 0.0))
    ours, theirs = model.excess.align(anchor.excess, join="inner")
    gains = (ours - theirs) - AVERSION / 2 * (ours**2 - theirs**2)
    share = pd.Series(trust(gains.to_numpy()), gains.index)
    share = share.reindex(model.weights.index).ffill().fillna(0.0)
    weights = anchor.weights + (model.weights - anchor.weights).mul(share, axis=0)
    values, _ = replayed(model.bars, weights)
    return replace(model, name="earned trust", equity=values, weights=weights)


@dataclass(frozen=True)
class Row:
    """One trial over one span, beside the mix of its own average weights."""

    name: str
    seed: int
    universe: str
    start: str
    end: str
    utility: float
    sharpe: float
    mix_sharpe: float
    drawdown: float
    mix_drawdown: float
    turnover: float
    equity: float
    bond: float

    @classmethod
    def of(cls, earned: Earned, start: str = "", end: str = "") -> "Row":
        """Judge a trial from the first to the last session of some years."""
        weights = earned.weights.loc[start or None : end or None]
        first, last = weights.index[0], weights.index[-1]
        bars = earned.bars.between(earned.bars.sessions[0], last)
        mix = weights.mean()
        held = constant(replace(earned, bars=bars, weights=weights), mix.tolist())
        values, mix_values = (
            series.loc[first:last] for series in (earned.equity, held.equity)
        )
        cash, traded = cash_returns(bars), replayed(bars, weights)[1]
        return cls(
            earned.name, earned.seed, earned.universe,
            str(first.date()), str(last.date()),
            utility(excess_returns(values, cash).to_numpy()),
            sharpe(values, cash) or 0.0, sharpe(mix_values, cash) or 0.0,
            max_drawdown(values), max_drawdown(mix_values), traded,
            float(mix["equity"]), float(mix["bond"]),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, rounded as they are logged."""
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def by_name(earned: Sequence[Earned], universe: str) -> dict[str, list[Earned]]:
    """Return the trials on one universe by candidate, in the order of the protocol."""
    found: dict[str, list[Earned]] = {}
    for one in earned:
        if one.universe == universe and one.seed < N_SEEDS:
            found.setdefault(one.name, []).append(one)
    return found


def gain(ours: Sequence[Earned], theirs: Sequence[Earned]) -> np.ndarray:
    """Return d of the protocol averaged over seeds, the same seeds against each other.

    What has fewer seeds is held against all of the other's.
    """
    alike = len(ours) == len(theirs)
    couples = (
        list(zip(ours, theirs, strict=True))
        if alike
        else [(a, b) for a in ours for b in theirs]
    )
    return np.mean([differences(a.excess, b.excess) for a, b in couples], axis=0)


def candidate_table(earned: Sequence[Earned], simplest: str) -> str:
    """Return the table by which the rule decides, in Markdown."""
    on_long = by_name(earned, LONG)
    funds = sorted({one.universe for one in earned} - {LONG})
    on_funds = [by_name(earned, fund) for fund in funds]
    lines = [
        "| candidate | utility, % | beyond the simplest | pairs | Sharpe, of its mix "
        "| drawdown, of its mix, % | turnover | equity / bonds, % | passes |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, trials in on_long.items():
        mean, error = mean_and_error(gain(trials, on_long[simplest]))
        elsewhere = [
            mean_and_error(gain(fund[name], fund[simplest]))[0]
            for fund in on_funds
            if name in fund
        ]
        beyond = float(np.mean(elsewhere)) if elsewhere else float("nan")
        rows = [Row.of(trial) for trial in trials]
        cells = [
            name,
            f"{100 * _mean(rows, 'utility'):.2f}",
            f"{100 * mean:+.2f} ± {100 * error:.2f}",
            f"{100 * beyond:+.2f}",
            f"{_mean(rows, 'sharpe'):.2f}, {_mean(rows, 'mix_sharpe'):.2f}",
            f"{100 * _mean(rows, 'drawdown'):.1f}, "
            f"{100 * _mean(rows, 'mix_drawdown'):.1f}",
            f"{_mean(rows, 'turnover'):.1f}",
            f"{100 * _mean(rows, 'equity'):.0f} / {100 * _mean(rows, 'bond'):.0f}",
            "yes" if mean > 2 * error and beyond > 0 else "no",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def span_table(earned: Sequence[Earned]) -> str:
    """Return Sharpe ratios by span, in brackets those of the own average mix there."""
    on_long = by_name(earned, LONG)
    sessions = next(iter(on_long.values()))[0].weights.index
    spans = [s for s in SPANS if len(sessions[_between(sessions, s)]) > MIN_RECORD]
    heads = [f"{start}-{end}" for start, end in spans]
    lines = [f"| Sharpe ratio | {' | '.join(heads)} |", "|---|" + "--:|" * len(spans)]
    for name, trials in on_long.items():
        cells = []
        for start, end in spans:
            rows = [Row.of(trial, start, end) for trial in trials]
            cells.append(
                f"{_mean(rows, 'sharpe'):.2f} ({_mean(rows, 'mix_sharpe'):.2f})"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _between(sessions: pd.Index, span: tuple[str, str]) -> np.ndarray:
    return np.asarray((sessions >= span[0]) & (sessions <= f"{span[1]}-12-31"))


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([getattr(row, name) for row in rows]))
