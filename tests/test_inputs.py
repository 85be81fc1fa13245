"""What a model reads: SPY, TLT and VIX by default, more where it is requested."""

import backtrader as bt
import pytest

from tests.command_line import SMALL, invoke, write_folder, write_settings
from tests.conftest import make_bars
from tests.fakes import FakePolicy
from trm_bt.errors import BarsError
from trm_bt.feeds import load_bars
from trm_bt.learning.checkpoint import load_checkpoint
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.request import requested_bars, training_bars
from trm_bt.strategies.trm_allocator import TRMAllocator

MEMBERS = ["M0", "M1", "M2", "M3", "M4"]


@pytest.fixture(scope="module")
def bars():
    return make_bars(420, 1, has_options=True)


@pytest.fixture(scope="module")
def folder(bars, tmp_path_factory):
    """A folder as a fetched store is: core, members, put/call."""
    made = write_folder(tmp_path_factory.mktemp("inputs") / "bars", bars)
    for name in MEMBERS:
        close = bars.members[name]
        prices = dict.fromkeys(("open", "high", "low", "close"), close)
        frame = bars.equity.assign(**prices).rename_axis("date")
        frame.to_csv(made / f"{name}.csv")
    (made / "members.txt").write_text("\n".join(MEMBERS))
    ratio = bars.put_call.rename("total_pc").rename_axis("date")
    ratio.to_csv(made / "putcall.csv")
    return made


def trained(folder, tmp_path, *options):
    """Train by the command line; return the checkpoint folder."""
    out = tmp_path / "model"
    settings = write_settings(tmp_path / "small.json", SMALL)
    code, _, error = invoke(
        *("train", "--bars", folder, "--config", settings, "--out", out), *options
    )
    assert code == 0, error
    return out


def cerebro_of(bars, names):
    frames = {"SPY": bars.equity, "TLT": bars.bond, "VIX": bars.volatility}
    cerebro = bt.Cerebro()
    for name in names:
        frame = frames[name].assign(openinterest=0.0)
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    return cerebro


@pytest.mark.slow
def test_a_model_trained_by_default_drops_into_a_script_of_three(
    folder, bars, tmp_path
):
    out = trained(folder, tmp_path, "--end", str(bars.sessions[300].date()))
    schema = load_checkpoint(out).schema
    assert schema.optional_inputs == ()
    assert set(schema.status_by_name.values()) == {"observed", "proxy"}
    cerebro = cerebro_of(bars, ["SPY", "TLT", "VIX"])
    cerebro.addstrategy(TRMAllocator, checkpoint=str(out))
    (ran,) = cerebro.run()
    assert len(ran.orders) > 10
    assert "Inputs: core: SPY, TLT and VIX" in (out / "MODEL_CARD.md").read_text()


@pytest.mark.slow
def test_all_is_requested_and_the_error_says_which_inputs_and_how_to_add_them(
    folder, bars, tmp_path
):
    out = trained(folder, tmp_path, "--inputs", "all")
    assert load_checkpoint(out).schema.optional_inputs == (*MEMBERS, "put_call")
    card = (out / "MODEL_CARD.md").read_text()
    assert r"SPY, TLT and VIX, and M0, M1, M2, M3, M4, put\_call" in card
    cerebro = cerebro_of(bars, ["SPY", "TLT", "VIX"])
    cerebro.addstrategy(TRMAllocator, checkpoint=str(out))
    with pytest.raises(BarsError) as caught:
        cerebro.run()
    said = str(caught.value)
    assert "reads a feed named 'M0'" in said
    assert "SPY, TLT and VIX, and M0, M1, M2, M3, M4, put_call" in said
    assert "`cerebro.adddata(bt.feeds.PandasData(dataname=m0), name='M0')`" in said
    assert "`--inputs core`" in said


@pytest.mark.parametrize(
    ("inputs", "members", "has_put_call"),
    [
        ("core", None, False),
        ("all", MEMBERS, True),
        ("members", MEMBERS, False),
        ("put_call", None, True),
        ("M3,m1", ["M3", "M1"], False),
        (("M3", "put_call"), ["M3"], True),
    ],
)
def test_inputs_by_name(folder, bars, inputs, members, has_put_call):
    loaded = load_bars(folder, inputs=inputs)
    found = None if loaded.members is None else list(loaded.members)
    assert found == members
    assert (loaded.put_call is not None) == has_put_call
    assert ("members" in loaded.provenance) == bool(members)
    assert loaded.equity["close"].tolist() == pytest.approx(
        bars.equity["close"].tolist(), rel=1e-12
    )


def test_an_input_that_is_not_there_is_refused_with_those_that_are(folder, tmp_path):
    with pytest.raises(BarsError, match=r"Got 'XLB'; the bars have put_call, M0"):
        load_bars(folder, inputs="XLB")
    with pytest.raises(BarsError, match="Got 'put_call'"):
        load_bars("sample", inputs="put_call")
    code, _, error = invoke(
        *("train", "--bars", folder, "--inputs", "SPY", "--out", tmp_path / "m")
    )
    assert code == 2
    assert "Got 'SPY'" in error
    assert not (tmp_path / "m").exists()


def test_what_must_be_observed_is_read_too(folder):
    request = RunRequest(str(folder), observed=("put_call",))
    loaded = training_bars(request)
    assert loaded.put_call is not None
    assert loaded.members is None


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("M0\nM1\nM0", "'M0' twice"),
        (" ".join(f"A{i}" for i in range(1001)), "1001"),
        ("M" * 41, "'MMMM"),
        ("M1,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,," * 99, ",,..."),
    ],
    ids=["twice", "too many", "too long", "no symbol at all"],
)
def test_a_list_of_members_is_bounded_and_names_each_once(tmp_path, bars, text, got):
    made = write_folder(tmp_path / "bars", bars)
    (made / "members.txt").write_text(text)
    with pytest.raises(BarsError, match="must list at most 1000 symbols") as caught:
        load_bars(made, inputs="all")
    said = str(caught.value).removeprefix(str(made))
    assert got in said
    assert len(said) < 250


def test_a_bad_file_that_nothing_reads_does_not_stop_a_training(folder, tmp_path):
    damaged = folder / "M2.csv"
    kept = damaged.read_text()
    damaged.write_text("no bars")
    try:
        assert training_bars(RunRequest(str(folder))).members is None
        with pytest.raises(BarsError, match=r"M2\.csv"):
            requested_bars(RunRequest(str(folder)))
    finally:
        damaged.write_text(kept)


def test_the_sample_keeps_all_that_it_has_unless_core_is_requested():
    whole, default = load_bars("sample"), training_bars(RunRequest("sample"))
    assert default.sha256() == whole.sha256()
    assert default.members.shape[1] == 19
    core = training_bars(RunRequest("sample", inputs=("core",)))
    assert core.members is None
    assert "members" not in core.provenance
    assert core.cash_rate.equals(whole.cash_rate)


@pytest.mark.parametrize("names", [["SPY", "TLT"], ["", ""]], ids=["named", "nameless"])
def test_a_script_without_a_volatility_feed_is_shown_the_line_to_add(bars, names):
    cerebro = bt.Cerebro()
    for name, frame in zip(names, (bars.equity, bars.bond), strict=True):
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name or None)
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars))
    with pytest.raises(BarsError) as caught:
        cerebro.run()
    assert "No feed for the role volatility" in str(caught.value)
    line = "`cerebro.adddata(bt.feeds.PandasData(dataname=vix), name='VIX')`"
    assert line in str(caught.value)
