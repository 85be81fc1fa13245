"""A cluster of Dask does what a process does, to the bit, and ends with its parent."""

import contextlib
import os
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.planted import naming, planted_samples
from tests.test_interrupts import MAIN, members, wait_until
from trm_bt.config import ModelConfig, TRMConfig
from trm_bt.errors import TRMError
from trm_bt.executors import Workers, n_workers, opened, share
from trm_bt.learning.workers import Lesson, TrainingJob, train_each
from trm_bt.market.features import FeatureSchema
from trm_bt.tasks import Task, as_done, in_order

distributed = pytest.importorskip(
    "distributed", reason="the extra dask is not installed"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # of Dask and tornado
]


@pytest.fixture(scope="module")
def pool():
    with opened(Workers("dask", 2), 4) as executor:
        yield executor


def kill_process(values: list[int]) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return sum(values)


def test_a_cluster_trains_the_same_bits(pool):
    config = TRMConfig(
        model=ModelConfig(hidden_dim=16, num_latent_steps=1, num_recursion_cycles=1),
        training=naming(epochs=1, max_batches_per_epoch=2),
    )
    lesson = Lesson(planted_samples(320), FeatureSchema(), config)
    jobs = [TrainingJob("a", slice(0, 260)), TrainingJob("b", slice(None), seed=5)]

    there, here = (
        {model.name: model for model in train_each(jobs, lesson, executor=executor)}
        for executor in (pool, 1)
    )

    for name, model in here.items():
        assert there[name].record == model.record
        for key, value in model.parameters.items():
            assert there[name].parameters[key].numpy().tobytes() == (
                value.numpy().tobytes()
            )


def test_a_cluster_says_how_many_it_does_at_a_time(pool):
    assert n_workers(pool) == 2


@pytest.mark.evidence
def test_what_is_shared_outlives_its_holders(pool):
    """A task that kills its worker fails alone, and the others find what is shared."""
    shared = share(pool, [1, 2, 3])
    tasks = [Task(str(number), sum, (shared,)) for number in range(20)]
    tasks.insert(3, Task("deadly", kill_process, (shared,)))

    ended = {done.task.name: done for done in as_done(tasks, pool)}

    deadly = ended.pop("deadly")
    assert type(deadly.error).__name__ == "KilledWorker"
    assert [done.value for done in ended.values()] == [6] * 20


class GivesUp(ThreadPoolExecutor):
    """Does as Dask with tasks at a worker that dies: gives all of them up."""

    def __init__(self):
        super().__init__(1)
        self.sent = []

    def submit(self, fn, key, code, function, *arguments):
        number, _ = arguments
        is_lost = number == 3 or (number == 5 and 5 not in self.sent)
        self.sent.append(number)
        if not is_lost:
            return super().submit(fn, key, code, function, *arguments)
        future = Future()
        future.set_exception(distributed.KilledWorker("task", "worker", 5))
        return future


def test_what_waited_where_another_task_killed_workers_is_done_again_alone():
    with GivesUp() as executor:
        tasks = [Task(str(number), divmod, (number, 1)) for number in range(8)]
        ended = {done.task.name: done for done in as_done(tasks, executor)}
        sent = executor.sent

    assert sent == [*range(8), 3, 5]
    assert isinstance(ended.pop("3").error, distributed.KilledWorker)
    assert {name: done.value for name, done in ended.items()} == {
        str(number): (number, 0) for number in (0, 1, 2, 4, 5, 6, 7)
    }


def test_an_error_of_a_task_arrives_as_it_was_raised(pool):
    with pytest.raises(ValueError, match="invalid literal"):
        in_order([Task("no number", int, ("x",))], pool)


def test_a_scheduler_that_does_not_answer_is_said(monkeypatch):
    monkeypatch.setattr("trm_bt.executors._SECONDS_TO_CONNECT", 1)
    nobody = Workers("dask", scheduler="tcp://127.0.0.1:9")
    with (
        pytest.raises(TRMError, match=r"scheduler at tcp://127\.0\.0\.1:9 must answer"),
        opened(nobody, 1),
    ):
        pass


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("send", "number", "code"),
    [(os.killpg, signal.SIGINT, 130), (os.kill, signal.SIGKILL, -signal.SIGKILL)],
    ids=["ctrl-c", "kill"],
)
def test_its_processes_end_with_a_command(tmp_path, send, number, code):
    command = [sys.executable, "-c", MAIN, "run", "--start", "2012-01-01"]
    command += ["--executor", "dask", "--jobs", "2", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert wait_until(lambda: len(members(process.pid)) >= 4, 120)
        send(process.pid, number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code
        if code > 0:
            said = "Run the same command again: trained models are kept."
            assert errors == f"trm-bt: Interrupted. {said}\n"
        assert wait_until(lambda: not members(process.pid), 30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
