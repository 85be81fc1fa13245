"""The GrokFast filter against steps worked by hand."""

import pytest
import torch

from trm_bt.learning.gradfilter import GrokFastFilter


def test_three_steps_by_hand():
    # alpha 0.5, lambda 2:  mu: 4, then 0.5*4 + 0.5*2 = 3, then 0.5*3 + 0.5*(-1) = 1
    grad_filter = GrokFastFilter(0.5, 2.0)
    got = []
    for value in (4.0, 2.0, -1.0):
        gradient = torch.tensor([value])
        grad_filter.apply([gradient])
        got.append(gradient.item())

    assert got == [4 + 2 * 4, 2 + 2 * 3, -1 + 2 * 1]


def test_defaults_against_a_plain_loop():
    torch.manual_seed(0)
    steps = torch.randn(7, 2, 3, dtype=torch.float64)
    grad_filter = GrokFastFilter(0.98, 2.0)
    mean = None
    for raw in steps:
        gradients = [raw[0].clone(), raw[1].clone()]
        grad_filter.apply(gradients)
        mean = raw if mean is None else 0.98 * mean + 0.02 * raw
        for got, expected in zip(gradients, raw + 2.0 * mean, strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)


def test_the_running_mean_is_not_the_gradient_itself():
    grad_filter = GrokFastFilter(0.9, 1.0)
    gradient = torch.ones(3)
    grad_filter.apply([gradient])

    gradient.zero_()

    assert grad_filter.means[0].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("alpha", [0.0, 0.98])
def test_zero_amplification_leaves_gradients_alone(alpha):
    grad_filter = GrokFastFilter(alpha, 0.0)
    gradient = torch.tensor([1.0, -2.0])
    grad_filter.apply([gradient])

    assert gradient.tolist() == [1.0, -2.0]
    assert grad_filter.means == []
