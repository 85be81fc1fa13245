"""The temperature against a grid, and decisions that it must not change."""

import numpy as np
import pytest
import torch

from tests.planted import planted_samples
from tests.test_trainer import fit, small_config
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.market.temperature import fit_temperature, tempered


def surprise(logits, winners, temperature):
    total = 0.0
    for row, winner in zip(logits.tolist(), winners.tolist(), strict=True):
        shares = [np.exp(z / temperature) for z in row]
        total -= np.log(shares[winner] / sum(shares))
    return total / len(winners)


@pytest.mark.parametrize("true", [0.5, 1.0, 4.0])
def test_the_temperature_is_that_which_the_winners_were_drawn_with(true):
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 2.0, (4000, 8))
    draws = logits / true + rng.gumbel(size=logits.shape)
    winners = draws.argmax(axis=1)
    found = fit_temperature(logits, winners)
    assert found == pytest.approx(true, rel=0.06)
    least = surprise(logits, winners, found)
    for other in (0.98 * found, 1.02 * found):
        assert least < surprise(logits, winners, other)


def test_tempered_probabilities_are_shares_of_powers_and_choose_the_same():
    rng = np.random.default_rng(1)
    probs = rng.dirichlet(np.ones(8), 200)
    temperatures = rng.uniform(0.3, 9.0, 200)
    found = tempered(probs, temperatures)
    for row, temperature, mine in zip(probs, temperatures, found, strict=True):
        powers = [p ** (1 / temperature) for p in row]
        assert mine == pytest.approx([p / sum(powers) for p in powers])
    assert (found.argmax(axis=1) == probs.argmax(axis=1)).all()
    certain = tempered(np.array([[1.0, 0.0]]), np.array([3.0]))
    assert certain.tolist() == [[1.0, 0.0]]


def test_a_training_keeps_the_temperature_of_its_validation_rows():
    samples = planted_samples(500)
    trained = fit(samples, small_config(epochs=3, learning_rate=0.02))
    model = TinyRecursiveModel(trained.config.model)
    model.load_state_dict(trained.parameters)
    newest = samples.where(np.arange(500) >= 425)
    scaled = torch.from_numpy(trained.scaler.transform(newest.features))
    logits = model.predict(scaled).logits.double().numpy()
    found = trained.record.temperature
    least = surprise(logits, newest.winners, found)
    grid = np.exp(np.linspace(np.log(0.1), np.log(40.0), 60))
    assert least <= min(surprise(logits, newest.winners, t) for t in grid) + 1e-9
