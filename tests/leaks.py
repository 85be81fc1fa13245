"""Functions that look ahead, each in its own way, and functions that do not.

Each takes bars. The leaks are mistakes that real work is full of; none of them is
caught by reading the result, only by asking what it depends on.
"""

from datetime import timedelta

import backtrader as bt
import numpy as np
import pandas as pd

from tests.fakes import FakePolicy
from trm_bt.config import FeatureConfig
from trm_bt.feeds.backtrader import TRMPandasData, add_bars
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision
from trm_bt.market.features import schema_for
from trm_bt.strategies.trm_allocator import TRMAllocator


def close(bars: Bars) -> pd.Series:
    return bars.equity["close"]


def returns(bars: Bars) -> pd.Series:
    return close(bars).pct_change()


def both_returns(bars: Bars) -> pd.DataFrame:
    closes = {"equity": close(bars), "bond": bars.bond["close"]}
    return pd.DataFrame(closes).pct_change().dropna()


def over_mean(bars):
    return close(bars) / close(bars).mean()


def zscore(bars):
    return (close(bars) - close(bars).mean()) / close(bars).std()


def centred_window(bars):
    return close(bars).rolling(5, center=True).mean()


def back_fill(bars):
    return close(bars).where(close(bars).index.day_of_week == 4).bfill()


def shifted_back(bars):
    return close(bars).shift(-1)


def shifted_back_and_filled(bars):
    return close(bars).shift(-1).fillna(close(bars))


def negative_change(bars):
    return close(bars).pct_change(-1)


def interpolate_holes(bars):
    return close(bars).where(close(bars).index.day_of_week != 2).interpolate()


def days_to_next_session(bars):
    sessions = bars.sessions.to_series()
    return (sessions.shift(-1) - sessions).dt.days.fillna(1)


def sessions_to_month_end(bars):
    return close(bars).groupby(bars.sessions.to_period("M")).cumcount(ascending=False)


def joined_by_position(bars):
    """Pair closes with those of a market that is shut on Fridays, row by row."""
    other = bars.bond["close"][bars.sessions.day_of_week != 4].to_numpy()
    spread = np.full(len(bars.sessions), np.nan)
    spread[: len(other)] = close(bars).to_numpy()[: len(other)] - other
    return pd.Series(spread, bars.sessions)


def weeks_stamped_at_start(bars):
    weekly = close(bars).resample("W-MON", label="left", closed="left").last()
    return weekly.reindex(bars.sessions, method="ffill")


def months_stamped_at_start(bars):
    return close(bars).resample("MS").last().reindex(bars.sessions, method="ffill")


def next_close_stamped_at_16(bars):
    return close(bars).shift(-1).pipe(stamped, hours=16)


def mondays_stamped_on_sunday(bars):
    return close(bars)[bars.sessions.day_of_week == 0].pipe(stamped, days=-1)


def stamped(values, **later):
    return values.set_axis(values.index + pd.Timedelta(**later))


def rank_in_sample(bars):
    return close(bars).rank(pct=True)


def drawdown_to_come(bars):
    return close(bars)[::-1].cummin()[::-1] / close(bars) - 1


def over_last_value(bars):
    return close(bars) / close(bars).iloc[-1]


def first_component(bars):
    table = both_returns(bars)
    axes = np.linalg.svd(table - table.mean(), full_matrices=False)[2]
    return table @ (axes[0] * np.sign(axes[0][0]))


def merged_forward(bars):
    weekly = close(bars)[bars.sessions.day_of_week == 4].rename("week").reset_index()
    merged = pd.merge_asof(
        close(bars).reset_index(), weekly, on="session", direction="forward"
    )
    return merged.set_index("session")["week"]


def quartile_in_sample(bars):
    return pd.qcut(close(bars), 4, labels=False)


def between_extremes(bars):
    low, high = close(bars).min(), close(bars).max()
    return (close(bars) - low) / (high - low)


def detrended(bars):
    x = np.arange(len(bars.sessions))
    slope, level = np.polyfit(x, close(bars), 1)
    return close(bars) - (slope * x + level)


def smoothed_by_fourier(bars):
    waves = np.fft.rfft(close(bars))
    waves[20:] = 0
    return pd.Series(np.fft.irfft(waves, len(bars.sessions)), bars.sessions)


def place_in_sample(bars):
    return pd.Series(np.arange(len(bars.sessions)) / len(bars.sessions), bars.sessions)


def lookback_chosen_on_sample(bars):
    """Take the lookback whose mean return went best with the next session's."""
    if len(bars.sessions) < 60:
        return returns(bars).rolling(8).mean()
    ahead = returns(bars).shift(-1)
    means = {n: returns(bars).rolling(n).mean() for n in (2, 3, 5, 8, 13)}
    return means[max(means, key=lambda n: means[n].corr(ahead))]


def crash_warning(bars):
    """Warn on the rare session whose next one falls by over two of its sigmas."""
    sigma = returns(bars).rolling(20).std()
    return returns(bars).shift(-1) < -2 * sigma


def outliers_of_sample_removed(bars):
    limit = returns(bars).abs().quantile(0.95)
    return returns(bars).clip(-limit, limit)


def volume_of_the_next_bar(bars):
    return bars.equity["volume"].shift(-1).rolling(5).mean()


def outlier_before_a_leak(bars):
    """Begin with a number beside which everything else is small."""
    ahead = returns(bars).shift(-1).fillna(0)
    ahead.iloc[0] = 1e6
    return ahead


def scaled_by_next_to_nothing(bars):
    """Divide by a deviation that is zero over a flat first month."""
    flat = close(bars).copy()
    flat.iloc[:21] = flat.iloc[0]
    moves = flat.pct_change()
    return moves.shift(-1).fillna(0) / (moves.ewm(halflife=10).std() + 1e-9)


FEATURE_LEAKS = (
    over_mean,
    zscore,
    centred_window,
    back_fill,
    shifted_back,
    shifted_back_and_filled,
    negative_change,
    interpolate_holes,
    days_to_next_session,
    sessions_to_month_end,
    joined_by_position,
    weeks_stamped_at_start,
    months_stamped_at_start,
    next_close_stamped_at_16,
    mondays_stamped_on_sunday,
    rank_in_sample,
    drawdown_to_come,
    over_last_value,
    first_component,
    merged_forward,
    quartile_in_sample,
    between_extremes,
    detrended,
    smoothed_by_fourier,
    place_in_sample,
    lookback_chosen_on_sample,
    crash_warning,
    outliers_of_sample_removed,
    volume_of_the_next_bar,
    outlier_before_a_leak,
    scaled_by_next_to_nothing,
)


def expanding_zscore(bars):
    grown = close(bars).expanding(20)
    return (close(bars) - grown.mean()) / grown.std()


def weeks_stamped_at_end(bars):
    weekly = close(bars).resample("W-FRI").last()
    return weekly.reindex(bars.sessions, method="ffill")


def merged_backward(bars):
    weekly = close(bars)[bars.sessions.day_of_week == 4].rename("week").reset_index()
    merged = pd.merge_asof(close(bars).reset_index(), weekly, on="session")
    return merged.set_index("session")["week"]


def by_convolution(bars):
    """Average over 20 sessions by Fourier transform, which rounds with the length."""
    n_rows = len(bars.sessions)
    waves = np.fft.rfft(returns(bars).fillna(0.0), n_rows + 20)
    kernel = np.fft.rfft(np.full(20, 0.05), n_rows + 20)
    means = np.fft.irfft(waves * kernel, n_rows + 20)[:n_rows]
    return pd.Series(means, bars.sessions).where(np.arange(n_rows) >= 20)


def trailing_first_component(bars):
    """Project every tenth session on the axis of the twenty up to it."""
    table = both_returns(bars)
    scores = {
        table.index[i - 1]: np.linalg.svd(table.iloc[i - 20 : i])[2][0]
        @ table.iloc[i - 1]
        for i in range(20, len(table) + 1, 10)
    }
    return pd.Series(scores, dtype=float).abs().reindex(bars.sessions)


CLEAN_FEATURES = {
    "rolling mean": lambda bars: close(bars).rolling(20).mean(),
    "rolling std": lambda bars: returns(bars).rolling(20).std(),
    "rolling correlation": lambda bars: (
        returns(bars).rolling(20).corr(bars.bond["close"].pct_change())
    ),
    "exponential mean": lambda bars: close(bars).ewm(halflife=10).mean(),
    "expanding z-score": expanding_zscore,
    "shifted": lambda bars: close(bars).shift(3),
    "log returns": lambda bars: np.log(close(bars)).diff(),
    "weeks stamped at their end": weeks_stamped_at_end,
    "merged backward": merged_backward,
    "forward fill": lambda bars: (
        close(bars).where(bars.sessions.day_of_week == 4).ffill()
    ),
    "expanding rank": lambda bars: close(bars).expanding().rank(pct=True),
    "drawdown so far": lambda bars: close(bars) / close(bars).cummax() - 1,
    "close by day of the week": lambda bars: pd.DataFrame(
        {"day": bars.sessions.day_of_week, "close": close(bars)}
    ),
    "return where a month ends by date": lambda bars: returns(bars).where(
        bars.sessions == bars.sessions + pd.offsets.BMonthEnd(0)
    ),
    "truths with holes": lambda bars: (returns(bars) > 0).reindex(
        pd.bdate_range(bars.sessions[0], bars.sessions[-1])
    ),
    "stamped at 16:00": lambda bars: (
        close(bars).rolling(5).mean().pipe(stamped, hours=16)
    ),
    "weeks stamped on Sunday": lambda bars: close(bars).resample("W").last(),
    "filled on every day": lambda bars: close(bars).asfreq("D").ffill(),
    "fast convolution": by_convolution,
    "trailing first component": trailing_first_component,
}


class RankingPolicy(FakePolicy):
    """Decide by the rank of a row's volatility among all rows shown."""

    def decide(
        self, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        ranks = features[:, 0].argsort().argsort() * 8 // len(features)
        chosen = np.eye(len(ALLOCATION_WEIGHTS))[ranks]
        return [
            Decision(session, int(row.argmax()), row, 0.5, 1, "ranks")
            for session, row in zip(sessions, chosen, strict=True)
        ]


def threshold_of_sample(bars):
    calm = bars.volatility["close"] < bars.volatility["close"].median()
    return calm.astype(float).rename("weight")


POLICY_LEAKS = (RankingPolicy.reading, threshold_of_sample)


def mean_beside_volume(bars, frozen_on):
    """Put a leaking mean of returns beside a large number that is sound."""
    volume = bars.equity["volume"].loc[:frozen_on].mean()
    return {"means": np.array([volume, returns(bars).mean()])}


def _outcomes(bars: Bars, n_ahead: int) -> pd.Series:
    return close(bars).shift(-n_ahead) / close(bars) - 1


def scaler_of_all_rows(bars, frozen_on):
    return {"mean": close(bars).mean(), "std": close(bars).std()}


def labels_open_at_the_freeze(bars, frozen_on):
    return {"mean": _outcomes(bars, 5).loc[:frozen_on].mean()}


def threshold_chosen_after_the_freeze(bars, frozen_on):
    after = _outcomes(bars, 1).loc[frozen_on:]
    before = returns(bars).reindex(after.index)
    scores = {q: after[before > before.quantile(q)].sum() for q in (0.2, 0.5, 0.8)}
    return {"quantile": max(scores, key=scores.get), "score": max(scores.values())}


def share_of_the_sample(bars, frozen_on):
    """Train on a share of all rows, not on those up to the freeze."""
    return {"mean": close(bars).iloc[: len(close(bars)) // 2].mean()}


TRAINING_LEAKS = (
    scaler_of_all_rows,
    labels_open_at_the_freeze,
    threshold_chosen_after_the_freeze,
    share_of_the_sample,
    mean_beside_volume,
)


def fitted_on_known_labels(bars, frozen_on):
    known = close(bars).loc[:frozen_on]
    outcomes = (known.shift(-5) / known - 1).dropna()
    return {"scaler": np.array([known.mean(), known.std()]), "mean": outcomes.mean()}


class Trader(bt.Strategy):
    """Hold ten shares while `is_up`."""

    def is_up(self) -> bool:
        raise NotImplementedError

    def next(self) -> None:
        self.order_target_size(target=10 if self.is_up() else 0)


class MovingAverage(Trader):
    params = (("period", 5),)

    def __init__(self) -> None:
        self.mean = bt.indicators.SMA(self.data.close, period=self.p.period)

    def is_up(self) -> bool:
        return self.data.close[0] > self.mean[0]


class PercentOfValue(MovingAverage):
    def next(self) -> None:
        self.order_target_percent(target=0.5 if self.is_up() else 0.1)


class Bracketed(MovingAverage):
    def next(self) -> None:
        if not self.position and self.is_up():
            price = self.data.close[0]
            self.buy_bracket(
                size=5, limitprice=price * 1.02, stopprice=price * 0.98, price=price
            )


class TomorrowsClose(Trader):
    def is_up(self) -> bool:
        is_last = len(self.data) == self.data.buflen()
        return not is_last and self.data.close[1] > self.data.close[0]


class LineFromTomorrow(Trader):
    def __init__(self) -> None:
        self.ahead = self.data.close(1)

    def is_up(self) -> bool:
        return self.ahead[0] > self.data.close[0]


class HighestOfAll(Trader):
    def start(self) -> None:
        self.top = max(self.data.high.array)

    def is_up(self) -> bool:
        return self.data.close[0] < 0.9 * self.top


class JoinedByPosition(Trader):
    """The second feed lacks sessions, and is read at the row of the first."""

    def is_up(self) -> bool:
        row, others = len(self.data) - 1, self.datas[1].close.array
        return others[min(row, len(others) - 1)] > self.datas[1].close[-1]


class RatioOfLines(Trader):
    """A line of two feeds is joined by position: it reads the bond's next session."""

    def __init__(self) -> None:
        self.ratio = self.datas[0].close / self.datas[1].close

    def is_up(self) -> bool:
        return self.ratio[0] * 1e3 % 1 > 0.5


class UnstartedFeed(MovingAverage):
    """The second feed starts late; till then it shows its last bar of all."""

    def __init__(self) -> None:
        super().__init__()
        self.late = bt.indicators.SMA(self.datas[1].close, period=3)

    def prenext(self) -> None:
        self.order_target_size(target=int(self.datas[1].close[0]))


class Opener(bt.Strategy):
    """Trade at each open, knowing the bars before it and the open."""

    def next_open(self) -> None:
        if len(self.data) > 1:
            self.order_target_size(target=int(1e5 * self.wanted() % 100))

    def wanted(self) -> float:
        return self.data.open[0] / self.data.close[-1]


class OpenerSeesClose(Opener):
    def wanted(self) -> float:
        return self.data.close[0] / self.data.close[-1]


class OpenerSeesValue(Opener):
    def wanted(self) -> float:
        self.buy(size=1)
        return self.broker.get_value([self.data]) / 1e5


class OpenerByPercent(bt.Strategy):
    """`order_target_percent` asks for the close, whenever it is called."""

    def next_open(self) -> None:
        self.order_target_percent(target=0.5)


class LimitAtTodaysLow(bt.Strategy):
    def next_open(self) -> None:
        limit, low = bt.Order.Limit, self.data.low[0]
        self.buy(size=1, exectype=limit, price=low)


def _rises(data) -> bool:
    """Tell whether the next bar of a feed closes higher; nobody knows that yet."""
    return len(data) < data.buflen() and data.close[1] > data.close[0]


class CancelsBeforeAFall(bt.Strategy):
    """Wait with a limit order, and cancel it where tomorrow's close is lower."""

    waiting = None

    def next(self) -> None:
        if self.waiting is None:
            limit = self.data.close[0] * 0.9
            self.waiting = self.buy(size=1, exectype=bt.Order.Limit, price=limit)
        elif not _rises(self.data):
            self.cancel(self.waiting)
            self.waiting = None


class ValidUntilAFall(bt.Strategy):
    """Send a limit order of no effect that lives longer where tomorrow is higher."""

    def next(self) -> None:
        limit, n_days = self.data.close[0] * 0.5, 9 if _rises(self.data) else 5
        valid = timedelta(days=n_days)
        self.buy(size=1, exectype=bt.Order.Limit, price=limit, valid=valid)


class PaysInBeforeARise(bt.Strategy):
    """Move cash into the account where tomorrow's close is higher."""

    def next(self) -> None:
        if _rises(self.data):
            self.broker.add_cash(100)


class AboveTheLongerBars(Trader):
    """Compare a close with the middle of the newest week or month."""

    def is_up(self) -> bool:
        longer = self.datas[-1]
        return 2 * self.data.close[0] > longer.high[0] + longer.low[0]


class Told(Trader):
    """Hold what a table of signals says, looked up by session."""

    params = (("signal", None),)

    def is_up(self) -> bool:
        return bool(self.p.signal[pd.Timestamp(self.data.datetime.date(0))])


def cerebro(bars, strategy, *, at_open=False, at_close=False, **params):
    """Return a Cerebro over equity and bond."""
    built = bt.Cerebro(stdstats=False, cheat_on_open=at_open)
    built.broker.set_cash(1e6)
    built.broker.set_coc(at_close)
    add_bars(built, bars, roles=("equity", "bond"))
    built.addstrategy(strategy, **params)
    return built


def with_bond(bars, strategy, is_kept):
    """Return a Cerebro whose bond has some of the sessions only."""
    built = bt.Cerebro(stdstats=False)
    for name, frame in (("equity", bars.equity), ("bond", bars.bond[is_kept])):
        built.adddata(TRMPandasData(dataname=frame), name=name)
    built.addstrategy(strategy)
    return built


def with_longer_bars(
    bars, strategy, *, unit="Weeks", is_alone=False, is_replayed=False, **params
):
    """Return a Cerebro over the equity, and the equity in weeks or months."""
    built = bt.Cerebro(stdstats=False)
    feed = TRMPandasData(dataname=bars.equity)
    if not is_alone:
        built.adddata(feed, name="equity")
    add = built.replaydata if is_replayed else built.resampledata
    add(feed, name="longer", timeframe=getattr(bt.TimeFrame, unit))
    built.addstrategy(strategy, **params)
    return built


def two_strategies(bars):
    built = cerebro(bars, MovingAverage)
    built.addstrategy(PercentOfValue, period=10)
    return built


def lookback_chosen_beforehand(bars):
    """Choose the lookback that would have earned most, then trade it."""
    gains = {n: (returns(bars) * _is_above(bars, n).shift()).sum() for n in (2, 4, 8)}
    return cerebro(bars, Told, signal=_is_above(bars, max(gains, key=gains.get)))


def _is_above(bars, n):
    return close(bars) > close(bars).rolling(n).mean()


def with_doubled_row(bars, strategy):
    """Return a Cerebro whose feeds hold one session twice, each another one."""
    built = bt.Cerebro(stdstats=False)
    places = np.arange(len(bars.sessions))
    for name, at in (("equity", min(40, places[-1])), ("bond", places[-1])):
        frame = getattr(bars, name).iloc[np.sort(np.r_[places, at])]
        built.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    built.addstrategy(strategy)
    return built


TRADE_LEAKS = {
    "tomorrow's close by index": lambda bars: cerebro(bars, TomorrowsClose),
    "a line from tomorrow": lambda bars: cerebro(bars, LineFromTomorrow),
    "highest of all bars": lambda bars: cerebro(bars, HighestOfAll),
    "feeds joined by position": lambda bars: with_bond(
        bars, JoinedByPosition, bars.sessions.day_of_week != 4
    ),
    "doubled row": lambda bars: with_doubled_row(bars, RatioOfLines),
    "last bar of an unstarted feed": lambda bars: with_bond(
        bars, UnstartedFeed, np.arange(len(bars.sessions)) >= 10
    ),
    "close at the open": lambda bars: cerebro(bars, OpenerSeesClose, at_open=True),
    "value at the open": lambda bars: cerebro(bars, OpenerSeesValue, at_open=True),
    "percent at the open": lambda bars: cerebro(bars, OpenerByPercent, at_open=True),
    "limit at today's low": lambda bars: cerebro(bars, LimitAtTodaysLow, at_open=True),
    "signals made beforehand": lambda bars: cerebro(
        bars, Told, signal=close(bars).shift(-1) > close(bars)
    ),
    "lookback chosen beforehand": lookback_chosen_beforehand,
    "cancelled before a fall": lambda bars: cerebro(bars, CancelsBeforeAFall),
    "valid until a fall": lambda bars: cerebro(bars, ValidUntilAFall),
    "cash before a rise": lambda bars: cerebro(bars, PaysInBeforeARise),
    "signals made beforehand, beside weeks": lambda bars: with_longer_bars(
        bars, Told, signal=close(bars).shift(-1) > close(bars)
    ),
}


def allocator(bars):
    built = bt.Cerebro(stdstats=False, cheat_on_open=True)
    add_bars(built, bars)
    lookbacks = FeatureConfig(**dict.fromkeys(FeatureConfig.model_fields, 5))
    built.addstrategy(TRMAllocator, policy=FakePolicy(schema_for(bars, lookbacks)))
    return built


CLEAN_TRADES = {
    "moving average": lambda bars: cerebro(bars, MovingAverage),
    "percent at the close": lambda bars: cerebro(bars, PercentOfValue),
    "brackets": lambda bars: cerebro(bars, Bracketed),
    "sized from the open": lambda bars: cerebro(bars, Opener, at_open=True),
    "the allocator": allocator,
    "two strategies": two_strategies,
    "days and weeks": lambda bars: with_longer_bars(bars, AboveTheLongerBars),
    "days and months": lambda bars: with_longer_bars(
        bars, AboveTheLongerBars, unit="Months"
    ),
    "days and weeks replayed": lambda bars: with_longer_bars(
        bars, AboveTheLongerBars, is_replayed=True
    ),
    "weeks alone": lambda bars: with_longer_bars(
        bars, AboveTheLongerBars, is_alone=True
    ),
}
