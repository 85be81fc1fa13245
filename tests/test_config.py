"""Settings: round trip, unknown keys, derived depth."""

import json

import pytest

from trm_bt.config import LabelConfig, ModelConfig, TRMConfig
from trm_bt.errors import ConfigError


def test_defaults_are_the_seed_values():
    config = TRMConfig()
    assert config.model.hidden_dim == 512
    assert config.model.num_latent_steps == 6
    assert config.model.num_recursion_cycles == 3
    assert config.model.effective_depth == 42
    training = config.training
    assert (training.learning_rate, training.weight_decay) == (1e-3, 0.01)
    assert (training.beta1, training.beta2) == (0.9, 0.95)
    assert (training.grokfast_alpha, training.grokfast_lambda) == (0.98, 2.0)
    weights = (
        training.strategy_loss_weight,
        training.halt_loss_weight,
        training.profit_loss_weight,
    )
    assert weights == (1.0, 0.5, 0.3)
    assert config.labels.horizon == 5


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
            "`labels.horizon`: Input should be greater than 0, got 0.",
        ),
        (
            '{"training": {"utility": "risk"}, "labels": {"horizon": 1}}',
            'the `training.utility` "risk" needs a `labels.horizon` of at least 2 '
            "sessions, got 1: one return has no variance.",
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
        ("{", "Invalid JSON"),
    ],
)
def test_bad_settings_are_explained(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        TRMConfig.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
        TRMConfig.load(tmp_path / "none.json")


def test_every_label_setting_is_shown_and_taken_back():
    shown = json.loads(TRMConfig().describe())
    assert shown["labels"].keys() == LabelConfig.model_fields.keys()
    assert TRMConfig.model_validate(shown) == TRMConfig()
