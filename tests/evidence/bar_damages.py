"""Every way we know to damage bars of SPY, TLT and VIX, each at a stated magnitude."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from trm_bt.market.bars import PRICE_COLUMNS

SYMBOLS = {"equity": "SPY", "bond": "TLT", "volatility": "VIX"}
PRICES = list(PRICE_COLUMNS)
Set = dict[str, pd.DataFrame]
Damage = Callable[[Set, np.random.Generator], None]
WAYS: dict[str, Damage] = {}


def way(name: str) -> Callable[[Damage], Damage]:
    """Register a way of damage under words that state its magnitude."""

    def register(damage: Damage) -> Damage:
        WAYS[name] = damage
        return damage

    return register


def any_role(rng: np.random.Generator) -> str:
    """Draw one of the three roles."""
    return str(rng.choice(list(SYMBOLS)))


def traded(rng: np.random.Generator) -> str:
    """Draw equity or bond."""
    return str(rng.choice(["equity", "bond"]))


def row_of(frame: pd.DataFrame, rng: np.random.Generator) -> int:
    """Draw a row that is neither among the first nor the last ten."""
    return int(rng.integers(10, len(frame) - 10))


def cell_becomes(value: float) -> Damage:
    """Put one value into one price."""

    def damage(frames: Set, rng: np.random.Generator) -> None:
        frame = frames[any_role(rng)]
        frame.iloc[row_of(frame, rng), int(rng.integers(4))] = value

    return damage


for _value in (np.nan, np.inf, 0.0, -1.0):
    WAYS[f"one price is {_value}"] = cell_becomes(_value)


@way("one high is 1 % below open or close")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[any_role(rng)]
    row = row_of(frame, rng)
    frame.iloc[row, 1] = frame.iloc[row][["open", "close"]].max() * 0.99


@way("one low is 1 % above open or close")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[any_role(rng)]
    row = row_of(frame, rng)
    frame.iloc[row, 2] = frame.iloc[row][["open", "close"]].min() * 1.01


@way("high and close change places in every row")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[any_role(rng)]
    frame[["high", "close"]] = frame[["close", "high"]].to_numpy()


@way("one low is half of what it was")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    frame.iloc[row_of(frame, rng), 2] *= 0.5


@way("one high is 1.5 times what it was")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    frame.iloc[row_of(frame, rng), 1] *= 1.5


@way("one row is there twice")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = any_role(rng)
    row = row_of(frames[role], rng)
    frames[role] = pd.concat([frames[role].iloc[: row + 1], frames[role].iloc[row:]])


@way("two neighbouring rows change places")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = any_role(rng)
    order = np.arange(len(frames[role]))
    row = row_of(frames[role], rng)
    order[[row, row + 1]] = order[[row + 1, row]]
    frames[role] = frames[role].iloc[order]


@way("newest row first")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = any_role(rng)
    frames[role] = frames[role].iloc[::-1]


@way("one session is missing")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = any_role(rng)
    frames[role] = frames[role].drop(frames[role].index[row_of(frames[role], rng)])


@way("10 sessions in a row are missing")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = any_role(rng)
    row = int(rng.integers(10, len(frames[role]) - 20))
    frames[role] = frames[role].drop(frames[role].index[row : row + 10])


@way("1 % of the sessions are missing")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = any_role(rng)
    n_sessions = len(frames[role])
    gone = rng.choice(np.arange(1, n_sessions - 1), n_sessions // 100, replace=False)
    frames[role] = frames[role].drop(frames[role].index[gone])


@way("one Saturday repeats its Friday")
def _(frames: Set, rng: np.random.Generator) -> None:
    add_days(frames, rng, np.array([5]))


@way("one holiday repeats the session before")
def _(frames: Set, rng: np.random.Generator) -> None:
    add_days(frames, rng, np.arange(5))


def add_days(frames: Set, rng: np.random.Generator, weekdays: np.ndarray) -> None:
    """Add one day without a session on one of the weekdays."""
    role = any_role(rng)
    index = frames[role].index
    days = pd.date_range(index[0], index[-1]).difference(index)
    day = rng.choice(days[days.day_of_week.isin(weekdays)])
    before = frames[role].loc[:day].iloc[[-1]].set_axis([pd.Timestamp(day)])
    frames[role] = pd.concat([frames[role], before]).sort_index()


@way("sessions have the zone of New York")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = any_role(rng)
    frames[role] = frames[role].tz_localize("America/New_York")


@way("time zone shifted by 5 hours")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = any_role(rng)
    frames[role] = frames[role].shift(freq="5h")


@way("time zone shifted to the day before")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = any_role(rng)
    frames[role] = frames[role].shift(freq="-1D")


@way("volatility is one session late")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["volatility"] = frames["volatility"].shift(1).iloc[1:]


@way("equity is one session late")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["equity"] = frames["equity"].shift(1).iloc[1:]


@way("bond is one session late, over 5 years or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["bond"] = frames["bond"].shift(1).iloc[1:]


@way("bond is one session early, over 5 years or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["bond"] = frames["bond"].shift(-1).ffill()


@way("volatility is one session late in the last 40%, over 2 years or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    shift_part(frames["volatility"], 0.6, 1)


@way("equity is one session early in the last 30%, over 3 years or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    shift_part(frames["equity"], 0.7, -1)


def shift_part(frame: pd.DataFrame, share: float, n_sessions: int) -> None:
    """Shift the rows from a share of the history on."""
    first = int(len(frame) * share)
    frame.iloc[first:] = frame.iloc[first:].shift(n_sessions).bfill().ffill().to_numpy()


@way("bond ends a tenth early")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["bond"] = frames["bond"].iloc[: -(len(frames["bond"]) // 10)]


@way("one row has no date")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = any_role(rng)
    dates = frames[role].index.to_series()
    dates.iloc[row_of(frames[role], rng)] = pd.NaT
    frames[role].index = pd.DatetimeIndex(dates)


@way("swapped roles: equity and bond")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["equity"], frames["bond"] = frames["bond"], frames["equity"]


@way("swapped roles: equity and volatility")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["equity"], frames["volatility"] = frames["volatility"], frames["equity"]


@way("swapped roles: bond and volatility")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["bond"], frames["volatility"] = frames["volatility"], frames["bond"]


@way("volatility in decimals")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["volatility"][PRICES] /= 100


@way("volatility times 100")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["volatility"][PRICES] *= 100


@way("volatility falls by 60 % a year, over 5 years or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    # only long windows are taken for this way, see `draw`
    index = np.arange(len(frames["volatility"]))
    steps = 0.5 * np.log(frames["volatility"]["close"]).diff().fillna(0).to_numpy()
    level = 150 * np.exp(np.cumsum(steps) + index / 252 * np.log(0.4))
    for name in PRICES:
        frames["volatility"][name] = level


@way("volatility is a random walk of its own")
def _(frames: Set, rng: np.random.Generator) -> None:
    level = np.zeros(len(frames["volatility"]))
    for i in range(1, len(level)):
        level[i] = 0.98 * level[i - 1] + rng.normal(0, 0.06)
    for name in PRICES:
        frames["volatility"][name] = 18 * np.exp(level)


@way("equity is a random walk of its own")
def _(frames: Set, rng: np.random.Generator) -> None:
    walk = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(frames["equity"]))))
    for name in PRICES:
        frames["equity"][name] = walk


@way("bond is a copy of equity")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames["bond"] = frames["equity"].copy()


@way("bond moves by 0.05 % a session, as cash does")
def _(frames: Set, rng: np.random.Generator) -> None:
    steps = rng.normal(0, 0.0005, len(frames["bond"]))
    for name in PRICES:
        frames["bond"][name] = 100 * np.exp(np.cumsum(steps))


@way("bond moves three times as much")
def _(frames: Set, rng: np.random.Generator) -> None:
    bond = frames["bond"]
    steps = 3 * np.log(bond["close"]).diff().fillna(0)
    factor = 100 * np.exp(steps.cumsum()) / bond["close"]
    bond[PRICES] = bond[PRICES].mul(factor, axis=0)


@way("5 % bad ticks: one price of the bar wrong by 10 %")
def _(frames: Set, rng: np.random.Generator) -> None:
    spoil_cells(frames[any_role(rng)], rng, 0.10)


@way("5 % bad ticks: one price of the bar wrong by 5 %")
def _(frames: Set, rng: np.random.Generator) -> None:
    spoil_cells(frames[any_role(rng)], rng, 0.05)


@way("5 % bad ticks: whole bars wrong by 5 %")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    rows = rng.choice(len(frame), len(frame) // 20, replace=False)
    factor = np.ones(len(frame))
    factor[rows] += rng.choice([-0.05, 0.05], len(rows))
    frame[PRICES] = frame[PRICES].mul(factor, axis=0)


def spoil_cells(frame: pd.DataFrame, rng: np.random.Generator, size: float) -> None:
    """Make one price wrong in each of 5 % of the rows."""
    rows = rng.choice(len(frame), len(frame) // 20, replace=False)
    for row in rows:
        frame.iloc[row, int(rng.integers(4))] *= 1 + rng.choice([-size, size])


@way("one bar of equity or bond is 25 % too high")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    row = row_of(frame, rng)
    frame.iloc[row, :4] *= 1.25


@way("one bar is 10 times too high")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[any_role(rng)]
    frame.iloc[row_of(frame, rng), :4] *= 10


@way("20 bars in cents")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    row = int(rng.integers(10, len(frame) - 30))
    frame.iloc[row : row + 20, :4] *= 100


@way("a 2-for-1 split was not adjusted")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    frame.iloc[: row_of(frame, rng), :4] *= 2


def with_raw(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a frame raw prices, and adjusted closes beside them: 0.45 % a quarter."""
    n_later = (len(frame) - 1 - np.arange(len(frame))) // 63
    raw = frame.copy()
    raw[PRICES] = raw[PRICES].div(0.9955**n_later, axis=0)
    return raw.assign(**{"adj close": frame["close"]})


@way("mixed adjusted/raw: 60 adjusted closes are raw, a year before the end or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = traded(rng)
    frame = frames[role] = with_raw(frames[role])
    row = int(rng.integers(10, len(frame) - 160))
    column = frame.columns.get_loc("adj close")
    frame.iloc[row : row + 60, column] = frame["close"].iloc[row : row + 60]


@way("mixed adjusted/raw: 60 raw bars are adjusted, half a year before the end or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = traded(rng)
    adjusted = frames[role]
    frame = frames[role] = with_raw(adjusted)
    row = int(rng.integers(10, len(frame) - 190))
    frame.iloc[row : row + 60, :4] = adjusted[PRICES].iloc[row : row + 60]


@way("mixed adjusted/raw: adjusted in the first half, raw later, over 2 years or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = traded(rng)
    frame = frames[role] = with_raw(frames[role])
    half = len(frame) // 2
    column = frame.columns.get_loc("adj close")
    frame.iloc[half:, column] = frame["close"].iloc[half:]


@way("an older part of SPY is 20 % lower: adjusted at another time")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames["equity"]
    frame.iloc[: row_of(frame, rng), :4] *= 0.8


@way("60 bars stand twice")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    row = int(rng.integers(70, len(frame) - 70))
    block = frame.iloc[row - 60 : row, :4] / frame["close"].iloc[row - 61]
    frame.iloc[row : row + 60, :4] = (block * frame["close"].iloc[row - 1]).to_numpy()


@way("20 sessions on a straight line")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[any_role(rng)]
    row = int(rng.integers(10, len(frame) - 40))
    ends = frame["close"].iloc[[row, row + 20]]
    line = np.linspace(*ends, 21)[:-1]
    frame.iloc[row : row + 20, :4] = np.repeat(line[:, None], 4, axis=1)


@way("10 bars repeat the one before")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[any_role(rng)]
    row = int(rng.integers(10, len(frame) - 20))
    frame.iloc[row + 1 : row + 11, :4] = frame.iloc[[row], :4].to_numpy()


@way("the column of lows is missing")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames[any_role(rng)].pop("low")


@way("one volume is missing")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    frame.iloc[row_of(frame, rng), 4] = np.nan


@way("one volume is negative")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    frame.iloc[row_of(frame, rng), 4] *= -1


@way("5 % of the volumes are 0")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    frame.iloc[rng.choice(len(frame), len(frame) // 20, replace=False), 4] = 0.0


@way("volumes in hundreds from a row on, 40 sessions before the end or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    frame.iloc[int(rng.integers(30, len(frame) - 40)) :, 4] /= 100


@way("one volume is 1,000 times too high")
def _(frames: Set, rng: np.random.Generator) -> None:
    frame = frames[traded(rng)]
    frame.iloc[row_of(frame, rng), 4] *= 1000


@way("all volumes are the same")
def _(frames: Set, rng: np.random.Generator) -> None:
    frames[traded(rng)]["volume"] = 1e6


def as_traded(frame: pd.DataFrame, every: int, share: float) -> pd.DataFrame:
    """Return raw bars on cents that pay a share of their price every so many rows."""
    rows = np.arange(len(frame))
    is_paid = rows % every == every - 1
    n_later = is_paid.sum() - np.cumsum(is_paid)
    raw = frame[[*PRICES, *frame.columns.intersection(["volume"])]].copy()
    raw[PRICES] = raw[PRICES].div((1 - share) ** n_later, axis=0).round(2)
    paid = np.where(is_paid, share * raw["close"].shift().fillna(0.0), 0.0)
    return raw.assign(dividends=paid, capital_gains=0.0, splits=0.0)


def pay(role: str) -> tuple[int, float]:
    """Return how often a role pays, and which share of its price."""
    return (63, 0.0045) if role == "equity" else (21, 0.003)


@way("traded prices on cents, that nobody adjusted")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = traded(rng)
    raw = as_traded(frames[role], *pay(role))
    frames[role] = raw.drop(columns=["dividends", "capital_gains", "splits"])


@way("an adjusted close that is the close in every row")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = traded(rng)
    raw = as_traded(frames[role], *pay(role))
    raw = raw.drop(columns=["dividends", "capital_gains", "splits"])
    frames[role] = raw.assign(**{"adj close": raw["close"]})


@way("not adjusted in the calendar years of the middle half, over 5 years or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = traded(rng)
    every, share = pay(role)
    raw = as_traded(frames[role], every, share)
    years = raw.index.year
    left_out = np.unique(years[len(years) // 4 : 3 * len(years) // 4])[1:]
    is_paid = (raw["dividends"] > 0) & ~years.isin(left_out)
    n_later = is_paid.sum() - np.cumsum(is_paid)
    factor = (1 - share) ** n_later
    raw[PRICES] = raw[PRICES].mul(factor, axis=0).round(4)
    frames[role] = raw[[*PRICES, "volume"]]


@way("raw bars without the distributions that they paid")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = traded(rng)
    frames[role] = as_traded(frames[role], *pay(role)).assign(dividends=0.0)


@way("a distribution ten times too large, on a quiet morning, over 2 years or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = traded(rng)
    raw = frames[role] = as_traded(frames[role], *pay(role))
    gap = (raw["open"] / raw["close"].shift() - 1).abs()
    rows = np.flatnonzero((raw["dividends"] > 0) & (gap < 0.01))
    raw.iloc[int(rng.choice(rows)), raw.columns.get_loc("dividends")] *= 10


@way("gains of 4 % that the dividend holds too, over 2 years or more")
def _(frames: Set, rng: np.random.Generator) -> None:
    role = traded(rng)
    raw = frames[role] = as_traded(frames[role], *pay(role))
    gap = (raw["open"] / raw["close"].shift() - 1).abs()
    row = int(rng.choice(np.flatnonzero((raw["dividends"] > 0) & (gap < 0.01))))
    gains = 0.04 * raw["close"].iloc[row - 1]
    raw.iloc[:row, :4] += gains
    raw.iloc[row, raw.columns.get_loc("dividends")] += gains
    raw.iloc[row, raw.columns.get_loc("capital_gains")] = gains
