"""Which GPUs a process takes, tried without one: what matters are the locks."""

import os

from taskbasis.devices import claim


def test_processes_take_different_gpus_while_there_are_some(tmp_path):
    gpus = ["GPU-a", "GPU-b", "GPU-c"]
    first, second = claim(1, gpus, tmp_path), claim(2, gpus, tmp_path)
    assert (first.indices, second.indices) == ([0], [1, 2])
    late = claim(1, gpus, tmp_path)
    assert late.indices == [os.getpid() % 3], "with none left, one is shared"
    first.release()
    last = claim(2, gpus, tmp_path)
    assert last.indices[0] == 0
    assert last.indices[1] in (1, 2)


def test_the_same_gpu_is_the_same_under_another_number(tmp_path):
    kept = claim(1, ["GPU-a", "GPU-b"], tmp_path)
    assert kept.indices == [0]
    assert claim(1, ["GPU-b", "GPU-a"], tmp_path).indices == [0]
