"""What a model holds after a session is the row of its backtest, to the bit."""

import json
from dataclasses import replace

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.command_line import invoke, write_folder, write_settings
from tests.conftest import make_bars
from tests.fakes_run import write_fake_run
from trm_bt import Portfolio, decide
from trm_bt.backtest import run_backtest
from trm_bt.config import StrategyConfig, TRMConfig
from trm_bt.errors import BarsError, CheckpointError, ConfigError, RunError
from trm_bt.learning.checkpoint import load_checkpoint
from trm_bt.learning.policy import TRMPolicy
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.market.features import FEATURE_NAMES
from trm_bt.runs.decide import open_model
from trm_bt.strategies.trm_allocator import TRMAllocator


def config_of(**strategy):
    return TRMConfig(strategy=StrategyConfig(**strategy))


def backtested(policy, bars, config):
    """Return the decisions of a backtest over all that can be decided."""
    params = {"policy": policy, **config.strategy.model_dump()}
    return run_backtest(bars, TRMAllocator, params=params).decisions


def assert_is_row(report, row):
    """Hold a report against the row of the same session, bit for bit."""
    assert report.session == row["session"].date()
    names = [None if pd.isna(row["allocation_name"]) else row["allocation_name"]]
    assert [report.allocation] == names
    held = {f"target_{asset}": value for asset, value in report.weights.items()}
    assert held == {name: row[name] for name in held}
    values = {name: reading.value for name, reading in report.features.items()}
    assert values == {name: row[name] for name in FEATURE_NAMES}
    if report.allocation is None:
        return
    found = {f"prob_{name}": p for name, p in report.probabilities.items()}
    assert found == {name: row[name] for name in found}
    assert len(found) == len(ALLOCATION_NAMES)
    assert (report.confidence, report.halt_prob) == (
        row["confidence"],
        row["halt_prob"],
    )
    assert (report.n_steps, report.model) == (row["n_steps"], row["model"])
    scores = {f"z_{name}": r.z_score for name, r in report.features.items()}
    assert scores == {name: row[name] for name in scores}


SETTINGS = {
    "shipped": {},
    "blend": {"decision": "blend", "n_averaged": 3},
    "doubtful": {"min_confidence": 0.131, "n_averaged": 2},
    "monthly": {"schedule": "monthly"},
    "weekly": {"schedule": "weekly", "min_confidence": 0.131},
    "change": {"schedule": "change", "n_averaged": 1},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_report_is_the_row_of_the_backtest(tiny_checkpoint, settings):
    bars, folder = tiny_checkpoint
    policy, config = TRMPolicy.load(folder), config_of(**settings)
    rows = backtested(policy, bars, config)
    known_on = pd.Timestamp(policy.models[0].record.last_label_known_on)
    n_abstained = int((rows["session"] <= known_on).sum())
    for at in [0, n_abstained - 1, n_abstained, n_abstained + 1, -9, -2, -1]:
        row = rows.iloc[at]
        report = decide(policy, bars, session=row["session"], config=config)
        assert_is_row(report, row)


@pytest.mark.evidence
@pytest.mark.parametrize(
    "settings", [{}, {"schedule": "monthly"}], ids=["bar", "month"]
)
def test_a_thousand_sessions_are_the_rows_of_the_backtest(tiny_checkpoint, settings):
    _, folder = tiny_checkpoint
    bars = make_bars(1700, seed=3)
    policy, config = TRMPolicy.load(folder), config_of(**settings)
    rows = backtested(policy, bars, config).tail(1000)
    assert rows["allocation"].notna().all()
    for row in rows.to_dict("records"):
        report = decide(policy, bars, session=row["session"], config=config)
        assert_is_row(report, row)


def test_weights_that_a_month_keeps_say_when_they_were_decided(tiny_checkpoint):
    bars, folder = tiny_checkpoint
    config = config_of(schedule="monthly", n_averaged=1)
    last = bars.sessions[-1]
    month = bars.sessions[bars.sessions.to_period("M") == last.to_period("M")]
    report = decide(folder, bars, config=config)
    assert report.weights_decided_on == month[0].date() < last.date()
    assert decide(folder, bars).weights_decided_on == last.date()


def test_changes_are_since_the_session_before(tiny_checkpoint):
    bars, folder = tiny_checkpoint
    rows = backtested(TRMPolicy.load(folder), bars, TRMConfig())
    now, before = rows.iloc[-1], rows.iloc[-2]
    report = decide(folder, bars)
    assert report.session_before == before["session"].date()
    assert report.allocation_before == before["allocation_name"]
    for name, change in report.probability_changes.items():
        assert change == now[f"prob_{name}"] - before[f"prob_{name}"]
    for asset, change in report.weight_changes.items():
        assert change == now[f"target_{asset}"] - before[f"target_{asset}"]
    for name, reading in report.features.items():
        assert reading.change == now[name] - before[name]


def test_features_outside_the_training_range_are_named(tiny_checkpoint):
    bars, folder = tiny_checkpoint
    trained = load_checkpoint(folder)
    rows = backtested(TRMPolicy.load(folder), bars, TRMConfig()).set_index("session")
    seen = rows.loc[: pd.Timestamp(trained.record.train_end), list(FEATURE_NAMES)]
    seen = seen.loc[pd.Timestamp(trained.record.train_start) :]
    report = decide(folder, bars)
    for name, reading in report.features.items():
        assert (reading.low, reading.high) == (seen[name].min(), seen[name].max())
        is_inside = reading.low <= reading.value <= reading.high
        assert reading.is_outside == (not is_inside)
    wild = bars.volatility * np.r_[np.ones(699), 2.2][:, np.newaxis]
    report = decide(folder, replace(bars, volatility=wild))
    assert "vix_level" in report.outside
    assert report.outside == tuple(
        name for name, reading in report.features.items() if reading.is_outside
    )


def test_an_abstention_says_why(tiny_checkpoint):
    bars, folder = tiny_checkpoint
    known_on = load_checkpoint(folder).record.last_label_known_on
    report = decide(folder, bars, session=str(known_on))
    assert report.allocation is None
    assert report.weights == {"equity": 0.0, "bond": 0.0, "cash": 1.0}
    assert report.abstains_because == (
        f"{known_on} lies in the span that model tiny was trained on: it knows "
        f"outcomes up to {known_on} and decides later sessions only."
    )
    assert report.knows_until == known_on
    after = decide(folder, bars)
    assert (after.abstains_because, after.knows_until) == (None, known_on)


def test_bars_that_are_too_short_or_of_another_kind_are_refused(tiny_checkpoint):
    bars, folder = tiny_checkpoint
    with pytest.raises(BarsError, match="Features need 60 sessions of bars, got 59"):
        decide(folder, bars, session=bars.sessions[58])
    with pytest.raises(CheckpointError, match="vix_level observed against proxy"):
        decide(folder, "sample")


# ------------------------------------------------------------------ command line


@pytest.fixture(scope="module")
def stored(tiny_checkpoint, tmp_path_factory):
    """The bars of the checkpoint as files."""
    bars, folder = tiny_checkpoint
    return write_folder(tmp_path_factory.mktemp("decide") / "bars", bars), folder


def test_the_command_prints_sentences_and_tables(stored):
    inputs, folder = stored
    code, out, error = invoke("decide", folder, "--bars", inputs)
    assert (code, error) == (0, "")
    report = decide(folder, inputs)
    said = f"{report.session}: {report.allocation}, decided in {report.n_steps} steps"
    assert f"{said} by tiny, " in out
    assert f"which knows outcomes up to {report.knows_until}" in out
    assert "Weights, decided on" in out
    assert f"Since {report.session_before} (" in out
    assert all(name in out for name in (*FEATURE_NAMES, *ALLOCATION_NAMES))


def test_json_is_one_line_with_all_of_it(stored):
    inputs, folder = stored
    code, out, _ = invoke("decide", "--checkpoint", folder, "--bars", inputs, "--json")
    assert code == 0
    assert out.count("\n") == 1
    assert json.loads(out) == decide(folder, inputs).model_dump(mode="json")


def test_settings_of_a_file_are_followed(stored, tmp_path):
    inputs, folder = stored
    path = write_settings(tmp_path / "s.json", {"strategy": {"decision": "argmax"}})
    code, out, _ = invoke(
        *("decide", folder, "--bars", inputs, "--config", path, "--json")
    )
    assert code == 0
    best = decide(folder, inputs, config=config_of(decision="argmax"))
    assert json.loads(out)["weights"] == best.weights
    assert best.weights != decide(folder, inputs).weights


def test_a_portfolio_gets_the_orders_that_bring_it_there(stored, tmp_path):
    inputs, folder = stored
    path = tmp_path / "mine.json"
    path.write_text('{"cash": 1000, "SPY": 900, "tlt": 3}')
    code, out, _ = invoke(
        *("decide", folder, "--bars", inputs, "--portfolio", path, "--json")
    )
    assert code == 0
    report = json.loads(out)
    spy, tlt = report["orders"]
    assert (spy["side"], tlt["side"]) == ("sell", "buy")  # the sale pays
    value = 1000 + 900 * spy["price"] + 3 * tlt["price"]
    held = {"equity": 900 - spy["shares"], "bond": 3 + tlt["shares"]}
    paid = 5e-4 * (spy["shares"] * spy["price"] + tlt["shares"] * tlt["price"])
    for order in (spy, tlt):
        share = held[order["asset"]] * order["price"] / (value - paid)
        wanted = report["weights"][order["asset"]]
        assert wanted - order["price"] / value * 1.01 < share <= wanted * 1.0001
    _, said, _ = invoke("decide", folder, "--bars", inputs, "--portfolio", path)
    assert f"sell {spy['shares']} SPY at the next open" in said
    assert f"buy {tlt['shares']} TLT at the next open" in said


@pytest.mark.parametrize("band", [0.0, 0.9])
@pytest.mark.parametrize(
    "held", [(50_000.0, 0, 0), (10.0, 400, 150), (1.0, 0, 999), (1e4, 7, 0)]
)
def test_the_orders_are_those_of_a_plain_cerebro(tiny_checkpoint, held, band):
    bars, folder = tiny_checkpoint
    cash, equity, bond = held
    last = bars.sessions[-2]
    config = config_of(rebalance_band=band)
    report = decide(
        folder,
        bars,
        session=last,
        config=config,
        portfolio=Portfolio(cash, equity, bond),
    )
    frames = {"SPY": bars.equity, "TLT": bars.bond, "VIX": bars.volatility}
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.set_cash(cash)
    cerebro.broker.setcommission(5e-4)
    for name, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    cerebro.addstrategy(
        Owning, checkpoint=folder, rebalance_band=band, owned=(equity, bond), on=last
    )
    (ran,) = cerebro.run()
    signs = {"buy": 1, "sell": -1}
    planned = [(o.symbol, o.shares * signs[o.side]) for o in report.orders]
    orders = ran.orders[ran.orders["status"] != "Unfilled"]  # those of the last close
    symbols = orders["asset"].map({"equity": "SPY", "bond": "TLT"})
    assert sorted(planned) == sorted(zip(symbols, orders["size"], strict=True))


class Owning(TRMAllocator):
    """Own shares from the deciding session on, and trade that session alone."""

    params = (("owned", (0, 0)), ("on", None))

    def next(self):
        if self.data.datetime.date(0) == self.p.on.date():
            for feed, size in zip(self.datas, self.p.owned, strict=False):
                self.broker.positions[feed].update(size, feed.close[0])
            super().next()
        elif self.is_ready():
            self.target_weights()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ('{"SPY": 3}', "with its cash"),
        ("[1]", "with its cash"),
        ('{"cash": 1, "QQQ": 3}', "cash, SPY and TLT, each once, got 'QQQ'"),
        ('{"cash": 1, "SPY": 1, "equity": 2}', "each once, got 'equity'"),
        ('{"cash": -1}', "`cash` must be a number from 0 to 1e+15, got -1"),
        ('{"cash": 1, "SPY": "2"}', "`SPY` must be a number from 0 to 1e+15, got '2'"),
        (f'{{"cash": 1{"0" * 400}}}', "number from 0 to 1e+15, got 1000000000"),
        ('{"cash": 1, "TLT": 1.7e308}', "`TLT` must be a number from 0 to 1e+15"),
        (f'{{"cash": 1, "{"y" * 999}": 2}}', "yyy..."),
        (f'{{"cash": ["{"x" * 999}"]}}', "xxx..."),
        ('{"cash": NaN}', "cannot be read as JSON"),
        ('{"cash": 0}', "worth more than 0"),
    ],
)
def test_a_portfolio_that_is_none_is_refused(stored, tmp_path, text, message):
    inputs, folder = stored
    path = tmp_path / "mine.json"
    path.write_text(text)
    code, out, error = invoke(
        *("decide", folder, "--bars", inputs, "--portfolio", path)
    )
    assert (code, out) == (2, "")
    assert message in error
    with pytest.raises(ConfigError):
        Portfolio.read(tmp_path / "none.json")


def test_a_run_that_is_unfinished_is_refused(tmp_path):
    write_fake_run(tmp_path / "run", start="1997-01-02", end="1998-03-31")
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": False}))
    with pytest.raises(RunError, match="the run is unfinished"):
        open_model(tmp_path / "run")
    with pytest.raises(CheckpointError, match="must be a folder"):
        open_model(tmp_path / "none")
