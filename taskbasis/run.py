"""``python -m taskbasis.run``: compose the configuration, check it, run the pipeline."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from taskbasis import parallel
from taskbasis.config import (
    ENTRY,
    Composed,
    composed,
    config_dir,
    explain,
    is_hydra_error,
    quote_numbers,
    register_schema,
)
from taskbasis.errors import TaskbasisError
from taskbasis.sweeps.launch import INTERRUPTED, closing_sweep, optimises


def main() -> None:
    """Run the command; errors of users end in one line and exit code 1."""
    sys.argv[1:] = quote_numbers(sys.argv[1:])
    traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra would print a traceback of its own and leave; errors must reach the handlers below.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    register_schema()
    command = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=ENTRY)(_job)
    try:
        with closing_sweep():
            command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except TaskbasisError as error:
        if traceback_wanted:
            raise
        sys.exit(f"error: {error}")
    except Exception as error:
        if traceback_wanted or not is_hydra_error(error):
            raise
        sys.exit(f"error: {explain(error)}")


def run(job: Composed) -> dict[str, Any]:
    """Carry out a composed run, or find what it left before; the content of its ``result.json``.

    Raises:
        TaskbasisError: if the configuration or a stage is refused; the run folder then holds a
            ``result.json`` with ``status: failed`` (unless the folder itself was the trouble).
    """
    parallel.warm_up()
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
    from taskbasis.sweeps.journal import Journal
    from taskbasis.sweeps.member import run_member

    journal = Journal(Path(hydra_config.sweep.dir))
    return run_member(
        compose, journal, hydra_config.job.num, overrides, optimised=optimises(hydra_config.sweeper)
    )


if __name__ == "__main__":
    main()
