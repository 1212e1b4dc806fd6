"""``python -m taskbasis.run``: compose the configuration, check it, run the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from taskbasis import parallel
from taskbasis.command import heavy_imports, run_hydra
from taskbasis.config import ENTRY, Composed, composed, register_schema
from taskbasis.sweeps.launch import closing_sweep, optimises


def main() -> None:
    """Run the command; errors of users end in one line and exit code 1."""
    register_schema()
    run_hydra(ENTRY, _job, closing_sweep())


def run(job: Composed) -> dict[str, Any]:
    """Carry out a composed run, or find what it left before; the content of its ``result.json``.

    Raises:
        TaskbasisError: if the configuration is refused, which leaves no record, or a stage, after which
            the run folder holds a ``result.json`` with ``status: failed``.
    """
    parallel.warm_up()
    with heavy_imports():
        from taskbasis.job import execute

    return execute(job).result


def _job(config: DictConfig) -> float | None:
    hydra_config = HydraConfig.get()
    overrides = list(hydra_config.overrides.task)

    def compose() -> Composed:
        return composed(config, dict(hydra_config.runtime.choices), overrides)

    if hydra_config.mode != RunMode.MULTIRUN:
        run(compose())
        return None
    parallel.warm_up()
    with heavy_imports():
        from taskbasis.sweeps.journal import Journal
        from taskbasis.sweeps.member import run_member

    journal = Journal(Path(hydra_config.sweep.dir))
    return run_member(
        compose, journal, hydra_config.job.num, overrides, optimised=optimises(hydra_config.sweeper)
    )


if __name__ == "__main__":
    main()
