"""Sweepers that choose jobs by the results of others: what they are told, and what is said beforehand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, open_dict, read_write

from taskbasis.errors import ConfigError
from taskbasis.sweeps.objective import OBJECTIVES

SAMPLER_SEED = 0
"""Seed of a sampler that was given none, so that a sweep launched again asks for the same jobs."""
_DIRECTION = "hydra.sweeper.direction"
_SWEEPER = ("hydra/sweeper", "hydra.sweeper")


def follow_objective(config: DictConfig) -> None:
    """Let Optuna's sweeper optimise the objective in its own direction, and go on after failed jobs.

    Whether others go on is said by ``on_error``; a job that failed has no value and is not chosen again.

    Raises:
        ConfigError: if the sweeper was told another direction.
    """
    sweeper = config.hydra.sweeper
    if "direction" not in sweeper:
        return
    wanted = OBJECTIVES[config.objective]
    for override in config.hydra.overrides.hydra:
        key, _, given = override.lstrip("+").partition("=")
        if key == _DIRECTION and given != wanted:
            raise ConfigError(
                f"{_DIRECTION}={given}: objective={config.objective} is {wanted}d; leave it out"
            )
    # Imported now: the sweeper is an optional extra. Left alone it writes every study's name to the console.
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    with read_write(config), open_dict(config):
        sweeper.direction = wanted
        sweeper.max_failure_rate = 1.0
        if sweeper.sampler.get("seed", SAMPLER_SEED) is None:
            sweeper.sampler.seed = SAMPLER_SEED


def describe_search(config: DictConfig) -> str:
    """How many jobs a sweeper asks for at most, who chooses them, and for what."""
    sweeper = config.hydra.sweeper
    trials, sampler = sweeper.get("n_trials"), sweeper.get("sampler", {}).get("_target_")
    jobs = "jobs" if trials is None else f"at most {trials} jobs"
    chosen_by = (sampler or sweeper["_target_"]).rpartition(".")[2]
    extreme = "highest" if OBJECTIVES[config.objective] == "maximize" else "lowest"
    return f"{jobs}, chosen by {chosen_by} for the {extreme} {config.objective}"


def search_settings(config: DictConfig) -> list[str]:
    """What tells this search from others over the same values."""
    given = [o for o in config.hydra.overrides.hydra if o.lstrip("+").startswith(_SWEEPER)]
    return [*given, f"objective={config.objective}"]


def first_choice(overrides: Sequence[Override]) -> list[str]:
    """One job that a sweeper may ask for: the first value of everything it can choose."""
    return [f"{override.get_key_element()}={_first(override)}" for override in overrides]


def _first(override: Override) -> Any:
    if not override.is_sweep_override():
        return override.get_value_element_as_str()
    if override.is_discrete_sweep():
        return next(iter(override.sweep_string_iterator()))
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    return interval.start
