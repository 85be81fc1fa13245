"""What files and stores of bars say wrongly is said, and sound ones pass in silence."""

import warnings

import numpy as np
import pandas as pd
import pytest

from tests.command_line import invoke
from tests.conftest import make_bars
from tests.test_load_bars import write
from trm_bt.errors import BarsError, BarsWarning
from trm_bt.feeds import load_bars
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.sources import FolderSource
from trm_bt.feeds.tables import read_table
from trm_bt.feeds.validate import validate_source
from trm_bt.market.adjustment import RAW_COLUMNS, adjusted_prices
from trm_bt.quality.findings import Subject
from trm_bt.quality.rules import examine

PRICES = ["open", "high", "low", "close"]


@pytest.fixture
def folder(tmp_path, bars):
    """A sound folder of random bars."""
    for symbol, role in (("SPY", "equity"), ("TLT", "bond"), ("VIX", "volatility")):
        write(tmp_path, symbol, getattr(bars, role))
    return tmp_path


def load_quietly(folder, **options):
    """Return the bars, and the sentences of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load_bars(folder, **options)
    return loaded, [str(warning.message) for warning in caught]


def fund(n_years=6, *, every=63, share=0.005, start="2003-01-02", seed=4):
    """Return traded prices on cents, what was paid, and adjusted prices by a loop."""
    first = pd.Timestamp(start)
    sessions = nyse_sessions(first, first + pd.Timedelta(days=round(365.25 * n_years)))
    rng = np.random.default_rng(seed)
    close, paid = np.empty(len(sessions)), np.zeros(len(sessions))
    close[0] = 110.0
    for k in range(1, len(sessions)):
        paid[k] = round(share * close[k - 1], 3) if k % every == every // 2 else 0.0
        grown = (close[k - 1] - paid[k]) * np.exp(rng.normal(2e-4, 0.009))
        close[k] = round(grown, 2)
    adjusted = close.copy()
    for k in np.flatnonzero(paid):
        adjusted[:k] *= 1 - paid[k] / close[k - 1]
    return pd.Series(close, sessions), pd.Series(paid, sessions), adjusted


def as_bars(close):
    """Return bars that open at the close before and have small wicks."""
    close = pd.Series(close).astype(float)
    open_ = close.shift().fillna(close.iloc[0])
    high, low = pd.concat([open_, close], axis=1).agg(["max", "min"], axis=1).T.values
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "open": open_,
            "high": high * 1.001,
            "low": low * 0.999,
            "close": close,
            "volume": rng.uniform(1e6, 5e6, len(close)),
        }
    )


def look(frame, role="equity", symbol="SPY"):
    return examine(Subject(frame, role, pd.DatetimeIndex(frame.index), symbol, symbol))


def unadjusted(frame, role="equity", symbol="SPY"):
    found = [f for f in look(frame, role, symbol) if f.rule == "not adjusted"]
    assert all(finding.severity == "warning" for finding in found)
    return " ".join(finding.sentence for finding in found)


@pytest.mark.slow
def test_traded_prices_without_adjusted_ones_are_said_with_their_years():
    close, _, adjusted = fund()
    assert "those of 2003 to 2008 lie on one grid" in unadjusted(as_bars(close))
    sound = pd.Series(adjusted.round(4), close.index)
    assert look(as_bars(sound)) == ()


@pytest.mark.parametrize(("every", "share"), [(63, 0.005), (21, 0.003), (252, 0.012)])
@pytest.mark.parametrize("decimals", [3, 4, 6])
def test_sound_adjusted_prices_pass_in_silence(every, share, decimals):
    close, _, adjusted = fund(every=every, share=share)
    sound = pd.Series(adjusted.round(decimals), close.index)
    assert unadjusted(as_bars(sound)) == ""


def partly(close, paid, years, decimals=4):
    """Adjust for what was paid outside of some years."""
    prices = close.to_numpy().copy()
    for k in np.flatnonzero(paid):
        if close.index[k].year not in years:
            prices[:k] *= 1 - paid.iloc[k] / close.iloc[k - 1]
    return pd.Series(prices.round(decimals), close.index)


@pytest.mark.parametrize(("every", "share"), [(63, 0.005), (21, 0.003)])
@pytest.mark.parametrize("decimals", [3, 4, 6])
def test_years_that_nobody_adjusted_are_named(every, share, decimals):
    close, paid, _ = fund(every=every, share=share)
    prices = partly(close, paid, (2004, 2005), decimals)
    assert "those of 2004 to 2005 lie on" in unadjusted(as_bars(prices))


def test_an_adjusted_close_that_never_parts_is_said():
    close, paid, adjusted = fund()
    frame = as_bars(close)
    assert "those of 2003 to 2008 have" in unadjusted(
        frame.assign(**{"adj close": close})
    )
    late = partly(close, paid, (2003, 2004, 2005), 6)
    assert "those of 2003 to 2005 have" in unadjusted(
        frame.assign(**{"adj close": late})
    )
    assert unadjusted(frame.assign(**{"adj close": adjusted.round(6)})) == ""


def test_funds_that_pay_nothing_and_the_index_pass_in_silence(bars):
    close, _, _ = fund(share=0.0)
    assert look(as_bars(close), "member", "GLD") == ()
    level = bars.volatility.round(2)
    assert unadjusted(level, "volatility", "VIX") == ""


def test_real_funds_pass_in_silence(market_dir):
    files = [market_dir / "SPY.csv", market_dir / "TLT.csv"]
    files += [*(market_dir.parent / "universes").glob("*.csv")]
    for path in files:
        assert unadjusted(read_table(path)) == "", path.name


def test_strict_refuses_what_is_odd_and_accept_takes_it(folder, bars):
    write(folder, "SPY", bars.equity.round(2))
    with pytest.raises(BarsError, match=r"SPY\.csv: prices must be adjusted for"):
        load_bars(folder, strict=True)
    code, _, error = invoke("validate", "--bars", folder, "--strict")
    assert code == 2
    assert "prices must be adjusted" in error
    _, said = load_quietly(folder)
    assert "lie on one grid of cents" in said[0]
    _, said = load_quietly(folder, strict=True, accept=["not-adjusted:SPY"])
    assert "lie on one grid of cents" in said[0]


def test_an_error_is_overruled_by_name_and_the_provenance_says_so(folder, bars):
    write(folder, "SPY", bars.equity)
    low = bars.equity.copy()
    low.iloc[200, 2] *= 0.5
    write(folder, "SPY", low)
    with pytest.raises(BarsError, match="high or low differ from open and close"):
        load_bars(folder)
    loaded, said = load_quietly(folder, accept=["wicks:SPY"])
    assert "Accepted: the rule 'wicks' is overruled." in said[0]
    assert said[0] in loaded.provenance["equity"].notes
    with pytest.raises(BarsError, match="high or low"):
        load_bars(folder, accept=["wicks:TLT"])
    code, out, _ = invoke("validate", "--bars", folder, "--accept", "wicks:SPY")
    assert (code, "Accepted: the rule 'wicks'" in out) == (0, True)


@pytest.mark.parametrize("rule", ["prices", "wick", "duplicates:SPY"])
def test_a_rule_that_cannot_be_overruled_is_named(folder, rule):
    with pytest.raises(BarsError, match="takes a rule that may be overruled, got"):
        load_bars(folder, accept=[rule])


def raw(close, paid, gains=None):
    """Return raw bars as a store keeps them; they open where they close."""
    bars = as_bars(close)
    bars["open"] = (close.shift() - paid).fillna(close.iloc[0])
    bars["high"] = bars[["open", "close"]].max(axis=1)
    bars["low"] = bars[["open", "close"]].min(axis=1)
    events = {"dividends": paid, "capital_gains": 0.0 if gains is None else gains}
    return bars.assign(**events, splits=0.0)[list(RAW_COLUMNS)]


def doubts(frame, role="equity", symbol="SPY"):
    return [f.sentence for f in look(frame, role, symbol) if f.rule == "distributions"]


@pytest.mark.slow
def test_sound_distributions_pass_in_silence():
    for every, share in ((63, 0.005), (21, 0.003)):
        close, paid, adjusted = fund(every=every, share=share)
        frame = raw(close, paid)
        assert look(frame) == ()
        np.testing.assert_allclose(adjusted_prices(frame)["close"], adjusted, rtol=1e-9)


def test_a_special_distribution_that_the_price_shows_is_sound():
    close, paid, _ = fund()
    row = int(np.flatnonzero(paid)[6])
    paid.iloc[row] += 8.0
    close.iloc[row:] -= 8.0
    assert doubts(raw(close, paid)) == []


def test_a_dividend_ten_times_too_large_is_said_and_the_price_decides():
    close, paid, adjusted = fund()
    row = int(np.flatnonzero(paid)[6])
    frame = raw(close, paid)
    frame.iloc[row, frame.columns.get_loc("dividends")] *= 10
    (said,) = doubts(frame)
    assert "5.0% is reported where 0.5% is usual" in said
    assert str(close.index[row].date()) in said
    np.testing.assert_allclose(adjusted_prices(frame)["close"], adjusted, rtol=1e-9)


def test_gains_that_the_dividend_holds_already_are_counted_once():
    close, paid, _ = fund(every=21, share=0.004, start="1993-01-04")
    row = int(np.flatnonzero(paid)[30])
    paid.iloc[row], gains = 6.0, paid * 0.0
    gains.iloc[row] = 5.5
    close.iloc[row:] -= 5.5
    frame = raw(close, paid, gains)
    (said,) = doubts(frame)
    assert "6 is used, as the price shows" in said
    growth = adjusted_prices(frame)["close"].pct_change().iloc[row]
    expected = (close.iloc[row] + 6.0) / close.iloc[row - 1] - 1
    assert growth == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_a_monthly_fund_that_is_said_to_pay_nothing_is_named():
    close, paid, _ = fund(every=21, share=0.003)
    none = raw(close, paid * 0.0)
    assert "2003 to 2008 have no distribution" in unadjusted(none, "bond", "TLT")
    gap = paid.copy()
    gap.iloc[700:850] = 0.0
    (said,) = doubts(raw(close, gap), "bond", "TLT")
    assert "pays every 21 sessions, but no payment is reported in" in said


@pytest.mark.parametrize(
    ("moment", "n_left"),
    [
        ("2002-08-08 15:59", 399),
        ("2002-08-08 16:31", 400),
        ("2002-08-07 12:00", 398),
        ("2002-08-10 12:00", 400),
    ],
)
def test_sessions_that_have_not_closed_are_left_out(folder, moment, n_left):
    now = pd.Timestamp(moment, tz="America/New_York")
    source = FolderSource(folder, now)
    assert len(source.read("SPY")) == n_left
    said = [finding.rule for finding in source.oddities("SPY")]
    assert said == (["not closed"] if n_left < 400 else [])


@pytest.mark.slow
def test_bars_of_the_future_are_left_out_and_said(folder, bars):
    late = nyse_sessions(pd.Timestamp("2051-01-03"), pd.Timestamp("2051-01-10"))
    more = bars.equity.iloc[-len(late) :].set_axis(late)
    write(folder, "SPY", pd.concat([bars.equity, more]))
    loaded, said = load_quietly(folder)
    assert loaded.sessions[-1] == bars.sessions[-1]
    words = f"{len(late)} later ones were left out; first 2051-01-03"
    assert words in said[0]


def test_a_file_of_closes_serves_as_the_index(folder, bars):
    close = bars.volatility[["close"]].rename(columns={"close": "VIXCLS"})
    (folder / "VIX.csv").unlink()
    dates = pd.bdate_range(bars.sessions[0], bars.sessions[-1])
    close.reindex(dates).rename_axis("DATE").to_csv(folder / "VIXCLS.csv", na_rep=".")
    loaded, said = load_quietly(folder, strict=True)
    assert said == ["VIXCLS.csv: closes only"]
    expected = bars.volatility["close"]
    for column in PRICES:
        np.testing.assert_allclose(loaded.volatility[column], expected, rtol=1e-14)


def test_an_open_of_the_index_may_lie_outside_its_range(folder, bars):
    odd = bars.volatility.copy()
    odd.iloc[10:57, 0] *= 1.1
    write(folder, "VIX", odd)
    loaded, said = load_quietly(folder)
    assert "high must be the highest" in said[0]
    np.testing.assert_allclose(loaded.volatility["close"], odd["close"], rtol=1e-14)
    assert (loaded.volatility["high"] >= loaded.volatility["open"]).all()


def test_an_index_on_holidays_of_the_exchange_is_left_out_and_counted(folder, bars):
    days = pd.bdate_range(bars.sessions[0], bars.sessions[-1]).difference(bars.sessions)
    extra = bars.volatility.iloc[: len(days)].set_axis(days)
    write(folder, "VIX", pd.concat([bars.volatility, extra]).sort_index())
    loaded, said = load_quietly(folder)
    assert loaded.sessions.equals(bars.sessions)
    assert f"{len(days)} do not" in said[0]


def test_a_cash_rate_that_ends_early_serves_up_to_there(folder, bars):
    rates = pd.DataFrame({"dgs3mo": 4.0}, index=bars.sessions)
    write(folder, "rates", rates.iloc[20:300])
    loaded, said = load_quietly(folder)
    assert "on 115 sessions" in said[0]
    served = loaded.cash_rate.to_numpy()
    assert (served[:20] == 0).all()
    assert (served[20:305] == 0.04).all()
    assert (served[305:] == 0).all()
    assert any("on 115 sessions" in n for n in loaded.provenance["cash_rate"].notes)


def test_yields_of_several_files_are_one_table(folder, bars):
    days = bars.sessions.rename("observation_date")
    pd.DataFrame({"DGS3MO": 4.0}, days).to_csv(folder / "DGS3MO.csv")
    pd.DataFrame({"DGS30": 6.0}, days).to_csv(folder / "DGS30.csv")
    assert (load_bars(folder).cash_rate == 0.04).all()


def test_a_quoted_yield_is_one_to_a_run_and_to_validate(folder, bars):
    flat = pd.DataFrame(dict.fromkeys(PRICES, 4.0), bars.sessions)
    flat.rename_axis("date").to_csv(folder / "^IRX.csv")
    assert (load_bars(folder).cash_rate == 0.04).all()
    reports = {report.symbol: report for report in validate_source(folder)}
    assert reports["rates"].findings == ()
    assert "IRX" not in reports


def test_files_that_lie_unread_are_named(folder):
    (folder / "HistoricalQuotes.xlsx").touch()
    (folder / "GLD.csv").write_text("date,close\n2001-01-02,1\n")
    notes = " ".join(load_bars(folder).provenance["equity"].notes)
    assert "not read: GLD.csv, HistoricalQuotes.xlsx" in notes
    (folder / "TLT.csv").rename(folder / "bonds.xlsx")
    with pytest.raises(BarsError, match=r"files not read: .*bonds\.xlsx"):
        load_bars(folder)


def test_notes_are_cut_with_the_bars_and_name_no_folder(folder, bars):
    odd = bars.equity.copy()
    odd.iloc[300:, :4] *= 1.2
    write(folder, "SPY", odd)
    ratio = pd.DataFrame({"total_pc": 0.9}, index=bars.sessions)
    write(folder, "putcall", ratio.drop(index=bars.sessions[60:80]))
    loaded, said = load_quietly(folder)
    assert any("prices move in a session" in words for words in said)
    early = loaded.between(None, bars.sessions[100])
    assert early.provenance["equity"].notes == ()
    assert early.provenance["put_call"].notes == (
        f"not used: no value, on 15 sessions, first {bars.sessions[65].date()}",
    )
    for entry in loaded.provenance.values():
        assert not any(str(folder.parent) in note for note in entry.notes)


def test_a_model_card_knows_nothing_later(folder, bars):
    from trm_bt.market.features import schema_for

    odd = bars.volatility * np.where(np.arange(400) < 350, 1, 3)[:, None]
    write(folder, "VIX", odd)
    loaded, _ = load_quietly(folder)
    early = schema_for(loaded.between(None, bars.sessions[200]))
    assert str(bars.sessions[350].date()) in str(schema_for(loaded).provenance)
    assert str(bars.sessions[350].date()) not in str(early.provenance)


def test_every_obstacle_of_a_file_is_told_at_once(folder, bars):
    damaged = bars.equity.copy()
    damaged.iloc[200:, :4] *= 2
    damaged = damaged.drop(index=bars.sessions[40:45])
    write(folder, "SPY", damaged)
    (report,) = (r for r in validate_source(folder) if r.symbol == "SPY")
    errors = {f.rule for f in report.findings if f.severity == "error"}
    assert {"missing sessions", "one-day moves"} <= errors


def test_bars_of_random_walks_pass_in_silence():
    random = make_bars(400, seed=11)
    for role in ("equity", "bond", "volatility"):
        assert look(getattr(random, role), role) == ()
    assert issubclass(BarsWarning, UserWarning)
