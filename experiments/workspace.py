"""The W&B workspace as code: panels for single runs, and the views in which a sweep is sorted and compared.

python -m experiments.workspace entity=my-team project=lipreg
python -m experiments.workspace spec=workspace.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from experiments.programs import said, start
from lipreg.errors import InvalidInput
from lipreg.extras import require
from lipreg.reporting.panels import AXIS

SORTED_BY = "audit/margin_over_constant"
"""The summary field that orders the runs, the largest margin over constant first: rescaling does not move it."""

COLUMNS = (
    SORTED_BY,
    "audit/calibrated_upper",
    "audit/calibrated_transfer",
    "audit/certified_lower",
    "audit/attacked",
    "val_accuracy",
    "audit/combined_upper",
    "audit/transfer",
    "audit/share_exact",
    "audit/tightness",
)
"""Summary fields that stand beside each run's name, scale-free ones first; any of them can be clicked to sort by."""

SETTINGS = ("lipreg_role", "lipreg_pair", "lipreg_seed", "lipreg_weight", "lipreg_quantity", "lipreg_bound")
"""Configuration values that tell the runs of a sweep, and twins, apart; every audit logs them."""


def workspace(entity: str, project: str, name: str) -> Any:
    """The workspace: sections for the course of runs, for sweeps, and for reference points.

    Built without a network; ``workspace.save()`` needs an account.

    Raises:
        MissingExtra: wandb-workspaces is not installed.
    """
    wr, ws = _library()
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[_over_training(wr, ws), _sweep(wr, ws), _points(wr, ws)],
        settings=ws.WorkspaceSettings(x_axis=AXIS, smoothing_weight=0),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Config("lipreg_role"), ws.Config("lipreg_weight")],
            order=[ws.Ordering(ws.Summary(SORTED_BY), ascending=False)],
            pinned_columns=[*(f"summary:{c}" for c in COLUMNS), *(f"config:{s}" for s in SETTINGS)],
        ),
    )


def specification(made: Any) -> str:
    """The workspace as the JSON that W&B saves."""
    return made._to_model().model_dump_json(by_alias=True, indent=1)  # the package has no public way to see it


def _over_training(wr: Any, ws: Any) -> Any:
    def lines(title: str, *names: str, **more: Any) -> Any:
        # the runs of a group differ in their seed: their mean, in a band from the smallest to the largest
        band = {"groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
        return wr.LinePlot(title=title, x=more.pop("x", AXIS), y=list(names), **band, **more)

    panels = [
        lines("Margin over constant, median", SORTED_BY),
        lines("Calibrated bound and exact constant", "audit/calibrated_bound", *_band("calibrated"), log_y=True),
        lines(
            "Calibrated transfer: 1 real, 0 the bound alone", "audit/calibrated_transfer", *_band("calibrated_transfer")
        ),
        lines(
            "Calibrated movement: run / twin",
            *_band("calibrated_movement"),
            "audit/calibrated_bound_movement",
            log_y=True,
        ),
        lines(
            "Certified accuracy, by the combined interval and without a search, and under attack",
            *_band("certified"),
            "audit/certified_closed",
            "audit/attacked",
            range_y=(0, 1),
        ),
        lines("Bound, LP and exact constant", "audit/bound", "audit/lp", *_band("combined"), log_y=True),
        lines("Combined interval of the exact constant", *_band("combined"), log_y=True),
        lines("Tightness: bound / combined", "audit/tightness", log_y=True),
        lines("Raw transfer: 1 real, 0 the bound alone", "audit/transfer", *_band("transfer")),
        lines("Raw movement: run / twin", *_band("movement"), "audit/bound_movement", log_y=True),
        lines("Share of points certified exact", "audit/share_exact", range_y=(0, 1)),
        lines("Validation accuracy", "val_accuracy", x="epoch"),
        lines("Weight of the penalty", "lipreg/weight", x="epoch"),
        lines("Seconds an audit took", "audit/seconds"),
    ]
    return ws.Section(name="Over training", panels=panels, is_open=True)


def _sweep(wr: Any, ws: Any) -> Any:
    def summary(name: str) -> Any:
        return wr.SummaryMetric(name)

    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(name)) for name in ("lipreg_weight", "lipreg_seed")]
    columns += [wr.ParallelCoordinatesPlotColumn(metric=summary(name)) for name in COLUMNS]
    combined = summary("audit/combined_upper")
    panels = [
        wr.ScatterPlot(title="Accuracy against margin over constant", x=summary(SORTED_BY), y=summary("val_accuracy")),
        wr.ScatterPlot(
            title="Accuracy against calibrated constant",
            x=summary("audit/calibrated_upper"),
            y=summary("val_accuracy"),
            log_x=True,
        ),
        wr.ScatterPlot(
            title="Calibrated transfer against weight",
            x=wr.Config("lipreg_weight"),
            y=summary("audit/calibrated_transfer"),
            log_x=True,
        ),
        wr.ScatterPlot(
            title="Bound against exact constant", x=combined, y=summary("audit/bound"), log_x=True, log_y=True
        ),
        wr.BarPlot(title="Margin over constant", metrics=[SORTED_BY], orientation="h"),
        wr.BarPlot(title="Calibrated transfer", metrics=["audit/calibrated_transfer"], orientation="h"),
        wr.ParallelCoordinatesPlot(title="From settings to the truth", columns=columns),
        wr.ParameterImportancePlot(with_respect_to=SORTED_BY),
        wr.RunComparer(diff_only=True),
    ]
    return ws.Section(name="Sweep", panels=panels, is_open=True)


def _points(wr: Any, ws: Any) -> Any:
    panels = [
        wr.WeavePanelSummaryTable(table_name="audit/points"),
        wr.WeavePanelSummaryTable(table_name="audit/records"),
        wr.MediaBrowser(media_keys=["audit/report"]),
    ]
    return ws.Section(name="Reference points, records and report", panels=panels, is_open=True)


def _band(name: str) -> tuple[str, str]:
    return f"audit/{name}_lower", f"audit/{name}_upper"


def _library() -> tuple[Any, Any]:
    require("workspace", "wandb_workspaces", where="experiments.workspace")
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    return wr, ws


def write(cfg: DictConfig, console: Console) -> None:
    """Writes the specification to a file, or saves the workspace in its project."""
    if cfg.spec is None and cfg.entity is None:
        raise InvalidInput("no entity", where="experiments.workspace", todo="Pass entity=..., or spec=FILE")
    made = workspace(cfg.entity or "", cfg.project, cfg.name)
    if cfg.spec is None:
        made.save()
        console.print(Text(f"saved: {made.url}"), soft_wrap=True)
        return
    Path(cfg.spec).write_text(specification(made), encoding="utf-8")
    console.print(Text(f"written to {cfg.spec}"), soft_wrap=True)


@hydra.main(config_path="../conf", config_name="workspace", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Exit code 1 where it cannot be built."""
    console = Console()
    with said(console):
        write(cfg, console)


if __name__ == "__main__":
    start(main, "workspace")
