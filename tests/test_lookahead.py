"""Nothing after a cut changes what was computed, trained or decided before it."""

import pandas as pd
import pytest

from trm_bt.analyzers.allocation_labeler import label_bars
from trm_bt.backtest import run_backtest
from trm_bt.config import TRMConfig
from trm_bt.evaluation.walkforward import plan_crises
from trm_bt.feeds import load_bars
from trm_bt.learning.dataset import known_by, samples_from_labels
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.trainer import train
from trm_bt.market.bars import Bars
from trm_bt.market.crises import CRISES
from trm_bt.market.features import compute_features
from trm_bt.strategies.trm_allocator import TRMAllocator

CONFIG = TRMConfig()


def trained_before(bars: Bars, frozen_on: pd.Timestamp) -> TrainedModel:
    labels = label_bars(bars, CONFIG.features, CONFIG.labels)
    samples = known_by(samples_from_labels(labels), frozen_on)
    return train(samples, compute_features(bars).schema, CONFIG, name="model")


@pytest.fixture(
    scope="module",
    params=[("1994-06-01", "asian_financial_crisis"), ("1998-06-01", "september_11")],
    ids=lambda param: param[1],
)
def case(request):
    """Bars through a crisis, its freeze, and a model trained with all bars at hand."""
    start, name = request.param
    (crisis,) = (crisis for crisis in CRISES if crisis.name == name)
    end = (crisis.end + pd.Timedelta(days=150)).date().isoformat()
    bars = load_bars("sample", start=start, end=end)
    labels = label_bars(bars, CONFIG.features, CONFIG.labels)
    (plan,) = plan_crises(bars.sessions, labels, 504, [crisis])
    assert plan.frozen_on is not None
    return bars, plan, trained_before(bars, plan.frozen_on)


def test_training_knows_nothing_of_the_crisis_or_after(case):
    bars, plan, model = case
    cut = bars.between(end=plan.crisis.start - pd.Timedelta(days=1))
    assert len(cut.sessions) < len(bars.sessions)
    retrained = trained_before(cut, plan.frozen_on)
    for name in ("mean", "std"):
        ours, theirs = getattr(model.scaler, name), getattr(retrained.scaler, name)
        assert ours.tobytes() == theirs.tobytes()
    assert model.parameters.keys() == retrained.parameters.keys()
    for name, values in model.parameters.items():
        assert values.numpy().tobytes() == retrained.parameters[name].numpy().tobytes()
    assert model.record == retrained.record


def test_decisions_do_not_change_when_the_future_is_cut(case):
    bars, plan, model = case
    policy = TRMPolicy([model])
    after = bars.sessions[bars.sessions > plan.frozen_on]

    def decisions(part: Bars, since: pd.Timestamp) -> pd.DataFrame:
        result = run_backtest(
            part, TRMAllocator, params={"policy": policy}, decide_from=since
        )
        return result.decisions.set_index("session")

    whole = decisions(bars, after[0])
    cuts = after[:: max(len(after) // 50, 1)]
    assert len(cuts) >= 50
    for session in cuts:
        cut = decisions(bars.between(end=session), session)
        pd.testing.assert_frame_equal(cut, whole.loc[[session]], check_exact=True)
