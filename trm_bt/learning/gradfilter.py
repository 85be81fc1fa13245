"""GrokFast: amplify the slow part of each gradient before the optimiser sees it.

References
----------
Lee, J. et al. (2024). Grokfast: Accelerated Grokking by Amplifying Slow Gradients.
arXiv:2405.20233.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class GrokFastFilter:
    r"""The EMA form of the filter.

    Parameters
    ----------
    alpha : float
        Momentum of the running mean, in [0, 1).
    lam : float
        Amplification of the running mean; 0 switches the filter off.

    Notes
    -----
    :math:`\mu \leftarrow \alpha \mu + (1 - \alpha) g`, then
    :math:`g \leftarrow g + \lambda \mu`; the first :math:`\mu` is g itself.
    """

    def __init__(self, alpha: float, lam: float) -> None:
        self.alpha = alpha
        self.lam = lam
        self.means: list[Tensor] = []

    def apply(self, gradients: Sequence[Tensor]) -> None:
        """Filter the gradients of one step in place, the same tensors every step."""
        if self.lam == 0:
            return
        if self.means:
            torch._foreach_lerp_(self.means, list(gradients), 1 - self.alpha)
        else:
            self.means = [gradient.clone() for gradient in gradients]
        torch._foreach_add_(list(gradients), self.means, alpha=self.lam)
