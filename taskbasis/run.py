"""``python -m taskbasis.run``: compose the configuration, check it, run the pipeline."""

from __future__ import annotations

from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from taskbasis import parallel
from taskbasis.command import run_hydra
from taskbasis.config import ENTRY, Composed, composed, register_schema


def main() -> None:
    """Run the command; errors of users end in one line and exit code 1."""
    register_schema()
    run_hydra(ENTRY, _job)


def run(job: Composed) -> dict[str, Any]:
    """Carry out a composed run; the content of its ``result.json``.

    Raises:
        TaskbasisError: if the configuration or a stage is refused; the run folder then holds a
            ``result.json`` with ``status: failed`` (unless the folder itself was the trouble).
    """
    parallel.warm_up()
    from taskbasis.job import execute

    return execute(job)


def _job(config: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    run(composed(config, dict(hydra_config.runtime.choices), list(hydra_config.overrides.task)))


if __name__ == "__main__":
    main()
