"""What the trials of the study earned, judged by the rule of docs/protocol.md."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from arch.bootstrap import StationaryBootstrap

from trm_bt.evaluation.metrics import (
    excess_returns,
    max_drawdown,
    session_returns,
    sharpe,
)
from trm_bt.evaluation.regression import newey_west, usual_lags
from trm_bt.evaluation.replay import replay
from trm_bt.evaluation.statistics import interval, sharpe_ratios
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.labels import cash_returns

AVERSION: Final = 5.0
COST: Final = 5e-4
ANCHOR: Final = (0.6, 0.4, 0.0)
MIN_RECORD: Final = 252
LONG: Final = "long"
N_SEEDS: Final = 3
"""Seeds that are judged; the simplest has more, for the ensemble."""
N_DRAWS: Final = 1000
BLOCK: Final = 63
"""Mean length in sessions of the blocks that intervals are resampled by: a quarter."""
SPANS: Final = ["1966-1975", "1976-1987", "1988-1999", "2000-2011", "2012-2023"]


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

    def within(self, span: str) -> "Earned":
        """Return the years of a span, both inclusive."""
        weights = self.weights.loc[slice(*span.split("-"))]
        first, last = weights.index[0], weights.index[-1]
        bars = self.bars.between(end=last)
        return replace(
            self, bars=bars, equity=self.equity.loc[first:last], weights=weights
        )


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
    fitted = newey_west(values, usual_lags(len(values)))
    mean, error = float(fitted.params[0]), float(fitted.bse[0])
    return SESSIONS_PER_YEAR * mean, SESSIONS_PER_YEAR * error


def replayed(bars: Bars, weights: pd.DataFrame) -> tuple[pd.Series, float]:
    """Return values at the closes of a schedule of weights, and its annual turnover."""
    span = bars.between(weights.index[0])
    targets = weights.reindex(span.sessions).ffill().to_numpy()[:, np.newaxis, :2]
    done = replay(span, targets, np.array([COST]))
    n_years = (len(span.sessions) - 1) / SESSIONS_PER_YEAR
    values = pd.Series(done.values[:, 0], span.sessions)
    return values, float(done.turnover[0] / n_years)


def constant(earned: Earned, mix: Sequence[float]) -> Earned:
    """Return what a mix held over the sessions of a trial earned."""
    index, columns = earned.weights.index, earned.weights.columns
    weights = pd.DataFrame([list(mix)] * len(index), index, columns)
    return replace(earned, weights=weights, equity=replayed(earned.bars, weights)[0])


def own_mix(earned: Earned) -> Earned:
    """Return what the average weights of a trial, held throughout, earned."""
    return constant(earned, earned.weights.mean().tolist())


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
    anchor = constant(model, ANCHOR)
    ours, theirs = model.excess.align(anchor.excess, join="inner")
    gains = (ours - theirs) - AVERSION / 2 * (ours**2 - theirs**2)
    share = pd.Series(trust(gains.to_numpy()), gains.index)
    share = share.reindex(model.weights.index).ffill().fillna(0.0)
    weights = anchor.weights + (model.weights - anchor.weights).mul(share, axis=0)
    values, _ = replayed(model.bars, weights)
    return replace(model, name="earned trust", equity=values, weights=weights)


def figures(earned: Earned) -> dict[str, Any]:
    """Return a line of the log: a trial beside the mix of its own average weights."""
    sessions, cash, mix = (
        earned.weights.index,
        cash_returns(earned.bars),
        own_mix(earned),
    )
    found: dict[str, float] = {
        "utility": utility(earned.excess.to_numpy()),
        "sharpe": sharpe(earned.equity, cash) or 0.0,
        "mix_sharpe": sharpe(mix.equity, cash) or 0.0,
        "drawdown": max_drawdown(earned.equity),
        "mix_drawdown": max_drawdown(mix.equity),
        "turnover": replayed(earned.bars, earned.weights)[1],
        **earned.weights.mean()[["equity", "bond"]],
    }
    return {
        "name": earned.name, "seed": earned.seed, "universe": earned.universe,
        "start": str(sessions[0].date()), "end": str(sessions[-1].date()),
        **{name: round(float(value), 6) for name, value in found.items()},
    }  # fmt: skip


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
    couples = [(a, b) for a in ours for b in theirs]
    if len(ours) == len(theirs):
        couples = list(zip(ours, theirs, strict=True))
    return np.mean([differences(a.excess, b.excess) for a, b in couples], axis=0)


def candidate_table(earned: Sequence[Earned], simplest: str) -> str:
    """Return the table by which the rule decides, in Markdown."""
    on_long = by_name(earned, LONG)
    on_funds = [
        by_name(earned, u) for u in {e.universe: 0 for e in earned} if u != LONG
    ]
    heads = (
        "candidate | utility, % | beyond the simplest | pairs | Sharpe, of its mix | "
        "drawdown, of its mix, % | turnover | equity / bonds, % | passes"
    )
    rows = []
    for name, trials in on_long.items():
        mean, error = mean_and_error(gain(trials, on_long[simplest]))
        beyond = [
            mean_and_error(gain(fund[name], fund[simplest]))[0]
            for fund in on_funds
            if name in fund
        ]
        elsewhere = float(np.mean(beyond)) if beyond else float("nan")
        f = pd.DataFrame(map(figures, trials)).mean(numeric_only=True)
        rows.append([
            name, f"{100 * f.utility:.2f}", f"{100 * mean:+.2f} ± {100 * error:.2f}",
            f"{100 * elsewhere:+.2f}", f"{f.sharpe:.2f}, {f.mix_sharpe:.2f}",
            f"{100 * f.drawdown:.1f}, {100 * f.mix_drawdown:.1f}", f"{f.turnover:.1f}",
            f"{100 * f.equity:.0f} / {100 * f.bond:.0f}",
            "yes" if mean > 2 * error and elsewhere > 0 else "no",
        ])  # fmt: skip
    return _markdown(heads.split(" | "), rows)


def span_table(earned: Sequence[Earned]) -> str:
    """Return Sharpe ratios by span, in brackets those of the own average mix there."""
    on_long = by_name(earned, LONG)
    rows = []
    for name, trials in on_long.items():
        cells = []
        for span in _spans(trials[0]):
            lines = pd.DataFrame(figures(trial.within(span)) for trial in trials)
            cells.append(f"{lines.sharpe.mean():.2f} ({lines.mix_sharpe.mean():.2f})")
        rows.append([name, *cells])
    spans = _spans(next(iter(on_long.values()))[0])
    return _markdown(["Sharpe ratio", *spans], rows)


def against_own_mix(trials: Sequence[Earned]) -> str:
    """Return what a candidate has beyond its own average mix, by span, with intervals.

    A stationary bootstrap draws the same sessions of all seeds and mixes.
    """
    names = ["Sharpe ratio", "drawdown, %", "utility, %", "turnover"]
    rows = []
    for span in _spans(trials[0]):
        ours = [trial.within(span) for trial in trials]
        mixes = [own_mix(trial) for trial in ours]
        columns = [
            np.column_stack([session_returns(e.equity), e.excess, traded(e)])
            for e in (*ours, *mixes)
        ]
        table = np.stack(columns, axis=1)
        draws = StationaryBootstrap(BLOCK, table, seed=0).apply(_beyond, N_DRAWS)
        cells = [
            "{:+.2f} ({:+.2f} to {:+.2f})".format(value, *interval(draw))
            for value, draw in zip(_beyond(table), draws.T, strict=True)
        ]
        rows.append([span, *cells])
    return _markdown([f"{trials[0].name}, beyond its mix", *names], rows)


def _beyond(table: np.ndarray) -> np.ndarray:
    """Return the mean lead of the first half over the second, shape (4,)."""
    returns, excess, traded = np.moveaxis(table, 2, 0)
    values = np.cumprod(1.0 + returns, axis=0)
    peaks = np.maximum(1.0, np.maximum.accumulate(values))
    found = [
        sharpe_ratios(excess) * np.sqrt(SESSIONS_PER_YEAR),
        100.0 * (values / peaks - 1.0).min(axis=0),
        [100.0 * utility(column) for column in excess.T],
        traded.mean(axis=0) * SESSIONS_PER_YEAR,
    ]
    ours, theirs = np.split(np.array(found), 2, axis=1)
    return np.asarray((ours - theirs).mean(axis=1))


def traded(earned: Earned) -> np.ndarray:
    """Return half the change of weights at each session's open but the first."""
    assets = [earned.bars.equity, earned.bars.bond]
    growth = pd.concat([a["close"].pct_change() for a in assets], axis=1) + 1.0
    targets = earned.weights.to_numpy()[:-1, :2]
    held = targets[:-1] * growth.reindex(earned.weights.index).to_numpy()[1:-1]
    cash = 1.0 - targets[:-1].sum(axis=1)
    drifted = held / (held.sum(axis=1) + cash)[:, np.newaxis]
    first = np.abs(targets[0]).sum()
    return np.array([first, *np.abs(targets[1:] - drifted).sum(axis=1)]) / 2


def _spans(earned: Earned) -> list[str]:
    """Return the spans that a trial decided a year of, or more."""
    index = earned.weights.index
    counts = {s: len(index[index.slice_indexer(*s.split("-"))]) for s in SPANS}
    return [span for span, n_sessions in counts.items() if n_sessions > MIN_RECORD]


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
