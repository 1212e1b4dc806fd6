"""The number that a sweeper optimises: never one of test data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from taskbasis.errors import ConfigError
from taskbasis.tracking.results import metrics

OBJECTIVES = {
    "addition/val/top1": "maximize",
    "addition/val/normalized_top1": "maximize",
    "negation/val/target_top1": "minimize",
    "basis/loss": "minimize",
    "basis/relative_error": "minimize",
    "basis/condition": "minimize",
    "basis/stored_bytes": "minimize",
}
"""What can be optimised, and in which direction it is better."""


def check_objective(name: str, protocols: Collection[str] | None = None) -> None:
    """Refuse what cannot be optimised.

    Args:
        name: of the objective.
        protocols: that a run evaluates, if they are known.

    Raises:
        ConfigError: for a score on test data, an unknown name, or a number that no run would find.
    """
    if "/test/" in name:
        raise ConfigError(
            f"objective={name}: scores on test data are reported, never optimised; "
            f"accepted are {', '.join(OBJECTIVES)}"
        )
    if name not in OBJECTIVES:
        raise ConfigError(f"objective={name}: accepted are {', '.join(OBJECTIVES)}")
    protocol = name.split("/")[0]
    if protocols is not None and protocol not in ("basis", *protocols):
        raise ConfigError(
            f"objective={name}: {protocol} is not evaluated; evaluation.protocols are {', '.join(protocols)}"
        )


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
