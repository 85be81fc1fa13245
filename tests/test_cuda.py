"""A GPU trains and decides alike; most of it waits for a machine that has one."""

import numpy as np
import pytest
import torch

from tests.planted import naming, planted_samples
from trm_bt.config import ModelConfig, TRMConfig
from trm_bt.errors import ConfigError
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.trainer import train
from trm_bt.market.features import FeatureSchema

MARGIN = 1e-3
needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch finds no CUDA device here"
)


def settings(device: str) -> TRMConfig:
    return TRMConfig(
        model=ModelConfig(hidden_dim=32, num_latent_steps=2, num_recursion_cycles=2),
        training=naming(epochs=2, max_batches_per_epoch=3, device=device),
    )


def test_the_processor_goes_without_saying():
    assert "device" not in settings("cpu").to_json()
    assert '"device": "cuda"' in settings("cuda").to_json()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_training_without_its_device_is_refused():
    with pytest.raises(ConfigError, match="`device` cuda needs a CUDA device"):
        train(planted_samples(320), FeatureSchema(), settings("cuda"), name="gpu")


@needs_cuda
def test_a_gpu_decides_as_the_processor_wherever_the_margin_is_clear():
    samples = planted_samples(600)
    model = train(samples, FeatureSchema(), settings("cuda"), name="gpu")
    assert {value.device.type for value in model.parameters.values()} == {"cpu"}
    rows = samples.sessions[-200:], samples.features[-200:]

    there, here = (
        TRMPolicy([model], device=device, allow_in_sample=True).decide(*rows)
        for device in ("cuda", "cpu")
    )

    for one, other in zip(there, here, strict=True):
        second, first = np.sort(other.probabilities)[-2:]
        if first - second > MARGIN:
            assert one.allocation == other.allocation
