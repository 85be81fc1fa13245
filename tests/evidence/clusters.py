"""A Dask cluster in processes of its own, which can be killed one by one."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

DASK = (sys.executable, "-m", "dask")
Process = subprocess.Popen[str]


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(
        self, stack: ExitStack, work: Path, n_workers: int, options: dict[str, str]
    ) -> None:
        file = work / "scheduler.json"
        where = ("--scheduler-file", str(file))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        own = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        environment = os.environ | {
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "5",
            "OMP_NUM_THREADS": "1",
            **options,
        }
        self.scheduler = subprocess.Popen(
            (*DASK, "scheduler", *own, *where), env=environment, **quiet
        )
        stack.callback(end, self.scheduler)
        wait_until(file.exists, "a scheduler")
        alone = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
        command = (sys.executable, "-W", "ignore", "-m", "dask", "worker")
        self.workers = [
            subprocess.Popen(
                (*command, *alone, *where),
                env=environment | {"PYTHONPATH": str(Path.cwd())},
                cwd=work,
                **quiet,
            )
            for _ in range(n_workers)
        ]
        for worker in self.workers:
            stack.callback(end, worker)
        self.address: str = json.loads(file.read_text())["address"]


@contextmanager
def cluster_of(n_workers: int, **options: str) -> Iterator[Cluster]:
    """Yield a new cluster on this machine; options are its environment's."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as own:
        yield Cluster(stack, Path(own), n_workers, options)


def end(process: Process) -> None:
    """End a process of ours, whatever it does."""
    process.kill()
    process.wait()


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 600.0) -> None:
    """Wait, and fail if it takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: no {what} within {seconds:.0f} s")
        time.sleep(0.05)


def require(is_so: bool, what: object) -> None:
    """Fail unless something is so."""
    if not is_so:
        raise SystemExit(f"FAILED: {what}")
