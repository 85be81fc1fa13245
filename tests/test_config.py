"""Settings: round trip, unknown keys, derived depth."""

import json

import pytest
from pydantic import ValidationError

from trm_bt.config import LabelConfig, ModelConfig, TRMConfig, explain
from trm_bt.errors import ConfigError


def test_the_seed_preset_keeps_the_values_it_began_with():
    config = TRMConfig.preset("seed")
    assert config.model.hidden_dim == 512
    assert config.model.num_latent_steps == 6
    assert config.model.num_recursion_cycles == 3
    assert config.model.effective_depth == 42
    training = config.training
    assert (training.target, training.utility) == ("label", "linear")
    assert (training.learning_rate, training.weight_decay) == (1e-3, 0.01)
    assert (training.beta1, training.beta2) == (0.9, 0.95)
    assert (training.grokfast_alpha, training.grokfast_lambda) == (0.98, 2.0)
    assert (training.epochs, training.patience) == (4, 2)
    weights = (
        training.strategy_loss_weight,
        training.halt_loss_weight,
        training.profit_loss_weight,
    )
    assert weights == (1.0, 0.5, 0.3)
    assert (config.labels.horizon, config.labels.objective) == (5, "pnl")
    assert (config.strategy.decision, config.strategy.n_averaged) == ("argmax", 1)


def test_the_shipped_settings_are_those_that_were_chosen():
    """What docs/evidence.md says; whoever changes one, chooses anew."""
    config = TRMConfig()
    assert config.training == TRMConfig.preset("seed").training
    assert (config.labels.horizon, config.labels.objective) == (5, "pnl")
    assert config.strategy.model_dump() == {
        "decision": "blend",
        "n_averaged": 5,
        "min_confidence": 0.0,
        "rebalance_band": 0.0,
        "min_trade_value": 0.0,
        "max_gap": 0.08,
    }


def test_the_risk_preset_is_what_was_chosen_on_twelve_years():
    config = TRMConfig.preset("risk")
    training = config.training
    assert (training.target, training.utility) == ("utility", "risk")
    assert (training.prior_sharpe, training.risk_aversion) == (0.4, 8.0)
    assert (training.strategy_loss_weight, training.profit_loss_weight) == (0.0, 1.0)
    assert (training.learning_rate, training.epochs) == (1e-4, 8)
    assert (config.strategy.decision, config.strategy.n_averaged) == ("argmax", 5)


def test_save_and_load_round_trip(tmp_path):
    config = TRMConfig(seed=7, model=ModelConfig(hidden_dim=64))
    config.save(tmp_path / "config.json")
    assert TRMConfig.load(tmp_path / "config.json") == config
    assert "effective_depth" not in (tmp_path / "config.json").read_text()


def test_described_settings_can_be_loaded_back(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(TRMConfig().describe())
    assert json.loads(path.read_text())["model"]["effective_depth"] == 42
    assert TRMConfig.load(path) == TRMConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"sead": 1}', "unknown key `sead`, did you mean `seed`?"),
        (
            '{"model": {"hiden_dim": 64}}',
            "unknown key `model.hiden_dim`, did you mean `hidden_dim`?",
        ),
        (
            '{"labels": {"horizon": 0}}',
            "`labels.horizon`: Input should be greater than or equal to 1, got 0.",
        ),
        (
            '{"model": {"hidden_dim": 24}}',
            "`model.hidden_dim`: Input should be a multiple of 16, got 24.",
        ),
        (
            '{"labels": {"horizon": 1, "objective": "sharpe"}}',
            "the objective sharpe needs a `horizon` of at least 2 sessions",
        ),
        (
            '{"model": {"effective_depth": 40}}',
            "`effective_depth` is derived and must be 42, got 40",
        ),
        ("{", "cannot be read as JSON: EOF"),
    ],
)
def test_bad_settings_are_explained(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        TRMConfig.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "refused", "bound"),
    [
        ("features.correlation_lookback", 1, "greater than or equal to 2"),
        ("features.gini_lookback", 0, "greater than or equal to 2"),
        ("features.gini_lookback", 10_001, "less than or equal to 10000"),
        ("model.halt_threshold", -1.0, "greater than 0"),
        ("model.halt_threshold", 1.0, "less than 1"),
        ("training.batch_size", 0, "greater than or equal to 1"),
        ("training.batch_size", 65_537, "less than or equal to 65536"),
        ("training.batch_size", 2_000_000, "less than or equal to 65536"),
        ("training.prior_sharpe", 0.0, "greater than 0"),
        ("training.prior_sharpe", 2e6, "less than or equal to 1000000"),
        ("training.max_grad_norm", -1.0, "greater than 0"),
        ("backtest.initial_cash", -1.0, "greater than 0"),
        ("backtest.initial_cash", 1e16, "less than or equal to 1000000000000000"),
    ],
)
def test_a_setting_out_of_bounds_is_told_the_bound(key, refused, bound):
    section, name = key.split(".")
    with pytest.raises(ValidationError) as caught:
        TRMConfig.model_validate({section: {name: refused}})
    told = explain(TRMConfig, caught.value)
    assert told == f"`{key}`: Input should be {bound}, got {refused}."


def test_no_setting_has_two_lower_or_two_upper_bounds():
    """Which of two acts is not for the reader to know: pydantic takes one of them."""
    for section in TRMConfig.model_fields.values():
        fields = getattr(section.annotation, "model_fields", {"seed": section})
        for name, field in fields.items():
            kinds = [
                "lower" if hasattr(rule, "ge") or hasattr(rule, "gt") else "upper"
                for rule in field.metadata
                if not hasattr(rule, "strict") and not hasattr(rule, "multiple_of")
            ]
            assert len(kinds) == len(set(kinds)), name


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
        TRMConfig.load(tmp_path / "none.json")


def test_every_label_setting_is_shown_and_taken_back():
    shown = json.loads(TRMConfig().describe())
    assert shown["labels"].keys() == LabelConfig.model_fields.keys()
    assert TRMConfig.model_validate(shown) == TRMConfig()
