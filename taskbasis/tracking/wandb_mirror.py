"""Weights & Biases as a mirror of the local records: it never prompts and never fails a run."""

from __future__ import annotations

import logging
import netrc
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import wandb

from taskbasis.errors import ConfigError
from taskbasis.store.atomic import write_text
from taskbasis.tracking.results import mean_top1, metrics, per_task
from taskbasis.tracking.wandb_artifacts import Made, artifacts

_log = logging.getLogger(__name__)
RUN_ID = "wandb-run-id"
"""File of a run folder that holds its W&B run id until it has completed."""
AUTO = "auto"
MODES = (AUTO, "online", "offline", "disabled")


@dataclass(frozen=True, kw_only=True)
class MirrorSettings:
    """What a W&B run is called and where it goes."""

    mode: str
    project: str
    entity: str | None
    group: str | None
    job_type: str
    tags: tuple[str, ...]
    name: str
    folder: Path
    """Folder of the run, where W&B keeps its files."""
    timeout: int
    """Seconds to wait for the server at the start and at the end."""
    weights: bool = False
    """Whether atoms and the merged model are sent too."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"tracker.mode={self.mode!r}: accepted are {', '.join(MODES)}")


class Mirror(Protocol):
    """Receives what was recorded locally."""

    def point(self, stage: str, item: str, step: float, values: Mapping[str, float]) -> None:
        """Numbers at a step of an item of a stage."""

    def result(self, result: Mapping[str, Any], images: Sequence[Path], made: Made) -> None:
        """The finished result, its plots and the files of what was made."""

    def finish(self, exit_code: int) -> None:
        """Close the run."""


class NoMirror:
    """Mirrors nothing."""

    def point(self, stage: str, item: str, step: float, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def result(self, result: Mapping[str, Any], images: Sequence[Path], made: Made) -> None:
        """Do nothing."""

    def finish(self, exit_code: int) -> None:
        """Do nothing."""


class WandbMirror:
    """One W&B run per job; trouble with it is logged, once, and the job goes on."""

    def __init__(self, run: Any, folder: Path) -> None:
        self._run, self._folder, self._broken, self._axes = run, folder, False, set[str]()

    def point(self, stage: str, item: str, step: float, values: Mapping[str, float]) -> None:
        """Log numbers under ``stage/item/…`` with an axis of their own."""
        prefix = f"{stage}/{item}" if item else stage

        def send() -> None:
            if prefix not in self._axes:
                self._axes.add(prefix)
                self._run.define_metric(f"{prefix}/*", step_metric=f"{prefix}/step")
            self._run.log({f"{prefix}/step": step} | {f"{prefix}/{k}": v for k, v in values.items()})

        self._try(send)

    def result(self, result: Mapping[str, Any], images: Sequence[Path], made: Made) -> None:
        """Send summary numbers, the α curve, the per-task table, the plots and the artifacts."""

        def send() -> None:
            self._run.summary.update(metrics(result))
            self._run.define_metric("addition/curve/*", step_metric="addition/curve/alpha")
            for point in result["protocols"].get("addition", {"search": {"curve": []}})["search"]["curve"]:
                values = {"alpha": point["alpha"], "val_top1": mean_top1(point["tasks"])}
                self._run.log({f"addition/curve/{key}": value for key, value in values.items()})
            columns, rows = per_task(result)
            self._run.log({"per_task": wandb.Table(columns=[*columns], data=rows)})
            self._run.log({f"plots/{path.stem}": wandb.Image(str(path)) for path in images})
            reused = set(result["run"].get("reused", {}).get("finetuned", []))
            for artifact in artifacts(result, made):
                self._record(artifact, made_here=artifact.metadata.get("task") not in reused)

        with keeping_files_in(self._folder):
            self._try(send)

    def _record(self, artifact: wandb.Artifact, *, made_here: bool) -> None:
        # Offline, W&B knows outputs only; the artifact's metadata still says what it was made from.
        if made_here or self._run.offline:
            self._run.log_artifact(artifact)
        else:
            self._run.use_artifact(artifact)

    def finish(self, exit_code: int) -> None:
        """Close the run with the job's exit code, which Lightning's own logger does not do."""
        self._try(lambda: self._run.finish(exit_code=exit_code))
        if exit_code == 0:
            (self._folder / RUN_ID).unlink(missing_ok=True)

    def _try(self, send: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            send()
        except Exception as error:  # noqa: BLE001 - a tracker never fails a run
            self._broken = True
            _log.warning("W&B stopped working and gets nothing more from this run: %s", error)


def open_mirror(settings: MirrorSettings, config: Mapping[str, Any]) -> Mirror:
    """Start a W&B run, offline if there is no key or the server cannot be reached.

    The mode ``auto`` is that of the variable ``WANDB_MODE``, if it is set to one of the others.

    Args:
        settings: names, mode and timeout.
        config: the resolved and redacted configuration as plain values.
    """
    mode = settings.mode
    if mode == AUTO:
        said = os.environ.get("WANDB_MODE")
        mode = said if said in MODES and said != AUTO else "online" if has_key() else "offline"
    if mode == "disabled":
        return NoMirror()
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            identity = _identity(settings.folder / RUN_ID)
            with keeping_files_in(settings.folder):
                return WandbMirror(_init(settings, attempt, config, identity), settings.folder)
        except Exception as error:  # noqa: BLE001 - a tracker never fails a run
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            _log.warning("W&B cannot start %s (%s)", attempt, reason)
            if attempt == "online":
                _log.warning("this run is recorded offline, in %s", settings.folder / "wandb")
    return NoMirror()


@contextmanager
def keeping_files_in(folder: Path) -> Iterator[None]:
    """Let W&B keep what it copies and caches below a run's folder, unless its variables say where."""
    places = {"WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache"}
    ours = {name: str(folder.absolute() / "wandb" / place) for name, place in places.items()}
    ours = {name: place for name, place in ours.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def has_key() -> bool:
    """Whether W&B would find an API key without asking for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _identity(path: Path) -> str:
    """The W&B run id of a run folder: one until the run has completed, however often it is launched.

    An agent of a W&B sweep says itself which id its runs have.
    """
    if os.environ.get("WANDB_SWEEP_ID") and (given := os.environ.get("WANDB_RUN_ID")):
        return given
    if not path.is_file():
        write_text(path, secrets.token_hex(4))
    return path.read_text().strip()


def _init(settings: MirrorSettings, mode: str, config: Mapping[str, Any], identity: str) -> Any:
    return wandb.init(
        id=identity,
        resume="allow" if mode == "online" else None,
        project=settings.project,
        entity=settings.entity,
        group=settings.group,
        name=settings.name,
        tags=list(settings.tags),
        config=dict(config),
        dir=str(settings.folder),
        mode=mode,  # type: ignore[arg-type]
        job_type=settings.job_type,
        reinit="finish_previous",
        settings=wandb.Settings(
            silent=True,
            console="off",
            init_timeout=settings.timeout,
            finish_timeout=settings.timeout,
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            x_disable_stats=True,
            # Machine, paths and command line are nobody's business; what matters is in the configuration.
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
            host="",
        ),
    )
