"""Who does the tasks: this process, processes of its own, or a cluster of Dask.

Processes of one thread use the cores best: two trainings of one thread use two cores
fully, where one of two threads gains a third and, on a busy machine, loses ten times
that.

Workers end with the work: they hold one end of a pipe, their lifeline, and exit at once
when the other end is closed, by their parent when it needs them no more, or by its
death. Dask's own do likewise.
"""

import hashlib
import logging
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue
from multiprocessing.resource_tracker import ensure_running
from threading import Thread
from typing import Any, Final, Literal, TypeVar

from trm_bt.errors import ConfigError, TRMError
from trm_bt.processes import is_fork
from trm_bt.tasks import InThisProcess, listen

ExecutorName = Literal["local", "dask"]
T = TypeVar("T")
_SIGNALS: Final = {signal.SIGINT, signal.SIGTERM}
_HAS_MASKS: Final = hasattr(signal, "pthread_sigmask")  # Windows has none.
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_DASK: Final = {
    "distributed.scheduler.allowed-failures": 5,
    # such a graph is what many tasks share, and travels once
    "distributed.admin.large-graph-warning-threshold": "1GB",
}
_LOOPBACK: Final = "127.0.0.1"
_SECONDS_TO_CONNECT: Final = 10


@dataclass(frozen=True)
class Workers:
    """Which processes do the tasks.

    Parameters
    ----------
    executor : {"local", "dask"}
        Processes of this machine, or a cluster.
    n_jobs : int, optional
        Tasks done at a time on this machine, by default one per processor that this
        process may use; 1 does them in this process, unless Dask does.
    scheduler : str, optional
        Address of a Dask scheduler; by default a cluster on this machine that nobody
        else reaches.
    dashboard : str, optional
        Where that cluster shows its dashboard, as 127.0.0.1:8787; none by default.

    Raises
    ------
    ConfigError
        If an address goes without Dask, or beside what only a local cluster has.
    """

    executor: ExecutorName = "local"
    n_jobs: int | None = None
    scheduler: str | None = None
    dashboard: str | None = None

    def __post_init__(self) -> None:
        if self.executor != "dask" and (self.scheduler or self.dashboard):
            raise ConfigError(
                "`--scheduler` and `--dashboard` need Dask, but the executor is "
                f"{self.executor}. Add `--executor dask`."
            )
        if self.scheduler and (self.n_jobs or self.dashboard):
            raise ConfigError(
                f"The cluster at {self.scheduler} has its own workers and "
                "dashboard. Leave out `--jobs` and `--dashboard`."
            )


Runner = Executor | Workers | int | None
"""Who does tasks: an executor, which stays open; else what is opened for them, a number
for so many processes."""


def n_available_cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def n_free_cpus() -> int:
    """Return how many processors threads of this process may use.

    A worker has one, for its siblings use the others, and so has a fork.
    """
    is_worker = multiprocessing.parent_process() is not None
    return 1 if is_worker or is_fork() else n_available_cpus()


@contextmanager
def opened(
    runner: Runner, n_tasks: int | None = None, preload: Sequence[str] = ()
) -> Iterator[Executor]:
    """Yield an executor; what was opened for it is closed however the block ends.

    Local processes start as they are needed, so it can be opened early for many uses.

    Parameters
    ----------
    runner : Executor, Workers, int or None
        Who does the tasks.
    n_tasks : int, optional
        Processes beyond this number are not started.
    preload : sequence of str
        Modules that local workers begin to import at once.
    """
    if isinstance(runner, Executor):
        yield runner
        return
    workers = runner if isinstance(runner, Workers) else Workers(n_jobs=runner)
    if workers.executor == "dask":
        with _dask(workers) as executor:
            yield executor
        return
    n_processes = workers.n_jobs or n_available_cpus()
    if n_tasks is not None:
        n_processes = min(n_processes, n_tasks)
    if n_processes <= 1:
        yield InThisProcess()
        return
    with _local(n_processes, preload) as executor:
        yield executor


def share(executor: Executor, value: T) -> T:
    """Return what to give to tasks for a value that many of them take.

    To a cluster the value travels once, and from worker to worker there. It is a task
    of its own, so that it is made again where its holders are lost.
    """
    client = getattr(executor, "_client", None)
    if client is None:
        return value
    content = pickle.dumps(value)
    key = f"trm-bt-shared-{hashlib.sha256(content).hexdigest()}"
    shared: T = client.submit(pickle.loads, content, key=key)
    return shared


def n_workers(executor: Executor) -> int | None:
    """Return how many tasks an executor does at a time now, None if it does not say."""
    client = getattr(executor, "_client", None)
    if client is not None:
        known = client.scheduler_info()["workers"].values()
        return sum(int(worker["nthreads"]) for worker in known)
    if isinstance(executor, InThisProcess):
        return 1
    n_at_once: int | None = getattr(executor, "_max_workers", None)
    return n_at_once


class LocalExecutor(ProcessPoolExecutor):
    """New processes of one thread each, whose news arrive in `news`."""

    news: "SimpleQueue[Any]"

    def submit(
        self, fn: Callable[..., T], /, *args: object, **kwargs: object
    ) -> "Future[T]":
        """Submit a call; workers that it starts are whole before a signal comes."""
        with _signals_held_back(), _one_thread():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def _local(n_processes: int, preload: Sequence[str]) -> Iterator[LocalExecutor]:
    """Yield a pool of new processes; they end with the block, whatever they do."""
    context = _context(preload)
    ending, lifeline = context.Pipe(duplex=False)
    news: SimpleQueue[Any] = context.SimpleQueue()
    pool = LocalExecutor(
        n_processes, context, initializer=_begin, initargs=(news, ending)
    )
    pool.news = news
    with ending, pool, lifeline:
        yield pool


def _context(preload: Sequence[str]) -> BaseContext:
    """Return how processes are started; never by forking this one.

    A parent that has loaded torch may hold its thread pool's locks. A fork server,
    where there is one, imports once for all of them.
    """
    if not preload or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload])
    with _one_thread():
        forkserver.ensure_running()
    return context


@contextmanager
def _one_thread() -> Iterator[None]:
    """Give processes that start meanwhile one thread of each library.

    Their matrices are small, and threads that wait for more take turns from others.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Hold a signal back until the block is over.

    Ctrl-C reaches all processes of a terminal, and only the parent answers it: workers
    ignore it from their first moment.
    """
    if not _HAS_MASKS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(news: "SimpleQueue[Any]", ending: Connection) -> None:
    """Prepare a worker: where its news goes, and when it ends."""
    listen(news.put)
    _leave_ctrl_c_to_the_parent()
    Thread(target=_end_with, args=(ending,), daemon=True).start()


def dask_setup(_: object) -> None:
    """Prepare a worker of a cluster of our own; Dask calls it by this name."""
    _leave_ctrl_c_to_the_parent()


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _HAS_MASKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _end_with(ending: Connection) -> None:
    """End this process, whatever it does, once the lifeline's other end is closed."""
    wait([ending])
    os._exit(1)


@contextmanager
def _dask(workers: Workers) -> Iterator[Executor]:
    """Yield the executor of a cluster, one of our own unless there is an address."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ConfigError(
            "The Dask executor needs its extra: pip install -e '.[dask]' in the clone."
        ) from error
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_DASK))
        address: Any = workers.scheduler
        if address is None:
            dashboard = {
                "dashboard": workers.dashboard is not None,
                "dashboard_address": workers.dashboard or f"{_LOOPBACK}:0",
            }
            # the threads that start its workers, now and later, hold them back for good
            if _HAS_MASKS:
                ensure_running()  # else its start lets signals through again
            with _signals_held_back():
                cluster = LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=workers.n_jobs or n_available_cpus(),
                    threads_per_worker=1,
                    host=_LOOPBACK,
                    scheduler_kwargs=dashboard,
                    preload=[__name__],
                    silence_logs=logging.CRITICAL,
                )
            address = stack.enter_context(cluster)
        try:
            client = stack.enter_context(
                Client(address, timeout=_SECONDS_TO_CONNECT)  # type: ignore[no-untyped-call]
            )
        except (OSError, ValueError) as error:
            raise TRMError(
                f"The Dask scheduler at {workers.scheduler} must answer within "
                f"{_SECONDS_TO_CONNECT} seconds, but does not: {error}. Start it, or "
                "check the address."
            ) from error
        yield client.get_executor(pure=False)
