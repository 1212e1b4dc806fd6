"""Which GPUs a process computes on: each its own, as long as there are enough."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout


@dataclass(frozen=True)
class Claim:
    """GPUs by their index, and the locks that keep other processes of this user away from them."""

    indices: list[int]
    locks: list[FileLock]

    def release(self) -> None:
        """Let others have them; the end of the process does so too."""
        for lock in self.locks:
            lock.release()


def claim(count: int, gpus: Sequence[str], folder: Path) -> Claim:
    """``count`` of the GPUs: free ones first, and if they do not suffice, others' beside them.

    Args:
        count: how many, at most ``len(gpus)``.
        gpus: their names, the same for all processes of the machine.
        folder: where locks are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free: dict[int, FileLock] = {}
    for index, name in enumerate(gpus):
        lock = FileLock(folder / f"{name}.lock")
        with suppress(Timeout):
            lock.acquire(blocking=False)
            free[index] = lock
        if len(free) == count:
            break
    taken = [index for index in range(len(gpus)) if index not in free]
    start = os.getpid() % max(1, len(taken))
    shared = (taken[start:] + taken[:start])[: count - len(free)]
    return Claim([*free, *shared], list(free.values()))


def own_gpus(count: int) -> list[int]:
    """The GPUs of this process, claimed at the first call and kept to its end."""
    return _own_claim(count).indices


@lru_cache(maxsize=1)
def _own_claim(count: int) -> Claim:
    return claim(count, visible_gpus(), Path(tempfile.gettempdir()) / f"taskbasis-gpus-{getpass.getuser()}")


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use."""
    import torch

    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = (
        [name.strip() for name in known.split(",")]
        if known
        else [str(i) for i in range(torch.cuda.device_count())]
    )
    return names[: torch.cuda.device_count()]
