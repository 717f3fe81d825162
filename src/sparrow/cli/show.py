"""What the commands print."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from sparrow.saver import CheckpointSummary

if TYPE_CHECKING:
    from sparrow.synth import SynthReport

_UNITS = ("B", "kB", "MB", "GB", "TB")


def bytes_text(num_bytes: int) -> str:
    """Return a size as a person reads it: `"12.3 MB"`."""
    value, unit = float(num_bytes), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def metrics_text(metrics: dict[str, Any]) -> str:
    """Return AUC and log loss as text; what does not exist is a dash."""
    return "  ".join(
        f"{title} {metrics[name]:.4f}" if metrics.get(name) is not None else f"{title} -"
        for title, name in (("AUC", "auc"), ("log loss", "log_loss"))
    )


def print_summary(summary: dict[str, Any], folder: str) -> None:
    if summary.get("already_finished"):
        print("already finished: nothing was changed; train on with a larger run.epochs or run.max_steps")
    print(f"{'stopped' if summary['stopped'] else 'done'} after {summary['step']:,} steps, {summary['samples']:,} samples")
    print(f"train: {metrics_text(summary['train'])}")
    if summary["eval"] is not None:
        print(f"eval:  {metrics_text(summary['eval'])}  ({summary['eval']['num_samples']:,} samples)")
    if summary["samples_per_second"] is not None:
        print(f"speed: {summary['samples_per_second']:,.0f} samples/s, {sum(summary['table_rows'].values()):,} table rows")
    print(f"run folder: {folder}")


def print_evaluation(metrics: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(metrics, indent=2, allow_nan=False))
        return
    print(f"{metrics['checkpoint']}: {metrics_text(metrics)}  ({metrics['num_samples']:,} samples)")


def print_checkpoint(summary: CheckpointSummary, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**dataclasses.asdict(summary), "path": str(summary.path)}, indent=2, allow_nan=False))
        return
    console = Console(soft_wrap=True)
    console.print(f"{summary.path}: step {summary.step:,}, {bytes_text(summary.total_bytes)}", highlight=False)
    tables = Table("table", "dim", "dtype", "rule", "ids", "weights", "slots", "on disk", title="tables", title_justify="left")
    for column in tables.columns[4:]:
        column.justify = "right"
    for table in summary.tables:
        sizes = [bytes_text(size) for size in (table.weights_bytes, table.slots_bytes, table.total_bytes)]
        tables.add_row(table.name, str(table.dim), table.dtype, table.rule, f"{table.num_rows:,}", *sizes)
    total = [sum(getattr(table, name) for table in summary.tables) for name in ("num_rows", "weights_bytes", "slots_bytes", "total_bytes")]
    tables.add_section()
    tables.add_row(f"{len(summary.tables)} tables", "", "", "", f"{total[0]:,}", *map(bytes_text, total[1:]))
    console.print(tables)
    dense = Table("tensor", "shape", "dtype", "bytes", title="dense", title_justify="left")
    for tensor in summary.dense:
        dense.add_row(tensor.name, "x".join(map(str, tensor.shape)) or "scalar", tensor.dtype, bytes_text(tensor.num_bytes))
    console.print(dense)


def show_synth_progress() -> Callable[[int, int], None] | None:
    """Return what shows rows written on a terminal, on one line of stderr; None elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        print(f"\r{done:,} of {total:,} rows", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show


def print_synth(report: SynthReport) -> None:
    if report.reused:
        print(f"{report.folder} holds these rows already")
    else:
        print(f"wrote {report.folder} in {report.seconds:.1f} s")
    print(f"train: {report.rows:,} rows in {report.train_folder}, click rate {report.click_rate:.4f}")
    print(f"eval:  {report.eval_rows:,} rows in {report.eval_folder}, click rate {report.eval_click_rate:.4f}")
    truth, learnable = ("-" if math.isnan(auc) else f"{auc:.4f}" for auc in (report.bayes_auc, report.learnable_auc))
    print(f"AUC of the truth {truth}, of what the training rows can teach {learnable}")
    if math.isnan(report.bayes_auc):
        print("the evaluation rows are all of one label, so no AUC exists; ask for more by --eval-rows")
