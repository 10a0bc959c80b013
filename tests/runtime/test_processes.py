"""Mapping in order, lazily, with errors coming through, in one process or in several."""

import itertools
import os
import time
from concurrent.futures import Executor, Future

import pytest

from molvae.errors import ConfigError, FileError, RunError
from molvae.runtime.processes import map_ordered, process_pool, worker_count


def slow_square(x):
    """Runs in worker processes; early items take longest, so finishing order is not item order."""
    time.sleep(0.05 if x < 2 else 0)
    return x * x, os.getpid()


def fail_on_three(x):
    if x == 3:
        raise FileError(f"item {x} is broken")
    return x


class Counted(Executor):
    """An executor that works at once and remembers what it was asked to do."""

    def __init__(self):
        self.submitted = 0
        self.closed = False

    def submit(self, fn, /, *args, **kwargs):
        self.submitted += 1
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.closed = True


def die(x):
    os._exit(9)


@pytest.fixture(scope="module")
def pool():
    with process_pool(2) as pool:
        yield pool


def test_two_processes_keep_the_order(pool):
    results = list(map_ordered(slow_square, range(20), workers=2, executor=pool))
    assert [value for value, _ in results] == [x * x for x in range(20)]
    assert os.getpid() not in {pid for _, pid in results}


@pytest.mark.process
def test_a_separate_pool_gives_what_one_process_gives():
    items = [-3, 5, 0, 7]
    assert list(map_ordered(abs, items, workers=2)) == list(map_ordered(abs, items, workers=1))


def test_one_worker_runs_here():
    assert list(map_ordered(slow_square, [4], workers=1)) == [(16, os.getpid())]


@pytest.mark.process
def test_a_worker_error_comes_through_as_it_is(pool):
    results = map_ordered(fail_on_three, range(6), workers=2, executor=pool)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(FileError, match="item 3 is broken"):
        next(results)


def test_an_error_in_this_process_comes_through_too():
    results = map_ordered(fail_on_three, range(6), workers=1)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(FileError, match="item 3 is broken"):
        next(results)


@pytest.mark.process
def test_a_worker_that_is_killed_is_a_named_error():
    with pytest.raises(RunError, match="a worker process died"):
        list(map_ordered(die, [1, 2], workers=2))


@pytest.mark.parametrize(("workers", "ahead"), [(1, 4), (3, 2), (2, 1)])
def test_items_are_taken_only_as_needed(workers, ahead):
    taken = []

    def items():
        for i in itertools.count():
            taken.append(i)
            yield i

    executor = Counted()
    results = map_ordered(lambda x: -x, items(), workers=workers, executor=executor, ahead=ahead)
    assert taken == []
    for seen in range(1, 10):
        assert next(results) == -(seen - 1)
        assert len(taken) <= seen + workers * ahead - 1
    results.close()
    assert executor.submitted == len(taken)


def test_an_endless_input_in_one_process_is_read_one_by_one():
    source = itertools.count()
    assert list(itertools.islice(map_ordered(abs, source, workers=1), 5)) == [0, 1, 2, 3, 4]
    assert next(source) == 5


def test_work_under_way_is_cancelled_when_the_consumer_stops():
    futures = []

    class Waiting(Counted):
        def submit(self, fn, /, *args, **kwargs):
            future = super().submit(fn, *args) if not futures else Future()
            futures.append(future)
            return future

    results = map_ordered(abs, range(10), workers=1, executor=Waiting(), ahead=4)
    assert next(results) == 0
    results.close()
    assert [f.cancelled() for f in futures] == [False, True, True, True]


def test_a_lent_executor_stays_open():
    executor = Counted()
    assert list(map_ordered(abs, [-1], workers=1, executor=executor)) == [1]
    assert not executor.closed


def test_nothing_in_nothing_out():
    assert list(map_ordered(abs, [], workers=1)) == []
    assert list(map_ordered(abs, [], workers=1, executor=Counted())) == []


@pytest.mark.parametrize("workers", [-1, -2])
def test_fewer_than_no_workers_are_refused(workers):
    with pytest.raises(ConfigError, match=f"got {workers}, expected 0"):
        worker_count(workers)
    with pytest.raises(ConfigError, match="workers"):
        list(map_ordered(abs, [1], workers=workers))


def test_the_default_is_every_cpu_of_this_process(monkeypatch):
    monkeypatch.setattr("molvae.runtime.processes.available_cpus", lambda: 7)
    assert worker_count(None) == 7
    assert worker_count(2) == 2
