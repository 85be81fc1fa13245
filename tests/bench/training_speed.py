"""Time a training step against the plain form of the same network and optimiser.

A step is one pass of supervision: forward, three-part loss, backward, clipping, filter,
AdamW, average. The plain step has `nn.Dropout`, torch's unmodified AdamW, and filter
and average as loops over the parameters. Without dropout the gradients are compared.
    python -m tests.bench.training_speed [folder with SPY, TLT and VIX files]
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tests.bench.plain_model import PlainModel
from tests.bench.side_by_side import fastest, feature_rows
from trm_bt.config import TRMConfig
from trm_bt.learning.fit import TrainingState
from trm_bt.learning.losses import Targets, three_part_loss
from trm_bt.learning.model import TinyRecursiveModel

N_TURNS = 5
N_UPDATES = 60
BATCHES = (768, 1_024)
CONFIG = TRMConfig()


class PlainFit:
    """A copy of a fit's network with the plain optimiser, filter and average."""

    def __init__(self, fit: TrainingState[TinyRecursiveModel]) -> None:
        self.model = PlainModel(fit.model)
        self.parameters = list(self.model.parameters())
        self.averages = [value.detach().clone() for value in self.parameters]
        self.means = [torch.zeros_like(value) for value in self.parameters]
        self.settings = CONFIG.training
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=self.settings.learning_rate,
            betas=(self.settings.beta1, self.settings.beta2),
            weight_decay=self.settings.weight_decay,
        )

    def differentiate(self, features: Tensor, targets: Targets) -> None:
        """Make a pass and add up its gradients."""
        start = features.new_zeros(len(features), CONFIG.model.hidden_dim)
        logits, halt, _, _ = self.model(features, start, start)
        loss = three_part_loss(logits, halt, targets, torch.ones(8), self.settings)
        loss.total.backward()

    def update(self) -> None:
        """Go one step down the gradients."""
        alpha, lam = self.settings.grokfast_alpha, self.settings.grokfast_lambda
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        for parameter, mean in zip(self.parameters, self.means, strict=True):
            mean.mul_(alpha).add_(parameter.grad, alpha=1 - alpha)
            parameter.grad.add_(mean, alpha=lam)
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.averages, strict=True):
                average.mul_(0.999).add_(parameter, alpha=0.001)


def differentiate(
    fit: TrainingState[TinyRecursiveModel],
    features: Tensor,
    targets: Targets,
    dropout: np.random.Generator | None,
) -> None:
    """Make a pass of ours and add up its gradients."""
    output = fit.model(features, dropout=dropout)
    loss = three_part_loss(
        output.logits, output.halt_logits, targets, torch.ones(8), CONFIG.training
    )
    loss.total.backward()


def draw_targets(n_rows: int) -> Targets:
    """Draw winners and utilities; what they are does not change the time."""
    rng = np.random.default_rng(0)
    winners = torch.from_numpy(rng.integers(0, 8, n_rows))
    utilities = torch.from_numpy(rng.standard_normal((n_rows, 8))).float()
    return Targets(winners, utilities)


def worst_difference(ours: Sequence[Tensor], plain: Sequence[Tensor]) -> float:
    """Return the largest difference of two gradients, of the largest in the tensor."""
    return max(
        float((left.grad - right.grad).abs().max() / right.grad.abs().max())
        for left, right in zip(ours, plain, strict=True)
    )


def print_step(features: Tensor, *, is_dropped: bool) -> None:
    """Print the time of a whole step and its ratio, and compare where that can be."""
    fit = TrainingState(CONFIG, len(features), TinyRecursiveModel(CONFIG.model))
    plain, targets = PlainFit(fit), draw_targets(len(features))
    plain.model.train(is_dropped)
    dropout, same = np.random.default_rng(0) if is_dropped else None, ""

    def ours_step() -> None:
        differentiate(fit, features, targets, dropout)
        fit.update()

    def plain_step() -> None:
        plain.differentiate(features, targets)
        plain.update()

    if not is_dropped:
        differentiate(fit, features, targets, None)
        plain.differentiate(features, targets)
        worst = worst_difference([*fit.model.parameters()], plain.parameters)
        assert worst < 1e-4, worst
        same = f"; gradients agree to {worst:.0e}"
    taken = fastest({"ours": ours_step, "plain": plain_step}, N_TURNS)
    print(
        f"step of {len(features):5} rows, dropout {'on ' if is_dropped else 'off'}: "
        f"{1e3 * taken['ours']:.0f} ms, {taken['ours'] / taken['plain']:.2f} of the "
        f"plain form's{same}"
    )


def print_update(features: Tensor) -> None:
    """Print the time of filter, AdamW and average, without clipping."""
    fit = TrainingState(CONFIG, len(features), TinyRecursiveModel(CONFIG.model))
    plain, targets = PlainFit(fit), draw_targets(len(features))
    differentiate(fit, features, targets, None)
    plain.differentiate(features, targets)
    found, theirs = (
        [value.grad for value in one.parameters()] for one in (fit.model, plain.model)
    )

    def ours_update() -> None:
        for value, gradient in zip(fit.model.parameters(), found, strict=True):
            value.grad = gradient
        fit.update()

    def plain_update() -> None:
        for value, gradient in zip(plain.parameters, theirs, strict=True):
            value.grad = gradient
        plain.update()

    held = [value.clone().requires_grad_() for value in theirs]
    for value, gradient in zip(held, theirs, strict=True):
        value.grad = gradient.clone()

    def clip() -> None:
        torch.nn.utils.clip_grad_norm_(held, CONFIG.training.max_grad_norm)

    taken = fastest(
        {"clip": clip, "ours": ours_update, "plain": plain_update}, N_UPDATES
    )
    ours, plain_loops = (taken[name] - taken["clip"] for name in ("ours", "plain"))
    print(
        f"filter, AdamW and average: {1e3 * ours:.1f} ms, {ours / plain_loops:.2f} of "
        f"plain loops; clipping, the same in both: {1e3 * taken['clip']:.1f} ms"
    )


def main() -> None:
    """Print all ratios."""
    torch.set_num_threads(1)
    rows = feature_rows()
    for n in BATCHES:
        for is_dropped in (True, False):
            print_step(rows[:n], is_dropped=is_dropped)
    print_update(rows[: BATCHES[0]])


if __name__ == "__main__":
    main()
