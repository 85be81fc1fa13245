"""Products of rows with a layer's weights, by the faster of torch's two libraries.

Torch multiplies float32 matrices by MKL, which leaves half of an AMD processor's
vector units idle; oneDNN, which torch brings too, does not. It is used in inference
mode alone: it has no gradients, and what is trained keeps its bits.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

_HAS_ONEDNN: Final = bool(
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call] # torch's
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)


def affine(rows: Tensor, weight: Tensor, added: Tensor) -> Tensor:
    """Return ``rows @ weight.t() + added``.

    Parameters
    ----------
    rows : Tensor of shape (batch, n_in)
        Inputs.
    weight : Tensor of shape (n_out, n_in)
        A layer's weights.
    added : Tensor of shape (n_out,) or (batch, n_out)
        A bias, or what is added to each row.

    Returns
    -------
    Tensor of shape (batch, n_out)
        In inference mode on a processor, in float32, by oneDNN where torch has it.

    Examples
    --------
    >>> rows, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    >>> affine(rows, weight, torch.tensor([0.5])).tolist()
    [[11.5]]
    """
    if _HAS_ONEDNN and torch.is_inference_mode_enabled() and _is_plain(rows):
        multiply = torch.ops.mkldnn._linear_pointwise
        product: Tensor = (
            multiply(rows, weight, added, "none", [], "")
            if added.dim() == 1
            else multiply.binary(rows, added, weight, None, "add")
        )
        return product
    if added.dim() == 1:
        return functional.linear(rows, weight, added)
    return torch.addmm(added, rows, weight.t())


def column_parts(weight: Tensor, n_parts: int) -> tuple[Tensor, ...]:
    """Split a layer's weights by its inputs, shape (n_out, n_in / n_parts) each.

    In inference mode each is a copy: oneDNN is thousands of times slower on a view.
    """
    parts = weight.chunk(n_parts, dim=1)
    if torch.is_inference_mode_enabled():
        return tuple(part.contiguous() for part in parts)
    return parts


def _is_plain(rows: Tensor) -> bool:
    return rows.device.type == "cpu" and rows.dtype == torch.float32
