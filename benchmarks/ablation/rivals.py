"""What stands against the network: a prior, a linear model, trees, a plain net.

Each is fitted on the rows that the network trains on; what chooses when to stop looks
at the rows that validate the network.
"""

from itertools import islice, pairwise

import lightgbm
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from benchmarks.ablation.answers import Answers, known_log
from trm_bt.config import TRMConfig
from trm_bt.learning.dataset import Samples, Scaler
from trm_bt.learning.fit import Fit
from trm_bt.learning.losses import Targets, three_part_loss
from trm_bt.learning.model import Pass, States
from trm_bt.learning.threads import cpu_threads
from trm_bt.learning.trainer import Rows
from trm_bt.market.allocations import ALLOCATION_NAMES

N_HIDDEN_LAYERS = 3
HIDDEN_WIDTH = 990
"""Gives 1,980,998 parameters beside the network's 1,981,449."""


def answer_majority(
    old: Samples, _new: Samples, features: np.ndarray, _config: TRMConfig
) -> Answers:
    """Give every row the frequencies of the winners of the training rows."""
    frequency = np.bincount(old.winners, minlength=len(ALLOCATION_NAMES)) / len(old)
    return Answers(known_log(np.tile(frequency, (len(features), 1))))


def answer_logistic(
    old: Samples, _new: Samples, features: np.ndarray, _config: TRMConfig
) -> Answers:
    """Fit a multinomial logistic regression, its settings as they come."""
    scaler = Scaler.fit(old.features)
    model = LogisticRegression(max_iter=5_000)
    model.fit(scaler.transform(old.features), old.winners)
    probabilities = model.predict_proba(scaler.transform(features))
    n_parameters = model.coef_.size + model.intercept_.size
    return Answers(known_log(_spread(probabilities, model.classes_)), n_parameters)


def answer_lightgbm(
    old: Samples, new: Samples, features: np.ndarray, config: TRMConfig
) -> Answers:
    """Fit small boosted trees until the validation loss has not fallen for 30."""
    # Trees for every class, so that a winner unknown to training can validate.
    model = lightgbm.train(
        {
            "objective": "multiclass",
            "num_class": len(ALLOCATION_NAMES),
            "learning_rate": 0.05,
            "num_leaves": 15,
            "min_child_samples": 50,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "feature_fraction": 0.8,
            "seed": config.seed,
            "deterministic": True,
            "num_threads": 1,
            "verbosity": -1,
        },
        lightgbm.Dataset(old.features, old.winners),
        num_boost_round=300,
        valid_sets=[lightgbm.Dataset(new.features, new.winners)],
        callbacks=[lightgbm.early_stopping(30, verbose=False)],
    )
    return Answers(known_log(np.asarray(model.predict(features))))


def answer_mlp(
    old: Samples, new: Samples, features: np.ndarray, config: TRMConfig
) -> Answers:
    """Train a plain net with the network's loss, optimiser, filter and average.

    It makes as many optimiser steps, each on a batch of its own: a second look at a
    batch is worth a step to what carries a state, and to nothing else.
    """
    with torch.random.fork_rng(devices=[]), cpu_threads(config.training.num_threads):
        torch.default_generator.manual_seed(config.seed)
        rows = Rows(old, new, config)
        net = plain_net(config.model.dropout)
        fit = Fit(config, len(old), net)
        losses, kept = [], []
        for _ in range(config.training.epochs):
            net.train()
            for batch in islice(fit.batches, fit.total_steps // config.training.epochs):
                logits = net(rows.features[batch])
                _loss(logits, rows.targets[batch], rows, config).backward()
                fit.update()
                fit.position += 1
            fit.average.eval()
            with torch.no_grad():
                logits = fit.average(rows.new_features)
            targets = rows.charged_validation(logits, config)
            losses.append(_loss(logits, targets, rows, config).item())
            kept.append(fit.averaged_parameters())
        fit.average.load_state_dict(kept[int(np.argmin(losses))])
        with torch.no_grad():
            logits = fit.average(torch.from_numpy(rows.scaler.transform(features)))
    n_parameters = sum(one.numel() for one in net.parameters())
    return Answers(logits.double().log_softmax(dim=1).numpy(), n_parameters)


def plain_net(dropout: float) -> nn.Sequential:
    """Return a net from features to logits, each hidden layer gelu and dropout."""
    widths = [10, *[HIDDEN_WIDTH] * N_HIDDEN_LAYERS]
    hidden = [
        layer
        for width_in, width_out in pairwise(widths)
        for layer in (nn.Linear(width_in, width_out), nn.GELU(), nn.Dropout(dropout))
    ]
    return nn.Sequential(*hidden, nn.Linear(HIDDEN_WIDTH, len(ALLOCATION_NAMES)))


def _loss(logits: Tensor, targets: Targets, rows: Rows, config: TRMConfig) -> Tensor:
    """Return the network's loss; `halt_loss_weight` is 0, there is nothing to halt."""
    nothing = logits.new_zeros(len(logits))
    output = Pass(logits, nothing, States(nothing, nothing))
    return three_part_loss(output, targets, rows.class_weights, config.training).total


def _spread(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Give columns to the classes that training never saw."""
    every = np.zeros((len(probabilities), len(ALLOCATION_NAMES)))
    every[:, classes] = probabilities
    return every
