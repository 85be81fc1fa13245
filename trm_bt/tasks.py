"""Independent tasks, run by any executor: the one way in which long work is done.

A task is a function with its arguments. What is made of it depends on nothing else, so
that any process may do it, again if it was lost, and the bits are the same. A task
whose result is kept has a key, the hash of everything that decides the result; its file
is named by the key, and a finished task is never run again.
"""

import hashlib
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from trm_bt.errors import RunError, TRMError, WorkerError
from trm_bt.files import many_files
from trm_bt.keys import code_versions
from trm_bt.processes import Progress, no_progress
from trm_bt.reading import TABLE_BYTES, read_bytes

_IN_FLIGHT: Final = 1000
"""Tasks handed to an executor at a time: memory does not grow with their number."""
_SECONDS_BETWEEN_NEWS: Final = 0.1
_HEAD: Final = "trm-bt result"
OnNews = Callable[[Any], object]
OnResult = Callable[[str, bytes], object]
T = TypeVar("T")


def _ignore(news: object) -> None:
    """Drop news without a listener."""


_listener: OnNews = _ignore
"""Of the process that a task is done in."""


@dataclass(frozen=True)
class Task:
    """A function to call somewhere.

    Parameters
    ----------
    name : str
        What tables and errors call it.
    function : callable
        Of the top level of a module, so that any process finds it.
    arguments : tuple
        Positional arguments, which can be pickled.
    key : str
        SHA-256 of all that decides the result, which is then bytes; empty if the result
        is not kept.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    key: str = ""


@dataclass(frozen=True)
class Done:
    """A task that is over.

    Parameters
    ----------
    task : Task
    value : object
        What the function returned; None if it failed.
    error : Exception or None
        Why it failed.
    seconds : float
        Wall seconds of the function, if it was called.
    is_found : bool
        Whether the result was there before.
    """

    task: Task
    value: Any = None
    error: Exception | None = None
    seconds: float = 0.0
    is_found: bool = False


@dataclass(frozen=True)
class _Reply:
    """What a worker sends back: a value, for which key, and how long it took."""

    key: str
    value: Any
    seconds: float


class ResultFiles:
    """A folder with a file for each result.

    Parameters
    ----------
    folder : Path
        Where the files are; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return where the result of a key is."""
        return self.folder / f"{key}.result"

    def read(self, key: str) -> bytes | None:
        """Return a result, None if there is none yet.

        Raises
        ------
        RunError
            If the file is damaged, or holds the result of another task.
        """
        path = self.path(key)
        if not path.exists():
            return None
        try:
            head, _, value = read_bytes(path, TABLE_BYTES).partition(b"\n")
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read: {error}. Remove it.") from error
        if head != _head(key, value):
            raise RunError(
                f"{path}: must hold the result of task {key[:16]} as it was written, "
                f"but begins with {head[:80].decode(errors='replace')!r}. Remove it "
                "to run the task again."
            )
        return value

    @contextmanager
    def writing(self) -> Iterator[OnResult]:
        """Yield what writes the result of a key, whole or not at all."""
        with many_files(self.folder) as write:
            yield lambda key, value: write(
                self.path(key).name, _head(key, value) + b"\n" + value
            )


def _head(key: str, value: bytes) -> bytes:
    return f"{_HEAD} {key} {hashlib.sha256(value).hexdigest()}".encode()


def tell(news: object) -> None:
    """Send news of the task of this process to the listener."""
    _listener(news)


def tell_progress(stage: str, done: int, total: int) -> None:
    """Send the progress of a stage as news."""
    tell((stage, done, total))


def listen(listener: OnNews) -> OnNews:
    """Have news of this process sent to a listener; return the one before."""
    global _listener
    before, _listener = _listener, listener
    return before


class InThisProcess(Executor):
    """Does each task in this process, at once."""

    def __init__(self) -> None:
        self.on_news: OnNews = _ignore

    def submit(
        self, fn: Callable[..., T], /, *args: object, **kwargs: object
    ) -> "Future[T]":
        """Call a function and return its result as a future."""
        future: Future[T] = Future()
        before = listen(self.on_news)
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        finally:
            listen(before)
        return future


def perform(
    key: str, code: tuple[str, ...], function: Callable[..., Any], *arguments: object
) -> _Reply:
    """Do a task where it was sent, if the code there is the sender's."""
    for theirs, ours in zip(code, code_versions(), strict=True):
        if theirs != ours:
            raise WorkerError(
                f"Workers must have the versions of the process that sends the tasks: "
                f"it has {theirs}, and a worker has {ours}. Install the same on both."
            )
    started = time.perf_counter()
    value = function(*arguments)
    return _Reply(key, value, time.perf_counter() - started)


def as_done(
    tasks: Iterable[Task],
    executor: Executor,
    *,
    results: ResultFiles | None = None,
    on_news: OnNews = _ignore,
    n_ahead: int = _IN_FLIGHT,
) -> Generator[Done, None, None]:
    """Do tasks, those that have no result file yet, and yield each when it is over.

    If the caller stops before the end, or is interrupted, what has not begun is
    cancelled. A task that Dask gave up because workers died is done once more, alone,
    after the others: whatever waits at a worker is given up with what killed it.

    Parameters
    ----------
    tasks : iterable of Task
        Drawn from while the work proceeds.
    executor : Executor
        Who does them.
    results : ResultFiles, optional
        Where results are, and where new ones go.
    on_news : callable, optional
        Given what tasks `tell`, where the executor passes it on.
    n_ahead : int
        Tasks handed to the executor at a time; few where their arguments are large.

    Yields
    ------
    Done
        A task that failed carries its error, and the others continue.

    Raises
    ------
    TRMError
        If no worker is left to do the tasks.
    WorkerError
        If the code of a worker is not that of this process.
    """
    suspects = []
    do = partial(_as_done, executor, results, on_news, n_ahead)
    with closing(do(tasks)) as ended:
        for done in ended:
            if _died_with_workers(done.error):
                suspects.append(done.task)
            else:
                yield done
    for task in suspects:
        yield from do([task])


def _as_done(
    pool: Executor,
    files: ResultFiles | None,
    on_news: OnNews,
    n_ahead: int,
    tasks: Iterable[Task],
) -> Generator[Done, None, None]:
    """Yield each task when it is done or given up."""
    over: SimpleQueue[Future[_Reply]] = SimpleQueue()
    running: dict[Future[_Reply], Task] = {}
    if isinstance(pool, InThisProcess):
        pool.on_news = on_news

    def next_done() -> Done:
        while True:
            _pass_on(pool, on_news)
            try:
                future = over.get(timeout=_SECONDS_BETWEEN_NEWS)
            except Empty:
                continue
            _pass_on(pool, on_news)  # a worker sends its last news before its reply
            return _settled(running.pop(future), future, keep)

    with ExitStack() as stack:
        stack.callback(lambda: [future.cancel() for future in running])
        keep = stack.enter_context(files.writing()) if files else None
        for task in tasks:
            found = files.read(task.key) if files else None
            if found is not None:
                yield Done(task, found, is_found=True)
                continue
            sent = (task.key, code_versions(), task.function, *task.arguments)
            future = pool.submit(perform, *sent)
            running[future] = task
            future.add_done_callback(over.put)
            while not over.empty() or len(running) >= n_ahead:
                yield next_done()
        while running:
            yield next_done()


def in_order(
    tasks: Sequence[Task],
    executor: Executor,
    progress: Progress = no_progress,
    *,
    stage: str = "",
) -> list[Any]:
    """Do tasks and return their values in their order; raise the first error.

    Parameters
    ----------
    tasks : sequence of Task
        Of different names.
    executor : Executor
        Who does them.
    progress : callable
        Called with the progress that tasks `tell_progress` of.
    stage : str
        What it is called with after each task as well; nothing if empty.
    """
    values: dict[str, Any] = {}

    def hear(news: object) -> None:
        if isinstance(news, tuple):
            progress(*news)

    with closing(as_done(tasks, executor, on_news=hear)) as ended:
        for done in ended:
            if done.error is not None:
                raise done.error
            values[done.task.name] = done.value
            if stage:
                progress(stage, len(values), len(tasks))
    return [values[task.name] for task in tasks]


def _settled(task: Task, future: "Future[_Reply]", keep: OnResult | None) -> Done:
    """Return how a task ended, its result kept; raise if no task can be done."""
    try:
        reply = future.result()
    except WorkerError:
        raise
    except (BrokenProcessPool, CancelledError) as error:
        raise TRMError(
            f"The workers were lost before {task.name} was done, perhaps because "
            "memory ran out or the cluster ended, or because a script starts them "
            'outside `if __name__ == "__main__":`. Run it again: finished work is kept.'
        ) from error
    except Exception as error:  # whatever a task raises is its own
        return Done(task, error=error)
    if reply.key != task.key:
        wrong = RunError(
            f"{task.name}: a worker must answer for task {task.key[:16]}, and answered "
            f"for {reply.key[:16]}. Its result is refused."
        )
        return Done(task, error=wrong)
    if keep is not None:
        keep(task.key, reply.value)
    return Done(task, reply.value, seconds=reply.seconds)


def _died_with_workers(error: Exception | None) -> bool:
    """Return whether Dask gave a task up since workers died that held it."""
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(error, distributed.KilledWorker)


def _pass_on(executor: Executor, on_news: OnNews) -> None:
    """Hand on what workers have told so far, where they can tell anything."""
    news = getattr(executor, "news", None)
    while news is not None and not news.empty():
        on_news(news.get())
