"""Seeds derived from names: every random choice has a generator of its own, never the global one."""

from __future__ import annotations

import hashlib
import json

import torch


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed that is a pure function of ``parts``."""
    value = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(value[:8], "big") >> 1


def generator(*parts: str | int) -> torch.Generator:
    """A CPU generator seeded by :func:`derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(*parts))
