"""Parts of a configuration that name a class and its arguments."""

from __future__ import annotations

import inspect
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import DictConfig

from taskbasis.errors import ConfigError, TaskbasisError


def build(group: str, node: DictConfig) -> Any:
    """The object that a group describes.

    Raises:
        ConfigError: listing every argument that does not fit.
    """
    if errors := target_errors(group, node):
        raise ConfigError("; ".join(errors))
    return instantiate(node)


def instantiate(node: DictConfig) -> Any:
    """The object that a configuration with a ``_target_`` describes.

    Raises:
        TaskbasisError: what the class itself refuses a value with.
        ConfigError: if it refuses one with a ``ValueError`` or ``TypeError``, as classes of others do.
    """
    try:
        return hydra.utils.instantiate(node)
    except InstantiationException as error:
        # Hydra's own message speaks of calls and types; whoever chose the value wants the cause.
        cause = error.__cause__
        if isinstance(cause, TaskbasisError):
            raise cause from cause.__cause__
        if isinstance(cause, ValueError | TypeError):
            raise ConfigError(f"{node._target_} refuses its settings: {cause}") from error
        raise


def target_errors(group: str, node: DictConfig | None) -> list[str]:
    """What is wrong between a group's keys and the signature of its ``_target_``; empty if nothing is."""
    if node is None or "_target_" not in node:
        return [f"{group}: no _target_ says what it configures"]
    try:
        target = get_object(node["_target_"])
    except (ImportError, AttributeError, ValueError) as error:
        return [f"{group}._target_={node['_target_']}: {error}"]
    accepted = {n: p for n, p in inspect.signature(target).parameters.items() if n != "self"}
    given = {str(key) for key in node if not str(key).startswith("_")}
    errors = [
        f"{group}.{k}: unknown; accepted: {', '.join(accepted)}" for k in sorted(given - accepted.keys())
    ]
    required = {n for n, p in accepted.items() if p.default is inspect.Parameter.empty}
    return errors + [f"{group}.{name} is missing" for name in sorted(required - given)]
