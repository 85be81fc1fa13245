"""Which device computes, and how exactly."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trm_bt.config import Device
from trm_bt.errors import ConfigError
from trm_bt.processes import is_fork
from trm_bt.text import shown


def pick_device(device: Device) -> torch.device:
    """Resolve "auto"; refuse CUDA where there is none."""
    has_cuda = torch.cuda.is_available() and not is_fork()  # CUDA survives no fork
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"`device` must be auto, cpu or cuda, got {shown(device)}.")
    if device == "cuda" and not has_cuda:
        raise ConfigError(
            "`device` cuda needs a CUDA device, torch finds none on this machine. "
            "Use auto or cpu."
        )
    return torch.device("cuda" if has_cuda and device != "cpu" else "cpu")


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute float32 products in float32, not TF32, inside the block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def single_precision() -> Iterator[None]:
    """Make new tensors float32 inside the block, whatever the caller's default is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def gradients() -> Iterator[None]:
    """Record gradients inside the block, even where the caller has turned that off."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


@contextmanager
def cpu_threads(n_threads: int) -> Iterator[None]:
    """Make torch use `n_threads` inside the block, and as many as before after it.

    A forked process has its parent's thread pool without the threads, and would wait
    for them for ever: it uses one thread, inside the block and from then on.
    """
    if is_fork():
        torch.set_num_threads(1)
        yield
        return
    n_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(n_before)
