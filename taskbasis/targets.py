"""Parts of a configuration that name a class and its arguments."""

from __future__ import annotations

import inspect
from typing import Any

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from taskbasis.errors import ConfigError


def build(group: str, node: DictConfig) -> Any:
    """The object that a group describes.

    Raises:
        ConfigError: listing every argument that does not fit.
    """
    if errors := target_errors(group, node):
        raise ConfigError("; ".join(errors))
    return instantiate(node)


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
