"""Tasks: any executor, one file a result, and each failure alone."""

import os
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Event

import pytest

from trm_bt.errors import ConfigError, RunError, TRMError, WorkerError
from trm_bt.executors import Workers, n_workers, opened
from trm_bt.keys import code_versions, key_of
from trm_bt.tasks import (
    InThisProcess,
    ResultFiles,
    Task,
    as_done,
    in_order,
    perform,
    tell,
)


def square(number: int) -> bytes:
    tell(number)
    if number < 0:
        raise ValueError(f"{number} is negative")
    return str(number * number).encode()


def tasks(numbers, is_kept=True):
    return [
        Task(str(n), square, (n,), key_of(str(n)) if is_kept else "") for n in numbers
    ]


def end_process() -> None:
    os._exit(3)


@pytest.mark.parametrize(
    "runner", [1, 2, ThreadPoolExecutor(2)], ids=["here", "processes", "threads"]
)
def test_any_executor_gives_the_same_values_in_order(runner):
    with opened(runner, 9) as pool:
        found = in_order(tasks(range(9), is_kept=False), pool)

    assert [int(value) for value in found] == [n * n for n in range(9)]


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_executor_says_how_many_it_does_at_a_time(n_processes):
    with opened(n_processes, 3) as pool:
        assert n_workers(pool) == n_processes


def in_order_news(executor):
    heard = []
    for done in as_done(tasks(range(3)), executor, on_news=heard.append):
        assert done.error is None
    return sorted(heard)


@pytest.mark.parametrize("n_processes", [1, 2])
def test_news_of_tasks_arrive(n_processes):
    with opened(n_processes, 3) as pool:
        assert in_order_news(pool) == [0, 1, 2]


def test_a_task_that_fails_fails_alone():
    ended = {d.task.name: d for d in as_done(tasks([1, -2, 3]), InThisProcess())}

    assert str(ended.pop("-2").error) == "-2 is negative"
    assert [(d.value, d.error) for d in ended.values()] == [(b"1", None), (b"9", None)]


def test_what_has_a_result_is_not_done_again(tmp_path):
    results = ResultFiles(tmp_path)
    list(as_done(tasks([1, -2]), InThisProcess(), results=results))
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{key_of('1')}.result"]

    heard = []
    again = as_done(
        tasks([1, 4]), InThisProcess(), results=results, on_news=heard.append
    )

    assert [(d.task.name, d.value, d.is_found) for d in again] == [
        ("1", b"1", True),
        ("4", b"16", False),
    ]
    assert heard == [4]


def test_no_folder_is_listed_more_often_for_more_results(tmp_path):
    """A listing a result would make the work grow with its square."""
    listed, hearing = [], [True]

    def hear(event, _):
        if hearing[0] and event in {"os.listdir", "os.scandir"}:
            listed.append(event)

    sys.addaudithook(hear)
    counts = []
    for n_tasks in (2, 20):
        results = ResultFiles(tmp_path / str(n_tasks))
        list(as_done(tasks(range(n_tasks)), InThisProcess(), results=results))
        counts.append(len(listed))
        listed.clear()
        assert len(list(results.folder.iterdir())) == n_tasks
        listed.clear()
    hearing[0] = False
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.replace(b"result ", b"result 0"),
        lambda content: content + b"0",
        lambda content: b"",
    ],
    ids=["another task", "another value", "empty"],
)
def test_a_result_file_of_something_else_is_refused(tmp_path, change):
    results = ResultFiles(tmp_path)
    list(as_done(tasks([1]), InThisProcess(), results=results))
    path = results.path(key_of("1"))
    path.write_bytes(change(path.read_bytes()))

    with pytest.raises(
        RunError, match=r"must hold the result of task.*run the task again"
    ):
        list(as_done(tasks([1]), InThisProcess(), results=results))


class Answering(Executor):
    """Calls the function with another key than it was given."""

    def submit(self, fn, /, key, *args):
        future = Future()
        future.set_result(fn("f" * 64, *args))
        return future


def test_the_answer_for_another_task_is_refused_and_not_kept(tmp_path):
    results = ResultFiles(tmp_path)

    (done,) = as_done(tasks([1]), Answering(), results=results)

    assert "answered for ffffffffffffffff. Its result is refused" in str(done.error)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_of_other_code_is_refused():
    other = ("Python 3.11", "torch 1.0", code_versions()[2])
    other = (code_versions()[0], *other[1:])

    with pytest.raises(WorkerError, match=r"it has torch 1\.0, and a worker has torch"):
        perform("", other, square, 1)


def test_keys_tell_parts_and_code_apart(monkeypatch):
    assert key_of("ab", "c") != key_of("a", "bc")
    before = key_of("a")
    monkeypatch.setattr("trm_bt.keys.code_versions", lambda: ("other",))
    assert key_of("a") != before


def test_a_caller_that_stops_cancels_what_has_not_begun():
    begun, goes_on = [], Event()

    def begin(number):
        begun.append(number)
        if number:
            goes_on.wait(10)

    with ThreadPoolExecutor(1) as pool:
        ended = as_done([Task(str(n), begin, (n,)) for n in range(200)], pool)
        next(ended)
        ended.close()
        goes_on.set()

    assert begun in ([0], [0, 1])


def test_a_process_that_ends_is_an_error_of_our_own():
    with (
        opened(2, 2) as pool,
        pytest.raises(TRMError, match="The workers were lost before end was done"),
    ):
        in_order([Task("end", end_process)], pool)


@pytest.mark.parametrize(
    ("choice", "rule"),
    [
        ({"scheduler": "tcp://127.0.0.1:1"}, "Add `--executor dask`"),
        (
            {"executor": "dask", "scheduler": "tcp://127.0.0.1:1", "n_jobs": 2},
            "Leave out `--jobs`",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(choice, rule):
    with pytest.raises(ConfigError, match=rule):
        Workers(**choice)
