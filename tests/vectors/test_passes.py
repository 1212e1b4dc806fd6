from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

from taskbasis.vectors.passes import AHEAD, Pass

TORCH = str(Path(torch.__file__).resolve().parent)


def openmp(_=None):
    """Threads of torch's own OpenMP; other libraries may have brought theirs."""
    found = [library for library in threadpool_info() if library["user_api"] == "openmp"]
    return [library["num_threads"] for library in found if library["filepath"].startswith(TORCH)]


@pytest.mark.skipif(not openmp(), reason="torch has no OpenMP of its own here")
def test_every_thread_of_a_pass_computes_alone_and_others_as_before():
    before = openmp()
    found = list(Pass(threads=2).run(openmp, range(4), lambda _: 1))
    assert found == [[1] * len(before)] * 4
    assert openmp() == before


def test_results_come_in_order_with_the_progress_of_each():
    told = []
    how = Pass(threads=3, progress=lambda done, total: told.append((done, total)))
    assert list(how.run(lambda x: x * x, range(1, 6), lambda x: x)) == [1, 4, 9, 16, 25]
    assert told == [(1, 15), (3, 15), (6, 15), (10, 15), (15, 15)]


def test_work_is_handed_out_as_results_are_taken():
    begun = []
    results = Pass(threads=2).run(lambda item: begun.append(item) or item, range(10_000), lambda _: 1)
    assert next(results) == 0
    assert len(begun) <= 2 * AHEAD + 2
    assert list(results) == list(range(1, 10_000))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_ends_the_pass_without_the_work_that_nobody_began(threads):
    begun = []

    def work(item):
        begun.append(item)
        if item == 2:
            raise ValueError("broken")
        return item

    with pytest.raises(ValueError, match="broken"):
        list(Pass(threads).run(work, range(1000), lambda _: 1))
    assert len(begun) < 1000
