"""Worker processes that end with the work: no orphans, nobody waits for them.

Workers hold one end of a pipe, their lifeline, and end at once when its other end is
closed: by their parent when it needs them no more, or by its death. This module is
light, so a worker can end while it still imports what it needs for its work.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.queues import SimpleQueue
from threading import Thread
from typing import Any

_SIGNALS = {signal.SIGINT, signal.SIGTERM}
_HAS_MASKS = hasattr(signal, "pthread_sigmask")  # Windows has none.


@contextmanager
def worker_pool(
    n_processes: int,
) -> Iterator[tuple[ProcessPoolExecutor, "SimpleQueue[Any]"]]:
    """Yield a pool of new processes and the queue that `send` fills in them.

    However the block ends, the workers end with it; what they still did is given up.

    Parameters
    ----------
    n_processes : int
        Tasks done at a time, at least 1.
    """
    context = multiprocessing.get_context("spawn")
    news: SimpleQueue[Any] = context.SimpleQueue()
    ending, lifeline = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        n_processes, context, initializer=_begin, initargs=(news, ending)
    )
    with ending, pool, lifeline:
        yield pool, news


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Submit tasks in here, so that no worker is half started when a signal comes.

    Ctrl-C reaches all processes of a terminal, and the answer is the parent's alone:
    workers are deaf to it from their first moment. What comes meanwhile reaches the
    parent afterwards.
    """
    if not _HAS_MASKS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def send(report: object) -> None:
    """Send a report from a worker to its parent; it arrives before the result does."""
    assert _news is not None
    _news.put(report)


_news: "SimpleQueue[Any] | None" = None
"""Set once in each worker."""


def _begin(news: "SimpleQueue[Any]", ending: Connection) -> None:
    """Prepare a worker: where its news goes, and when it ends."""
    global _news
    _news = news
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _HAS_MASKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    Thread(target=_end_with, args=(ending,), daemon=True).start()


def _end_with(ending: Connection) -> None:
    """End this process, whatever it does, once the lifeline's other end is closed."""
    wait([ending])
    os._exit(1)
