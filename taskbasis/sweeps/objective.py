"""The number that a sweeper optimises: never one of test data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskbasis.errors import ConfigError
from taskbasis.tracking.results import metrics

OBJECTIVES = (
    "addition/val/top1",
    "addition/val/normalized_top1",
    "negation/val/target_top1",
    "basis/loss",
    "basis/relative_error",
    "basis/condition",
    "basis/stored_bytes",
)


def check_objective(name: str) -> None:
    """Refuse what cannot be optimised.

    Raises:
        ConfigError: for a score on test data, or an unknown name.
    """
    if "/test/" in name:
        raise ConfigError(
            f"objective={name}: scores on test data are reported, never optimised; "
            f"accepted are {', '.join(OBJECTIVES)}"
        )
    if name not in OBJECTIVES:
        raise ConfigError(f"objective={name}: accepted are {', '.join(OBJECTIVES)}")


def objective_value(result: Mapping[str, Any], name: str) -> float:
    """The objective of a completed run.

    Raises:
        ConfigError: if the run did not find it, for instance because its protocol was not evaluated.
    """
    if (value := metrics(result).get(name)) is None:
        raise ConfigError(
            f"objective={name}: this run has no such number; "
            f"its protocols are {', '.join(result['protocols'])}"
        )
    return value
