"""Models of the default size, trained for a moment, for scripts that damage them."""

import torch

from trm_bt import load_bars
from trm_bt.config import TrainingConfig, TRMConfig
from trm_bt.learning.dataset import samples_from_labels
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.trainer import train
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels


def train_briefly(bars_name: str, names: tuple[str, ...]) -> list[TrainedModel]:
    """Train a model of the default size a name, each with a seed of its own.

    Parameters
    ----------
    bars_name : str
        "sample", or a folder with real bars.
    names : tuple of str
        What the models are called.
    """
    torch.set_num_threads(1)
    bars = load_bars(bars_name)
    quick = TrainingConfig(epochs=1, max_batches_per_epoch=1, batch_size=64)
    configs = [TRMConfig(seed=seed, training=quick) for seed in range(len(names))]
    features = compute_features(bars, configs[0].features)
    labels = compute_labels(bars, features, configs[0].labels)
    samples = samples_from_labels(labels.tail(1000))
    return [
        train(samples, features.schema, config, name=name)
        for name, config in zip(names, configs, strict=True)
    ]


def extras_of(model: TrainedModel) -> dict[str, bytes]:
    """Return stand-ins for the files for people; nothing in them is ever parsed."""
    text = f"# {model.name}\n" + "A line of a model card.\n" * 100
    history = model.record.model_dump_json(include={"history"}, indent=1)
    picture = b"\x89PNG\r\n\x1a\n" + model.name.encode() * 4000
    return {
        "MODEL_CARD.md": text.encode(),
        "history.json": history.encode(),
        "training.png": picture,
    }
