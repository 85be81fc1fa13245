"""GrokFast: amplify the slow part of each gradient before the optimiser sees it.

References
----------
Lee, J. et al. (2024). Grokfast: Accelerated Grokking by Amplifying Slow Gradients.
arXiv:2405.20233.
"""

from collections.abc import Sequence

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
        if not self.means:
            self.means = [gradient.clone() for gradient in gradients]
        # One tensor after the other: the second operation finds it in the cache. The
        # first step moves each mean towards itself, which changes no bit.
        for mean, gradient in zip(self.means, gradients, strict=True):
            mean.lerp_(gradient, 1 - self.alpha)
            gradient.add_(mean, alpha=self.lam)
