"""A W&B workspace that lays out the comparison of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskbasis.errors import ConfigError

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

NAME = "Task vector bases"


def workspace(target: str) -> Workspace:
    """The workspace, not saved yet.

    Args:
        target: ``ENTITY/PROJECT``.

    Raises:
        ConfigError: if ``target`` is not of that form, or wandb-workspaces is not installed.
    """
    entity, slash, project = target.partition("/")
    if not (entity and slash and project) or "/" in project:
        raise ConfigError(f"--workspace {target}: accepted is ENTITY/PROJECT")
    try:
        from wandb_workspaces.reports.v2 import (
            BarPlot,
            Config,
            LinePlot,
            MediaBrowser,
            RunComparer,
            ScatterPlot,
            SummaryMetric,
        )
        from wandb_workspaces.workspaces import Section, Workspace
    except ImportError as error:
        raise ConfigError("--workspace needs wandb-workspaces: pip install 'taskbasis[sweep]'") from error

    accuracy = SummaryMetric("addition/test/normalized_top1")
    compared = [
        BarPlot(title="normalized accuracy by basis", metrics=[accuracy], groupby=Config("basis.method")),
        ScatterPlot(title="normalized accuracy against M", x=Config("M"), y=accuracy),
        ScatterPlot(
            title="normalized accuracy against storage", x=SummaryMetric("basis/stored_bytes"), y=accuracy
        ),
        RunComparer(diff_only=True),
    ]
    curves = [
        LinePlot(title="α on validation data", x="addition/curve/alpha", y=["addition/curve/val_top1"]),
        LinePlot(title="fit of the basis", x="basis/step", y=["basis/loss", "basis/spectral_bound"]),
    ]
    return Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            Section(name="Comparison", panels=compared, is_open=True),
            Section(name="Curves", panels=curves, is_open=True),
            Section(name="Plots", panels=[MediaBrowser(media_keys=["plots/per_task", "plots/cosines"])]),
        ],
    )


def save_workspace(target: str) -> str:
    """Create the workspace on the server; its address.

    Raises:
        ConfigError: see :func:`workspace`.
    """
    return str(workspace(target).save().url)
